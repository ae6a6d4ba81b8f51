//! The search for the path MTU to a peer that is adit, after RFC 8899. `peer/discovery.rs` has its messages.

pub(crate) mod mss;
pub(crate) mod too_big;

use core::time::Duration;

use adit_packet::Instant;

use crate::codec::codec;

/// Probes of one length before it counts as too long (RFC 8899, 5.1.2: `MAX_PROBES`).
const TRIES_MAX: u8 = 3;
/// A packet length that fits every path: 1280 (IPv6) minus 80 bytes of headers.
const BASE: u16 = 1200;
/// The minimum path MTU that we believe: 576 (IPv4) minus 60 bytes of headers.
pub(crate) const MTU_MIN: u16 = 516;
/// The precision of the search: the padding to 16 bytes.
const STEP: u16 = 16;

/// The path to one peer.
///
/// The maximum is probed first, since it usually fits. Otherwise a length that fits is found, and the search
/// continues between the two.
#[derive(Debug)]
pub(crate) struct Path {
    mtu: u16,
    ours: bool,
    /// The longest length known to fit; `None` at first.
    low: Option<u16>,
    /// The longest length that may fit.
    high: u16,
    /// The length to probe while none is known to fit.
    first: u16,
    probe: Option<Probe>,
    due: Option<Instant>,
    /// Whether the search is over until `due`.
    is_done: bool,
    /// Whether packets were sent since the last search: an idle path is not probed.
    is_used: bool,
}

/// A length that is being tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// A random number that the answer repeats, so answers cannot be forged.
    pub(crate) number: u32,
    pub(crate) len: u16,
    tries: u8,
}

codec! { Probe { number, len, tries } }
codec! { Path { mtu, ours, low, high, first, probe, due, is_done, is_used } }

impl Path {
    pub(crate) const fn new(mtu: u16) -> Self {
        Self {
            mtu,
            ours: false,
            low: None,
            high: mtu,
            first: mtu,
            probe: None,
            due: None,
            is_done: false,
            is_used: true,
        }
    }

    /// The path MTU, as far as it is known.
    pub(crate) const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether the peer is adit.
    pub(crate) const fn is_ours(&self) -> bool {
        self.ours
    }

    pub(crate) const fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the network may fragment a message with a packet of `len` bytes. It may if the packet inside may be
    /// fragmented, and while no length is known to fit: then all others would be lost where the path is narrower.
    pub(crate) fn may_fragment(&self, len: usize, inside_may: bool) -> bool {
        let is_known = self.ours && self.low.is_some();
        len > usize::from(MTU_MIN) && (inside_may || !is_known)
    }

    /// A packet was sent: continues the search if the path was idle.
    #[inline]
    pub(crate) fn used(&mut self, now: Instant) {
        self.is_used = true;
        if self.ours && self.due.is_none() {
            self.due = Some(now);
        }
    }

    /// The path has changed: restarts from `mtu`.
    pub(crate) fn moved(&mut self, mtu: u16) {
        let ours = self.ours;
        *self = Self { ours, ..Self::new(mtu) };
        self.due = ours.then_some(Instant::ZERO);
    }

    /// A session began: continues the search.
    pub(crate) fn begin_session(&mut self, now: Instant) {
        if self.ours {
            self.due.get_or_insert(now);
            self.is_used = true;
        }
    }

    /// The peer is adit: starts the search.
    pub(crate) fn found_ours(&mut self, now: Instant) {
        if !self.ours {
            self.ours = true;
            self.due = Some(now);
        }
    }

    /// An answer to a probe arrived. Returns whether the path MTU changed.
    pub(crate) fn answered(&mut self, now: Instant, number: u32) -> bool {
        let Some(probe) = self.probe.filter(|probe| probe.number == number) else { return false };
        self.low = Some(self.low.map_or(probe.len, |low| low.max(probe.len)));
        self.probe = None;
        self.due = Some(now);
        self.set_mtu(probe.len)
    }

    /// The kernel says that the network takes at most `mtu`, which anybody can forge by ICMP. A peer that is adit is
    /// probed with that length, so a forged one lasts for a few round trips. Another peer's path is lowered until
    /// `later`. Returns whether the path MTU changed.
    pub(crate) fn lower(&mut self, now: Instant, mtu: u16, longest: u16, later: Instant) -> bool {
        if mtu >= self.mtu {
            return false;
        }
        if self.ours {
            if self.is_done {
                self.restart(now, longest);
                (self.first, self.is_used) = (mtu.max(BASE), true);
            }
            return false;
        }
        self.due = Some(later);
        self.set_mtu(mtu)
    }

    /// Ends [`Self::lower`] for a peer that cannot be probed. Returns whether the path MTU changed.
    pub(crate) fn expire(&mut self, longest: u16) -> bool {
        self.due = None;
        self.set_mtu(longest)
    }

    /// Whether a search must begin on a path that is idle.
    pub(crate) const fn is_idle(&self) -> bool {
        self.is_done && !self.is_used
    }

    /// Whether a probe should be sent now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Pauses the search until the next session: an idle peer is not woken for it.
    pub(crate) const fn pause(&mut self) {
        self.due = None;
    }

    /// The probe to send now, with a random number; `None` if the search is over. It is repeated after
    /// `patience`. A finished search restarts after `interval`.
    pub(crate) fn next_probe(
        &mut self,
        now: Instant,
        number: u32,
        longest: u16,
        patience: Duration,
        interval: Duration,
    ) -> Option<Probe> {
        if self.is_done {
            self.restart(now, longest);
        }
        if let Some(probe) = self.probe.filter(|probe| probe.tries >= TRIES_MAX) {
            self.fits_not(probe.len);
        }
        let tried = self.probe.map(|probe| (probe.len, probe.tries));
        let Some((len, tries)) = tried.or_else(|| self.next_len().map(|len| (len, 0))) else {
            self.finish(now + interval, longest);
            return None;
        };
        self.probe = Some(Probe { number, len, tries: tries + 1 });
        self.due = Some(now + patience);
        self.probe
    }

    fn set_mtu(&mut self, mtu: u16) -> bool {
        core::mem::replace(&mut self.mtu, mtu) != mtu
    }

    /// The search is over: the next one begins at `due`. Until then the length that was found is known to fit.
    fn finish(&mut self, due: Instant, longest: u16) {
        let low = self.low;
        self.restart(due, longest);
        (self.low, self.is_done, self.is_used) = (low, true, false);
    }

    /// Restarts the search from the maximum at `due`.
    fn restart(&mut self, due: Instant, mtu: u16) {
        (self.low, self.high, self.first, self.probe) = (None, mtu, mtu, None);
        self.is_done = false;
        self.due = self.ours.then_some(due);
    }

    /// The last try of a length got no answer.
    fn fits_not(&mut self, len: u16) {
        self.probe = None;
        self.high = len.saturating_sub(1);
        if self.low.is_none() && len > BASE {
            self.first = if self.mtu < len { self.mtu.max(BASE) } else { BASE };
        } else if self.low.is_none() {
            // Not even the shortest fits: the peer does not answer probes (any more).
            self.ours = false;
            self.low = Some(self.mtu);
        }
    }

    /// The next length to probe; `None` when the search is over.
    fn next_len(&self) -> Option<u16> {
        match self.low {
            None => Some(self.first),
            Some(low) if self.high.saturating_sub(low) < STEP => None,
            Some(low) => Some(low + (self.high - low).div_ceil(2)),
        }
    }
}
