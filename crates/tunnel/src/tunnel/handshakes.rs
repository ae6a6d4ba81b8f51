//! The receive path of handshake messages.

use adit_packet::Instant;

use crate::handshake::cookie::Standing;
use crate::handshake::ikpsk2::Received;
use crate::handshake::limiter::Verdict;
use crate::message::{
    COOKIE_LEN, CookieReply, INITIATION_LEN, Initiation, Message, RESPONSE_LEN, Response,
};
use crate::peer::{Peer, count, new_key};
use crate::status::TunnelEvent;
use crate::tunnel::Tunnel;
use adit_engine::{DropReason, Endpoint, Outbox};

/// A handshake message that was dropped, and who counts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) why: DropReason,
    /// The peer that sent it is known and has counted it; otherwise the interface counts it.
    pub(crate) is_counted: bool,
}

impl Refused {
    fn by_peer(peer: &mut Peer, why: DropReason) -> Self {
        peer.drops.note(why);
        Self { why, is_counted: true }
    }
}

impl From<DropReason> for Refused {
    fn from(why: DropReason) -> Self {
        Self { why, is_counted: false }
    }
}

impl Tunnel {
    /// Handles a handshake message. An invalid one gets no answer, except a cookie reply.
    pub(crate) fn handle_handshake(
        &mut self,
        now: Instant,
        from: Endpoint,
        message: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), Refused> {
        match message {
            Message::Initiation(bytes) => {
                let result = self.handle_initiation(now, from, bytes, out);
                // Refused by a limit: the next one may be accepted.
                self.shared.handled.plausible = result.is_err_and(|refused| {
                    [DropReason::RATE_LIMITED, DropReason::ELSEWHERE].contains(&refused.why)
                });
                return result;
            }
            Message::Response(bytes) => self.handle_response(now, from, bytes, out)?,
            Message::Cookie(bytes) => self.handle_cookie(now, bytes)?,
            Message::Data => Err(DropReason::NOT_OURS)?,
        }
        Ok(())
    }

