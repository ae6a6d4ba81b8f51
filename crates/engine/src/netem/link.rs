//! One direction of a link.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::{Instant, Layer, PacketBuf, SuperPacket};

use super::corrupt::Errors;
use super::delay::{self, Draws};
use super::ecn;
use super::in_flight::InFlight;
use super::loss::Losses;
use super::profile::{Corrupt, Jitter, Loss, Profile, ProfileError};
use super::queue::LineQueue;
use super::random::{Chance, Effect, Seed, Stream};
use super::rate::Line;
use super::report::{Counts, Report};
use super::schedule;
use super::steps::Step;
use super::store::{Handle, Store};
use super::tally::{Decision, Tally};
use crate::drop_reason::DropReason;
use crate::flow_hash::Hasher;
use crate::outbox::Outbox;

/// One direction of a link, without input or output.
///
/// A packet that is pushed is lost, duplicated or held, and is popped ([`Self::pop`]) when it is due. All
/// decisions depend only on the profile, the seed, and the packets with their times, not on the time of a
/// pop. An exception is [`Profile::limits`]: a packet that was not popped is still in the link.
///
/// ```
/// use adit_engine::Outbox;
/// use adit_engine::netem::{Delay, Link, Profile, Seed};
/// use adit_packet::{Instant, Pool, PoolConfig};
/// use core::time::Duration;
///
/// let profile = Profile { delay: Delay::constant(Duration::from_millis(20)), ..Profile::default() };
/// let mut link = Link::new(&profile, Seed::new(1))?;
/// let mut out = Outbox::new(Pool::new(PoolConfig::default()));
///
/// let mut packet = out.pool().take(5).expect("a fresh pool");
/// packet.extend(b"hello").expect("there is room");
/// link.push(Instant::ZERO, packet, &mut out);
/// assert_eq!(link.next_timeout(), Some(Instant::from_nanos(20_000_000)));
/// assert!(link.pop(Instant::from_nanos(19_999_999), &mut out).is_none());
/// let packet = link.pop(Instant::from_nanos(20_000_000), &mut out).expect("it is due");
/// assert_eq!(packet.bytes(), b"hello");
/// # Ok::<(), adit_engine::netem::ProfileError>(())
/// ```
#[derive(Debug)]
pub struct Link {
    profile: Profile,
    seed: Seed,
    layer: Layer,
    /// Super-packets are cut up: something treats packets one by one.
    cuts: bool,
    /// No packet arrives sooner than this after the line has sent it.
    least_delay: u64,
    /// The time of the last call.
    now: u64,
    /// When the first packet came, and from when outages and steps are counted.
    started: Option<u64>,
    outages_from: u64,
    steps_from: u64,
    errors: Errors,
    losses: Losses,
    duplicates: Stream,
    draws: Draws,
    reorders: Stream,
    hasher: Hasher,
    store: Store,
    waiting: LineQueue,
    /// Since when packets wait without a pause.
    waiting_since: u64,
    line: Line,
    serving: Option<Serving>,
    /// When the line had sent its last packet.
    line_free: u64,
    in_flight: InFlight,
    /// When the last packet arrives, of those that keep their order.
    last_due: u64,
    /// Packets that later ones are to pass, in the order in which they were due.
    passed_by: VecDeque<Held>,
    /// How many packets came out that could pass others, and when the last one was due.
    passed: u64,
    passed_at: u64,
    /// Dropped in the queue, and still in the store until there is an outbox to discard them to.
    gone: Vec<(Handle, Decision)>,
    scratch: Vec<Handle>,
    tally: Tally,
}

/// The packet that the line sends.
#[derive(Clone, Copy, Debug)]
struct Serving {
    packet: Handle,
    /// Since when it could have been sent, from when on it was, and when its last byte is out.
    ready: u64,
    from: u64,
    until: u64,
    /// The bytes that are sent in that time.
    bytes: u32,
}

