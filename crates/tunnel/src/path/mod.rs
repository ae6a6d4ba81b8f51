//! The longest packet that fits the way to a peer, and whether the peer is adit, which can tell (after
//! RFC 8899). What crosses for it is in `peer/discovery.rs`.

pub(crate) mod mss;
pub(crate) mod too_big;

use core::time::Duration;

use adit_packet::Instant;

/// Hellos to a peer that does not answer them: it is not adit.
const HELLOS_MAX: u8 = 3;
/// Probes of one length before it counts as too long (RFC 8899, 5.1.2: `MAX_PROBES`).
const TRIES_MAX: u8 = 3;
/// A length that every path has room for: IPv6's 1280, less 80 of our own headers.
const BASE: u16 = 1200;
/// No path is believed to be narrower: IPv4's 576, less 60 of our own headers.
pub(crate) const MTU_MIN: u16 = 516;
/// The search ends when the answer is known this well: padding is up to 16.
const STEP: u16 = 16;

/// The path to one peer.
///
/// The longest length is probed first, for most often it fits. If it does not, one that surely does
/// is found, and the truth lies between the two.
#[derive(Debug)]
pub(crate) struct Path {
    mtu: u16,
    ours: bool,
    hellos: u8,
    /// What was found to fit; `None` before anything was.
    low: Option<u16>,
    /// The longest that may fit.
    high: u16,
    /// What is probed while nothing was found to fit.
    first: u16,
    probe: Option<Probe>,
    due: Option<Instant>,
}

/// A length that is being tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// Random, and repeated by the answer: nobody else can give one.
    pub(crate) number: u32,
    pub(crate) len: u16,
    tries: u8,
}

impl Path {
    pub(crate) const fn new(mtu: u16) -> Self {
        Self {
            mtu,
            ours: false,
            hellos: 0,
            low: None,
            high: mtu,
            first: mtu,
            probe: None,
            due: None,
        }
    }

    /// The longest packet that fits, as far as is known.
    pub(crate) const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether the peer said that it is adit.
    pub(crate) const fn is_ours(&self) -> bool {
        self.ours
    }

    pub(crate) const fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The path is another one: what is known of it is forgotten.
    pub(crate) fn moved(&mut self, mtu: u16) {
        let (ours, hellos) = (self.ours, self.hellos);
        *self = Self { ours, hellos, ..Self::new(mtu) };
        self.due = ours.then_some(Instant::ZERO);
    }

    /// A session began: goes on with the search; whether a hello should be sent, because the peer may be
    /// adit and does not know that we are.
    pub(crate) fn begin_session(&mut self, now: Instant, extensions: bool) -> bool {
        if self.ours {
            self.due.get_or_insert(now);
        }
        let says_hello = extensions && !self.ours && self.hellos < HELLOS_MAX;
        self.hellos += u8::from(says_hello);
        says_hello
    }

    /// The peer said that it is adit: the search begins.
    pub(crate) fn found_ours(&mut self, now: Instant) {
        if !self.ours {
            self.ours = true;
            self.due = Some(now);
        }
    }

    /// The answer to a probe came; whether what is known of the path has changed.
    pub(crate) fn answered(&mut self, now: Instant, number: u32) -> bool {
        let Some(probe) = self.probe.filter(|probe| probe.number == number) else { return false };
        self.low = Some(self.low.map_or(probe.len, |low| low.max(probe.len)));
        self.probe = None;
        self.due = Some(now);
        self.set_mtu(probe.len)
    }

    /// The network takes no more than `mtu`, where `longest` is what we would like: searches again later.
    /// Whether that is news.
    pub(crate) fn lower(&mut self, mtu: u16, longest: u16, later: Instant) -> bool {
        if mtu >= self.mtu {
            return false;
        }
        self.restart(later, longest);
        self.set_mtu(mtu)
    }

    /// Whether a probe should be sent now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// The search goes on with the next session: an idle peer is not woken for it.
    pub(crate) const fn pause(&mut self) {
        self.due = None;
    }

    /// The probe to be sent now, with a random number; `None` if the search is over. It is repeated after
    /// `patience`, and what was found is doubted after `interval`.
    pub(crate) fn next_probe(
        &mut self,
        now: Instant,
        number: u32,
        longest: u16,
        patience: Duration,
        interval: Duration,
    ) -> Option<Probe> {
        if let Some(probe) = self.probe.filter(|probe| probe.tries >= TRIES_MAX) {
            self.fits_not(probe.len);
        }
        let tried = self.probe.map(|probe| (probe.len, probe.tries));
        let Some((len, tries)) = tried.or_else(|| self.next_len().map(|len| (len, 0))) else {
            self.restart(now + interval, longest);
            return None;
        };
        self.probe = Some(Probe { number, len, tries: tries + 1 });
        self.due = Some(now + patience);
        self.probe
    }

    fn set_mtu(&mut self, mtu: u16) -> bool {
        core::mem::replace(&mut self.mtu, mtu) != mtu
    }

    /// Searches again from the top at `due`.
    fn restart(&mut self, due: Instant, mtu: u16) {
        (self.low, self.high, self.first, self.probe) = (None, mtu, mtu, None);
        self.due = self.ours.then_some(due);
    }

    /// No answer to the last of the tries.
    fn fits_not(&mut self, len: u16) {
        self.probe = None;
        self.high = len.saturating_sub(1);
        if self.low.is_none() && len > BASE {
            self.first = if self.mtu < len { self.mtu.max(BASE) } else { BASE };
        } else if self.low.is_none() {
            // Not even the shortest: nobody answers probes there (any more).
            self.ours = false;
            self.low = Some(self.mtu);
        }
    }

    /// The length to be probed next; `None` when the search is over.
    fn next_len(&self) -> Option<u16> {
        match self.low {
            None => Some(self.first),
            Some(low) if self.high.saturating_sub(low) < STEP => None,
            Some(low) => Some(low + (self.high - low).div_ceil(2)),
        }
    }
}