    /// Handles an initiation (NDSS 2017, 5.4.2). The cheap checks come first: MAC and rate limit before the two
    /// Diffie-Hellman operations, the timestamp before the response.
    fn handle_initiation(
        &mut self,
        now: Instant,
        from: Endpoint,
        bytes: &[u8; INITIATION_LEN],
        out: &mut Outbox,
    ) -> Result<(), Refused> {
        let message = Initiation::parse(bytes).ok_or(DropReason::NOT_OURS)?;
        self.admit(now, from, bytes, message.sender, false, out)?;
        let us = self.shared.us.as_ref().ok_or(DropReason::NOT_OURS)?;
        let mut received =
            Received::new(&us.identity, &message).ok_or(DropReason::NOT_AUTHENTIC)?;
        let slot = *self.by_key.get(&received.public).ok_or(DropReason::NOT_AUTHENTIC)?;
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_AUTHENTIC)?;
        let secret = peer.shared_secret.as_ref().ok_or(DropReason::NOT_AUTHENTIC)?;
        let timestamp = received.timestamp(secret).ok_or(DropReason::NOT_AUTHENTIC)?;
        // "The responder keeps track of the greatest timestamp received per client" (5.1).
        let unix = shared.unix(now);
        if peer.timestamps.has_seen(unix, timestamp) {
            return Err(Refused::by_peer(peer, DropReason::REPLAYED));
        }
        let key = peer.key_of_initiation(&received.ephemeral.0, message.sender);
        let gap = shared.config.timing.initiation_gap;
        // The handshake that follows from an exchange comes as soon as one round trip after the one before, and a
        // restart may follow it as soon. It does not count.
        let is_expected = key.as_ref().is_some_and(|(_, is_new)| *is_new);
        if !is_expected && peer.last_accepted.is_some_and(|last| now.since(last) < gap) {
            return Err(DropReason::RATE_LIMITED.into());
        }
        if peer.refuses_endpoint(now, from) {
            shared.event(TunnelEvent::Refused { peer: peer.config.public_key, from });
            return Err(Refused::by_peer(peer, DropReason::ELSEWHERE));
        }
        if let Some(by) = peer.timestamps.note(unix, timestamp) {
            shared.event(TunnelEvent::ClockAhead { peer: peer.config.public_key, by });
        }
        if !is_expected {
            peer.last_accepted = Some(now);
        }
        peer.bytes_received += count(bytes.len());
        let ephemeral = new_key(shared);
        let index = shared.new_index(slot);
        let preshared = key.as_ref().map_or(peer.preshared(), |(key, _)| &key.preshared);
        let Some((keys, response)) = received.respond(preshared, &ephemeral, index) else {
            shared.free([Some(index)]);
            return Err(DropReason::NOT_AUTHENTIC.into());
        };
        let mut session = shared.begin(now, &keys, index, false);
        peer.mark(&mut session, key.map(|(key, _)| key.number));
        let gone = peer.sessions.await_confirmation(session);
        shared.end(gone);
        peer.heard(shared, now, from);
        shared.handled.began = true;
        peer.timers.began(now, &shared.config.timing);
        peer.timers.sent(now, peer.config.persistent_keepalive);
        peer.send_handshake(shared, now, from, &mut response.to_bytes(), out);
        peer.schedule(shared);
        Ok(())
    }

    /// Handles a response to our initiation (NDSS 2017, 5.4.3).
    fn handle_response(
        &mut self,
        now: Instant,
        from: Endpoint,
        bytes: &[u8; RESPONSE_LEN],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let message = Response::parse(bytes).ok_or(DropReason::NOT_OURS)?;
        let slot = self.shared.peer_of(message.receiver).ok_or(DropReason::NOT_OURS)?;
        let (peer, _) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        let index = peer.initiated.as_ref().map(|initiated| initiated.index);
        if index != Some(message.receiver) {
            return Err(DropReason::NOT_OURS);
        }
        // A sender that knows the index of our handshake has seen our initiation, so its address is proven.
        self.admit(now, from, bytes, message.sender, true, out)?;
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        let us = shared.us.as_ref().ok_or(DropReason::NOT_OURS)?;
        let initiated = peer.initiated.as_ref().ok_or(DropReason::NOT_OURS)?;
        // A peer that has lost the post-quantum key answers without.
        let key = peer.initiated_with();
        let both = [key.map_or(peer.preshared(), |key| &key.preshared), peer.preshared()];
        let (at, keys) =
            initiated.finish(&us.identity, &both, &message).ok_or(DropReason::NOT_AUTHENTIC)?;
        let number = key.filter(|_| at == 0).map(|key| key.number);
        // The index now names the session.
        peer.answered(now);
        peer.bytes_received += count(bytes.len());
        peer.heard(shared, now, from);
        let mut session = shared.begin(now, &keys, message.receiver, true);
        peer.mark(&mut session, number);
        peer.begin(shared, now, session, out);
        Ok(())
    }

    /// Handles a cookie reply (NDSS 2017, 5.4.7). The peer does not move by it: no session authenticates it.
    fn handle_cookie(&mut self, now: Instant, bytes: &[u8; COOKIE_LEN]) -> Result<(), DropReason> {
        let reply = CookieReply::parse(bytes).ok_or(DropReason::NOT_OURS)?;
        let slot = self.shared.peer_of(reply.receiver).ok_or(DropReason::NOT_OURS)?;
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        if !peer.cookie.take(now, &reply) {
            return Err(DropReason::NOT_AUTHENTIC);
        }
        peer.bytes_received += count(bytes.len());
        // Retry at once, one time per attempt: a flooded peer answers only initiations with a cookie, and
        // Rekey-Timeout is a long wait. An attacker gains nothing: a reply needs our initiation.
        let jitter = shared.jitter();
        if let Some(attempt) = peer.timers.attempt.as_mut().filter(|attempt| !attempt.hurried) {
            attempt.hurried = true;
            peer.timers.retry = Some(now + jitter);
            peer.schedule(shared);
        }
        Ok(())
    }

    /// Checks the MACs and the rate limit of a handshake message; may answer with a cookie (NDSS 2017, 5.3).
    fn admit(
        &mut self,
        now: Instant,
        from: Endpoint,
        bytes: &[u8],
        sender: u32,
        known: bool,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let shared = &mut self.shared;
        let us = shared.us.as_ref().ok_or(DropReason::NOT_OURS)?;
        let standing = match us.checker.check(now, from, bytes) {
            Standing::Invalid => return Err(DropReason::NOT_AUTHENTIC),
            // The connection of a stream proves its address.
            _ if known || !matches!(from, Endpoint::Udp(_)) => Standing::Reachable,
            standing => standing,
        };
        let source = shared.source_of(from);
        match shared.limiter.decide(now, source, standing) {
            Verdict::Work => Ok(()),
            Verdict::Drop => Err(DropReason::RATE_LIMITED),
            Verdict::Cookie => {
                let us = shared.us.as_mut().ok_or(DropReason::NOT_OURS)?;
                let reply = us.checker.reply(now, from, bytes, sender, &mut shared.random);
                if let Some(reply) = reply
                    && let Some(mut packet) = out.make(COOKIE_LEN)
                {
                    // It has that much room.
                    let _ = packet.extend(&reply.to_bytes());
                    out.send(from, packet);
                }
                Err(DropReason::RATE_LIMITED)
            }
        }
    }
}