/// A packet that later ones are to pass.
#[derive(Clone, Copy, Debug)]
struct Held {
    packet: Handle,
    /// It goes on when so many passed in all ...
    passed: u64,
    /// ... or at this time.
    until: u64,
}

/// The decision about a packet on arrival.
#[derive(Clone, Copy, Debug)]
struct Fate {
    number: u64,
    jitter: i64,
    reorder: bool,
}

impl Link {
    /// Creates an empty link for Ethernet frames. Its schedules start with the first packet, or earlier with
    /// [`Self::start`].
    ///
    /// # Errors
    ///
    /// As [`Profile::check`].
    pub fn new(profile: &Profile, seed: Seed) -> Result<Self, ProfileError> {
        profile.check()?;
        Ok(Self {
            profile: profile.clone(),
            seed,
            layer: Layer::Frame,
            cuts: cuts(profile),
            least_delay: least_delay(profile),
            now: 0,
            started: None,
            outages_from: 0,
            steps_from: 0,
            errors: Errors::new(profile.corrupt, seed),
            losses: Losses::new(&profile.loss, seed),
            duplicates: seed.stream(Effect::Duplicate),
            draws: Draws::new(seed),
            reorders: seed.stream(Effect::Reorder),
            hasher: Hasher::new(seed.stream(Effect::Flows).next()),
            store: Store::new(profile.limits),
            waiting: LineQueue::new(profile.queue),
            waiting_since: 0,
            line: Line::new(profile, 0),
            serving: None,
            line_free: 0,
            in_flight: InFlight::default(),
            last_due: 0,
            passed_by: VecDeque::new(),
            passed: 0,
            passed_at: 0,
            gone: Vec::new(),
            scratch: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Sets the layer of its packets (a TUN device has no Ethernet header).
    #[must_use]
    pub fn with_layer(self, layer: Layer) -> Self {
        Self { layer, ..self }
    }

    /// Starts the schedules (outages, steps, traces) at `now` instead of with the first packet.
    pub fn start(&mut self, now: Instant) {
        let now = self.tick(now);
        if self.started.is_none() {
            (self.started, self.outages_from, self.steps_from) = (Some(now), now, now);
            self.line = Line::new(&self.profile, now);
        }
    }

    /// Accepts a packet at `now`, which never goes back from one call to the next.
    ///
    /// Lost packets go to `out.discard`; segments and duplicates are made with `out`.
    pub fn push(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        self.start(now);
        let now = self.tick(now);
        self.tally.counts.received += 1;
        self.tally.counts.received_bytes += length(&packet);
        if self.cuts && packet.meta.vnet.is_super_packet() {
            self.cut(now, packet, out);
        } else {
            self.enter(now, packet, out);
        }
        self.discard_gone(out);
    }

    /// Returns the next packet that is due at `now`. Call it until it returns `None`.
    #[must_use]
    pub fn pop(&mut self, now: Instant, out: &mut Outbox) -> Option<PacketBuf> {
        let now = self.tick(now);
        self.advance(now);
        self.discard_gone(out);
        while let Some((handle, due)) = self.next_due(now) {
            if let Some(packet) = self.deliver(now, handle, due, out) {
                return Some(packet);
            }
        }
        None
    }

    /// The next time to call [`Self::pop`]; `None` if nothing happens before the next [`Self::push`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.gone.is_empty() {
            return Some(Instant::from_nanos(self.now));
        }
        let line = match &self.serving {
            Some(serving) => Some(serving.until),
            None if self.waiting.is_empty() => None,
            None => Some(self.line.start(self.line_free.max(self.waiting_since))),
        };
        let line = line.map(|at| at.saturating_add(self.least_delay));
        let due = self.in_flight.first().map(|due| due.at);
        let held = self.passed_by.front().map(|held| held.until);
        let next = [line, due, held].into_iter().flatten().min();
        next.filter(|&at| at != u64::MAX).map(Instant::from_nanos)
    }

    /// The number of packets in the link.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.store.held()
    }

    /// The memory of the packets in the link, at most [`Limits::bytes`](super::Limits::bytes).
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Changes the profile between two packets. Packets in the queue, and the rest of the packet on the line,
    /// are sent at the new rate. Packets that have left the line arrive as before. Changed schedules start at
    /// `now`.
    ///
    /// # Errors
    ///
    /// As [`Profile::check`]; then nothing changes.
    pub fn set(&mut self, now: Instant, profile: &Profile) -> Result<(), ProfileError> {
        profile.check()?;
        let now = self.tick(now);
        self.advance(now);
        if *profile != self.profile {
            let started = self.started.unwrap_or(now);
            self.tally.change(&self.profile, (started, now), self.store.held());
        }
        if profile.outages != self.profile.outages {
            self.outages_from = now;
        }
        let steps_changed = profile.steps != self.profile.steps;
        if steps_changed {
            self.steps_from = now;
        }
        if profile.rate != self.profile.rate || steps_changed {
            self.set_line(now, profile);
        }
        self.errors.set(profile.corrupt);
        self.losses.set(&profile.loss);
        self.waiting.set(profile.queue, &mut self.store);
        self.store.set_limits(profile.limits);
        self.cuts = cuts(profile);
        self.least_delay = least_delay(profile);
        self.profile = profile.clone();
        self.advance(now);
        Ok(())
    }

    /// Discards all packets in the link, with [`DropReason::PORT_DOWN`]. They count as cleared.
    pub fn clear(&mut self, now: Instant, out: &mut Outbox) {
        let now = self.tick(now);
        self.advance(now);
        self.discard_gone(out);
        let mut left: Vec<Handle> = self.passed_by.drain(..).map(|held| held.packet).collect();
        left.extend(core::iter::from_fn(|| self.in_flight.pop()).map(|due| due.packet));
        if let Some(serving) = self.serving.take() {
            self.line_free = now;
            left.push(serving.packet);
        }
        self.waiting.drain(&mut self.store, &mut left);
        for handle in left {
            let number = self.store.slot(handle).number;
            self.tally.counts.cleared += 1;
            self.tally.note(Decision::Cleared, number, 0);
            self.gone.push((handle, Decision::Cleared));
        }
        self.discard_gone(out);
    }

    /// The profile, as last set.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The seed of its random decisions.
    #[must_use]
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// The report: the profile as last set, and all that happened since the first packet.
    #[must_use]
    pub fn report(&self) -> Report {
        let time = self.started.map_or(0, |started| self.now - started);
        self.tally.report(&self.profile, time, self.store.held())
    }

    /// The counts of the report alone, which are cheap.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts(self.store.held())
    }

    /// A report for each profile that was set, in order: what happened while it held. The last is that of
    /// the current profile; at most 16 are before it. A packet counts as received under one profile, and as
    /// delivered or dropped under the one that holds then.
    pub fn reports(&self) -> impl Iterator<Item = Report> {
        let started = self.started.unwrap_or(self.now);
        self.tally.reports(&self.profile, (started, self.now), self.store.held())
    }

    #[cfg(test)]
    const fn waiting_packets(&self) -> u32 {
        self.waiting.packets()
    }

    #[cfg(test)]
    fn report_counts(&self) -> Counts {
        self.report().counts
    }

    fn tick(&mut self, now: Instant) -> u64 {
        self.now = self.now.max(now.as_nanos());
        self.now
    }

    /// The step that holds at `at`.
    fn step(&self, at: u64) -> Option<Step> {
        let steps = self.profile.steps.as_ref()?;
        steps.at(at.saturating_sub(self.steps_from)).step.copied()
    }

    /// Cuts a super-packet up. One of its packets takes its place, the others are made.
    fn cut(&mut self, now: u64, packet: PacketBuf, out: &mut Outbox) {
        let meta = packet.meta;
        let Ok(whole) = SuperPacket::parse(packet.bytes(), &meta.vnet, self.layer) else {
            self.tally.counts.malformed += 1;
            return out.discard(packet, DropReason::MALFORMED);
        };
        self.tally.counts.cut += 1;
        self.tally.counts.made += u64::try_from(whole.count() - 1).unwrap_or(0);
        let mut replaced = false;
        for segment in whole.segments() {
            let len = segment.len();
            let room = if replaced { out.make(len) } else { out.pool().take(len) };
            // It has the room that was asked for, so appending does not fail.
            match room.map(|mut room| segment.append_to(&mut room).map(|()| room)) {
                Some(Ok(mut part)) => {
                    replaced = true;
                    part.meta.info = meta.info;
                    part.meta.vnet.hash = meta.vnet.hash;
                    self.enter(now, part, out);
                }
                _ => self.tally.counts.no_buffer += 1,
            }
        }
        if replaced {
            out.pool().give(packet);
        } else {
            out.discard(packet, DropReason::NO_BUFFER);
        }
    }

    /// Decides what happens to a packet as it comes. Each effect draws for each packet, lost or not,
    /// so that none of them changes what another one draws.
    fn enter(&mut self, now: u64, mut packet: PacketBuf, out: &mut Outbox) {
        self.advance(now);
        let number = self.tally.number();
        self.tally.counts.packets += 1;
        let instead = self.step(now).and_then(|step| step.loss);
        let bits = self.errors.apply(&mut packet);
        let lost = self.losses.next(instead);
        let twice = draw(&mut self.duplicates, self.profile.duplicate);
        let reorder =
            self.profile.reorder.is_some_and(|reorder| draw(&mut self.reorders, reorder.share));
        let fate = Fate { number, jitter: self.draws.next(&self.profile.delay), reorder };

        if schedule::is_out(&self.profile.outages, now - self.outages_from) {
            self.tally.counts.outage += 1;
            self.tally.note(Decision::Outage, number, 0);
            return out.discard(packet, DropReason::OUTAGE);
        }
        if bits > 0 {
            self.tally.counts.corrupted += 1;
            self.tally.counts.bit_errors += bits;
            self.tally.note(Decision::Corrupt, number, bits);
        }
        if lost {
            if !self.profile.mark_loss || !ecn::is_capable(&packet, self.layer) {
                self.tally.counts.lost += 1;
                self.tally.note(Decision::Lost, number, 0);
                return out.discard(packet, DropReason::LOSS);
            }
            ecn::mark(&mut packet, self.layer);
            self.tally.counts.lost_marked += 1;
            self.tally.note(Decision::LostMarked, number, 0);
        }
        let copy = if twice { self.duplicate(number, &packet, out) } else { None };
        self.admit(now, packet, fate, out);
        if let Some(copy) = copy {
            self.admit(now, copy, Fate { reorder: false, ..fate }, out);
        }
    }

    fn duplicate(
        &mut self,
        number: u64,
        packet: &PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        self.tally.counts.duplicated += 1;
        self.tally.counts.made += 1;
        self.tally.note(Decision::Duplicate, number, 0);
        let mut copy = out.make(packet.len());
        if let Some(copy) = &mut copy {
            // It has the room that was asked for.
            let _ = copy.extend(packet.bytes());
            copy.meta = packet.meta;
        } else {
            self.tally.counts.no_buffer += 1;
        }
        copy
    }

    /// Takes a packet into the queue, or without a rate puts it in flight.
    fn admit(&mut self, now: u64, packet: PacketBuf, fate: Fate, out: &mut Outbox) {
        let wire_len = self.profile.overhead.wire_len(packet.len());
        let ecn = self.waiting.marks() && ecn::is_capable(&packet, self.layer);
        let hash = if self.waiting.has_flows() { self.hasher.hash(&packet, self.layer) } else { 0 };
        let handle = match self.store.put(packet, out.pool()) {
            Ok(handle) => handle,
            Err(packet) => {
                self.tally.counts.limit += 1;
                self.tally.note(Decision::Limit, fate.number, 0);
                return out.discard(packet, DropReason::QUEUE_FULL);
            }
        };
        let slot = self.store.slot_mut(handle);
        slot.number = fate.number;
        slot.came = now;
        slot.jitter = fate.jitter;
        slot.reorder = fate.reorder;
        slot.wire_len = u32::try_from(wire_len).unwrap_or(u32::MAX);
        slot.ecn = ecn;
        if self.line.is_unlimited() && self.serving.is_none() && self.waiting.is_empty() {
            return self.depart(now, handle);
        }
        if self.waiting.is_empty() {
            self.waiting_since = now;
        }
        let rate = self.line.rate(now);
        self.waiting.push(handle, hash, rate, &mut self.store, &mut self.scratch);
        self.note_gone(Decision::QueueFull);
        self.advance(now);
    }

    /// Does what the line and the queue did up to `now`.
    fn advance(&mut self, now: u64) {
        loop {
            if let Some(serving) = self.serving {
                if serving.until > now {
                    return;
                }
                self.serving = None;
                self.line_free = serving.until;
                self.tally.busy += serving.until - serving.ready;
                self.tally.counts.line_bytes += u64::from(self.store.slot(serving.packet).wire_len);
                self.depart(serving.until, serving.packet);
            }
            if self.waiting.is_empty() {
                return;
            }
            let ready = self.line_free.max(self.waiting_since);
            let from = self.line.start(ready);
            if from > now {
                return;
            }
            let next = self.waiting.pop(from, &mut self.store, &mut self.scratch);
            self.note_gone(Decision::QueueManaged);
            let Some(packet) = next else { continue };
            let slot = self.store.slot(packet);
            let (bytes, number, marked) = (slot.wire_len, slot.number, slot.marked);
            self.tally.waiting.add_nanos(from.saturating_sub(slot.came));
            if marked {
                self.tally.counts.queue_marked += 1;
                self.tally.note(Decision::QueueMarked, number, 0);
            }
            let until = self.line.send(from, bytes);
            self.serving = Some(Serving { packet, ready, from, until, bytes });
        }
    }

    /// Puts a packet on its way that the line had sent at `at`.
    fn depart(&mut self, at: u64, handle: Handle) {
        let slot = self.store.slot(handle);
        let (number, jitter, reorder) = (slot.number, slot.jitter, slot.reorder);
        let base = self.step(at).and_then(|step| step.delay).unwrap_or(self.profile.delay.base);
        let delay = nanos(base).saturating_add_signed(jitter);
        let mut due = at.saturating_add(delay);
        if self.profile.delay.keep_order {
            due = due.max(self.last_due);
            self.last_due = due;
        }
        let decision = if reorder { Decision::Reorder } else { Decision::Due };
        self.tally.note(decision, number, due);
        self.in_flight.push(due, handle);
    }

    /// The next packet that is due at `now`, and when it was. Late or not, what happens is what would
    /// have happened in time.
    fn next_due(&mut self, now: u64) -> Option<(Handle, u64)> {
        loop {
            let held = self.passed_by.front().copied();
            let first = self.in_flight.first();
            if let Some(held) = held {
                let enough = held.passed <= self.passed;
                let timed_out = held.until <= now && first.is_none_or(|due| held.until <= due.at);
                if enough || timed_out {
                    self.passed_by.pop_front();
                    let due = if enough { self.passed_at.min(held.until) } else { held.until };
                    return Some((held.packet, due));
                }
            }
            let due = first.filter(|due| due.at <= now)?;
            self.in_flight.pop();
            let slot = self.store.slot(due.packet);
            if let Some(reorder) = self.profile.reorder.filter(|_| slot.reorder) {
                self.tally.counts.reordered += 1;
                let passed = self.passed + u64::from(reorder.by);
                let until = due.at.saturating_add(nanos(reorder.within));
                self.passed_by.push_back(Held { packet: due.packet, passed, until });
                continue;
            }
            self.passed += 1;
            self.passed_at = due.at;
            return Some((due.packet, due.at));
        }
    }

    fn deliver(
        &mut self,
        now: u64,
        handle: Handle,
        due: u64,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let slot = self.store.slot(handle);
        let (came, marked) = (slot.came, slot.marked);
        let Some(mut packet) = self.store.take(handle, out.pool()) else {
            self.tally.counts.no_buffer += 1;
            out.discard(PacketBuf::new(0, 0), DropReason::NO_BUFFER);
            return None;
        };
        if marked {
            ecn::mark(&mut packet, self.layer);
        }
        self.tally.counts.delivered += 1;
        self.tally.counts.delivered_bytes += length(&packet);
        self.tally.delay.add_nanos(now - came);
        self.tally.late.add_nanos(now - due);
        Some(packet)
    }

    /// Takes up what the queue dropped.
    fn note_gone(&mut self, why: Decision) {
        for packet in self.scratch.drain(..) {
            let slot = self.store.slot(packet);
            let number = slot.number;
            self.tally.counts.queue_dropped_bytes += u64::from(slot.wire_len);
            match why {
                Decision::QueueFull => self.tally.counts.queue_full += 1,
                _ => self.tally.counts.queue_managed += 1,
            }
            self.tally.note(why, number, 0);
            self.gone.push((packet, why));
        }
    }

    fn discard_gone(&mut self, out: &mut Outbox) {
        for (handle, why) in self.gone.drain(..) {
            let reason = match why {
                Decision::QueueFull => DropReason::QUEUE_FULL,
                Decision::Cleared => DropReason::PORT_DOWN,
                _ => DropReason::QUEUE_MANAGED,
            };
            // Without a buffer for it, it is counted all the same.
            let packet = self.store.take(handle, out.pool());
            out.discard(packet.unwrap_or_else(|| PacketBuf::new(0, 0)), reason);
        }
    }

    /// Another line, which sends what is left of the packet that the old one sent.
    fn set_line(&mut self, now: u64, profile: &Profile) {
        self.line = Line::new(profile, now);
        self.line_free = self.line_free.max(now);
        let Some(serving) = &mut self.serving else { return };
        if serving.until != u64::MAX {
            let all = u128::from(serving.until.saturating_sub(serving.from).max(1));
            let left = u128::from(serving.until - now) * u128::from(serving.bytes);
            serving.bytes =
                u32::try_from(left.div_ceil(all)).unwrap_or(u32::MAX).min(serving.bytes);
        }
        serving.from = self.line.start(now);
        serving.until = if serving.from == u64::MAX {
            u64::MAX
        } else {
            self.line.send(serving.from, serving.bytes)
        };
    }
}

/// Whether something treats packets one by one, so that super-packets are cut up.
fn cuts(profile: &Profile) -> bool {
    profile.corrupt != Corrupt::None
        || profile.loss != Loss::None
        || profile.duplicate > 0.0
        || profile.has_rate()
        || profile.delay.jitter != Jitter::None
        || profile.reorder.is_some()
        || profile.steps.as_ref().is_some_and(|steps| steps.has_loss())
}

/// How much sooner than its departure no packet can arrive.
fn least_delay(profile: &Profile) -> u64 {
    let steps = profile.steps.as_ref().and_then(|steps| steps.least_delay());
    let base = steps.map_or(profile.delay.base, |least| least.min(profile.delay.base));
    nanos(base).saturating_add_signed(delay::least(&profile.delay.jitter))
}

fn draw(stream: &mut Stream, share: f64) -> bool {
    let chance = Chance::new(share);
    !chance.is_zero() && stream.happens(chance)
}

fn length(packet: &PacketBuf) -> u64 {
    u64::try_from(packet.len()).unwrap_or(u64::MAX)
}

/// A time of a checked profile: at most 24 hours.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
