//! The exchange with one peer, without timers and messages: who offers, what is answered, which keys there are.

use core::time::Duration;

use adit_engine::DropReason;
use adit_packet::Instant;
use zeroize::Zeroizing;

use crate::codec::codec;
use crate::keys::{PresharedKey, PublicKey};
use crate::noise::{Hash, Key, hash};
use crate::post_quantum::kem::{CIPHERTEXT_LEN, KemSeed, PUBLIC_LEN, encapsulate};
use crate::post_quantum::key::{Binding, HandshakeKey};

/// Offers of one key, the first one included.
const TRIES: u8 = 3;

/// What both ends know besides the messages.
pub(crate) struct Ends<'a> {
    pub(crate) ours: &'a PublicKey,
    pub(crate) theirs: &'a PublicKey,
    /// The preshared key of the configuration; zeros without one.
    pub(crate) preshared: &'a PresharedKey,
}

/// The exchange with one peer. Its secrets are cleared when they are dropped.
#[derive(Default)]
pub(crate) struct Exchange {
    offer: Option<Offer>,
    answered: Option<Answered>,
    /// From an answer to our offer: what the next initiation uses.
    ours: Option<HandshakeKey>,
    /// From our answer to their offer: what their next initiation uses.
    theirs: Option<HandshakeKey>,
    /// The key of the last session that was confirmed, and the one before: a peer that missed the last message of a
    /// handshake still uses it.
    current: Option<HandshakeKey>,
    former: Option<HandshakeKey>,
    /// The key of our initiation under way.
    initiated: Option<HandshakeKey>,
    /// The number of the last key, and of the last offer.
    keys: u32,
    offers: u16,
}

/// A key pair of ours that is offered.
struct Offer {
    number: u16,
    seed: KemSeed,
    /// The session in which it is offered: our index, and its secret.
    index: u32,
    session: Key,
    tries: u8,
    due: Instant,
}

/// The last offer that we answered. The same one gets the same answer.
struct Answered {
    offer: Hash,
    random: Zeroizing<[u8; 32]>,
    at: Instant,
}

codec! { Exchange { offer, answered, ours, theirs, current, former, initiated, keys, offers } }
codec! { Offer { number, seed, index, session, tries, due } }
codec! { Answered { offer, random, at } }

/// What to do about an offer that was not answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Repeat it in the session of this index.
    Repeat(u32),
    /// The exchange has failed.
    Failed,
}

impl core::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Exchange")
            .field("is_offering", &self.offer.is_some())
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Makes a key pair and offers it in the session with this index and secret.
    pub(crate) fn begin(
        &mut self,
        due: Instant,
        index: u32,
        session: &Key,
        random: &mut dyn FnMut(&mut [u8]),
    ) {
        self.offers = self.offers.wrapping_add(1);
        let (number, seed, session) = (self.offers, KemSeed::new(random), session.clone());
        self.offer = Some(Offer { number, seed, index, session, tries: 1, due });
    }

    /// The number and the encapsulation key of the offer.
    pub(crate) fn offer(&self) -> Option<(u16, [u8; PUBLIC_LEN])> {
        let offer = self.offer.as_ref()?;
        Some((offer.number, offer.seed.public()))
    }

    /// Whether an answer is awaited, or a handshake with its key.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.offer.is_some() || self.ours.is_some()
    }

    /// When the offer must be repeated.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.offer.as_ref().map(|offer| offer.due)
    }

    /// What to do at `now`, if anything. The next time is after `patience`.
    pub(crate) fn overdue(&mut self, now: Instant, patience: Duration) -> Option<Overdue> {
        let offer = self.offer.as_mut().filter(|offer| offer.due <= now)?;
        if offer.tries >= TRIES {
            self.offer = None;
            return Some(Overdue::Failed);
        }
        offer.tries += 1;
        offer.due = now + patience;
        Some(Overdue::Repeat(offer.index))
    }

    /// Answers the peer's offer, made in the session with this secret: returns the ciphertext. Refuses a key that is
    /// malformed, and an offer less than `gap` after the last one.
    ///
    /// If both sides offer, both answer, and the side with the greater static key withdraws its own offer.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        gap: Duration,
        ends: &Ends<'_>,
        session: &Key,
        public: &[u8; PUBLIC_LEN],
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<[u8; CIPHERTEXT_LEN], DropReason> {
        if self.answered.as_ref().is_some_and(|last| now.since(last.at) < gap) {
            return Err(DropReason::RATE_LIMITED);
        }
        let name = hash(&[session.as_slice(), public]);
        let same = self.answered.take().filter(|last| last.offer == name);
        let random = same.map_or_else(
            || {
                let mut bytes = Zeroizing::new([0; 32]);
                random(bytes.as_mut_slice());
                bytes
            },
            |last| last.random,
        );
        let result = encapsulate(public, &random);
        self.answered = Some(Answered { offer: name, random, at: now });
        let (ciphertext, secret) = result.ok_or(DropReason::MALFORMED)?;
        let (preshared, statics) = (ends.preshared, [ends.theirs, ends.ours]);
        let binding = Binding { session, preshared, statics };
        let number = self.next_number();
        self.theirs = Some(HandshakeKey::new(number, &secret, &binding, public, &ciphertext));
        self.offer.take_if(|_| ends.ours > ends.theirs);
        Ok(ciphertext)
    }

    /// Takes the answer to our offer of that number. Returns whether there is a key for an initiation now.
    pub(crate) fn take_answer(
        &mut self,
        ends: &Ends<'_>,
        number: u16,
        ciphertext: &[u8; CIPHERTEXT_LEN],
    ) -> bool {
        let Some(offer) = self.offer.take_if(|offer| offer.number == number) else { return false };
        let secret = offer.seed.decapsulate(ciphertext);
        let (preshared, statics) = (ends.preshared, [ends.ours, ends.theirs]);
        let binding = Binding { session: &offer.session, preshared, statics };
        let number = self.next_number();
        let public = offer.seed.public();
        self.ours = Some(HandshakeKey::new(number, &secret, &binding, &public, ciphertext));
        true
    }

    /// An initiation begins. Returns the key for it: the newest that the peer has.
    pub(crate) fn begin_handshake(&mut self) -> Option<&HandshakeKey> {
        self.initiated = self.ours.as_ref().or(self.current.as_ref()).cloned();
        self.initiated.as_ref()
    }

    /// The key of the initiation under way.
    pub(crate) const fn initiated_with(&self) -> Option<&HandshakeKey> {
        self.initiated.as_ref()
    }

    /// The key that an initiation means, and whether it was never used.
    pub(crate) fn of_initiation(
        &self,
        ephemeral: &Hash,
        index: u32,
    ) -> Option<(&HandshakeKey, bool)> {
        let keys = [(&self.theirs, true), (&self.current, false), (&self.former, false)];
        let known = keys.into_iter().filter_map(|(key, is_new)| Some((key.as_ref()?, is_new)));
        known.into_iter().find(|(key, _)| key.index_of(ephemeral) == index)
    }

    /// A session with the key of that number is in use: the exchange is over.
    pub(crate) fn confirmed(&mut self, number: u32) {
        let is_it = |key: &mut HandshakeKey| key.number == number;
        let key = self.ours.take_if(is_it).or_else(|| self.theirs.take_if(is_it));
        if let Some(key) = key {
            self.former = self.current.replace(key);
        }
        (self.offer, self.initiated) = (None, None);
    }

    /// The peer has answered an initiation without the key that it means: it has lost what we have of it.
    pub(crate) fn lost(&mut self) {
        (self.ours, self.current, self.former) = (None, None, None);
    }

    /// Whether there is a key for an initiation that was never used.
    pub(crate) const fn has_new_key(&self) -> bool {
        self.ours.is_some()
    }

    /// Erases everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { keys: self.keys, offers: self.offers, ..Self::default() };
    }

    fn next_number(&mut self) -> u32 {
        self.keys = self.keys.wrapping_add(1);
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    const SECOND: Duration = Duration::from_secs(1);

    /// One end, with a random source that counts.
    struct End {
        exchange: Exchange,
        key: PublicKey,
        next: u8,
    }

    impl End {
        fn new(key: u8) -> Self {
            Self { exchange: Exchange::default(), key: PublicKey([key; 32]), next: key }
        }

        fn random(next: &mut u8) -> impl FnMut(&mut [u8]) {
            move |bytes| {
                bytes.fill(*next);
                *next = next.wrapping_add(1);
            }
        }

        fn begin(&mut self, session: &Key) -> (u16, [u8; PUBLIC_LEN]) {
            let mut random = Self::random(&mut self.next);
            self.exchange.begin(Instant::ZERO + SECOND, 5, session, &mut random);
            self.exchange.offer().unwrap()
        }

        fn answer(
            &mut self,
            now: Instant,
            other: PublicKey,
            session: &Key,
            public: &[u8; PUBLIC_LEN],
        ) -> Option<[u8; CIPHERTEXT_LEN]> {
            let preshared = PresharedKey::default();
            let ends = Ends { ours: &self.key, theirs: &other, preshared: &preshared };
            let mut random = Self::random(&mut self.next);
            self.exchange.answer(now, SECOND / 50, &ends, session, public, &mut random).ok()
        }

        fn take(&mut self, other: PublicKey, number: u16, answer: &[u8; CIPHERTEXT_LEN]) -> bool {
            let preshared = PresharedKey::default();
            let ends = Ends { ours: &self.key, theirs: &other, preshared: &preshared };
            self.exchange.take_answer(&ends, number, answer)
        }
    }

    fn session(byte: u8) -> Key {
        Zeroizing::new([byte; 32])
    }

    /// Whether what one end initiates with is what the other knows by its index.
    fn agree(one: &mut End, other: &End) -> bool {
        let Some(key) = one.exchange.begin_handshake() else { return false };
        let index = key.index_of(&[77; 32]);
        let found = other.exchange.of_initiation(&[77; 32], index);
        found.is_some_and(|(found, _)| found.preshared == key.preshared)
    }

    #[test]
    fn both_ends_get_one_key() {
        let (mut a, mut b) = (End::new(1), End::new(2));
        let (number, public) = a.begin(&session(3));
        let answer = b.answer(Instant::ZERO, a.key, &session(3), &public).unwrap();
        assert!(!a.take(b.key, number + 1, &answer), "another offer");
        assert!(a.take(b.key, number, &answer));
        assert!(!a.take(b.key, number, &answer), "once");
        assert!(agree(&mut a, &b) && !agree(&mut b, &a));
        let number = a.exchange.begin_handshake().unwrap().number;
        a.exchange.confirmed(number);
        assert!(agree(&mut a, &b), "also while the answerer has not seen the new session");
        b.exchange.confirmed(b.exchange.theirs.as_ref().unwrap().number);
        assert!(agree(&mut a, &b) && agree(&mut b, &a));
        a.exchange.clear();
        assert!(!agree(&mut a, &b) && !agree(&mut b, &a));
    }

    #[test]
    fn an_offer_in_another_session_gives_another_key() {
        let (mut a, mut b) = (End::new(1), End::new(2));
        let (number, public) = a.begin(&session(3));
        let answer = b.answer(Instant::ZERO, a.key, &session(4), &public).unwrap();
        assert!(a.take(b.key, number, &answer));
        assert!(!agree(&mut a, &b));
    }

    #[test]
    fn a_repeated_offer_gets_the_same_answer_but_not_at_any_rate() {
        let (a, mut b) = (PublicKey([1; 32]), End::new(2));
        let public = End::new(1).begin(&session(3)).1;
        let first = b.answer(Instant::ZERO, a, &session(3), &public).unwrap();
        assert_eq!(b.answer(Instant::ZERO, a, &session(3), &public), None, "too soon");
        let later = Instant::ZERO + SECOND;
        assert_eq!(b.answer(later, a, &session(3), &public), Some(first));
        let later = later + SECOND;
        assert_ne!(b.answer(later, a, &session(4), &public), Some(first), "another session");
        let later = later + SECOND;
        assert_eq!(b.answer(later, a, &session(3), &[0xff; PUBLIC_LEN]), None, "malformed");
    }

    #[test]
    fn of_two_offers_one_is_withdrawn() {
        let (mut a, mut b) = (End::new(1), End::new(2));
        let (offer_a, offer_b) = (a.begin(&session(3)), b.begin(&session(4)));
        let answer_b = b.answer(Instant::ZERO, a.key, &session(3), &offer_a.1).unwrap();
        let answer_a = a.answer(Instant::ZERO, b.key, &session(4), &offer_b.1).unwrap();
        assert!(a.take(b.key, offer_a.0, &answer_b), "the lesser key's offer stands");
        assert!(!b.take(a.key, offer_b.0, &answer_a));
        assert!(agree(&mut a, &b));
    }

    #[test]
    fn an_offer_is_repeated_twice() {
        let mut a = End::new(1);
        a.begin(&session(3));
        let at = |seconds: u32| Instant::ZERO + SECOND * seconds;
        let said: Vec<_> = (0..6).map(|now| a.exchange.overdue(at(now), SECOND)).collect();
        let repeat = Some(Overdue::Repeat(5));
        assert_eq!(said, [None, repeat, repeat, Some(Overdue::Failed), None, None]);
        assert_eq!(a.exchange.due(), None);
    }

    /// The vector of docs/src/protocol.md. libcrux-ml-kem 0.0.11 and Python's hashlib give the same.
    #[test]
    fn the_vector() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let seed = KemSeed(Zeroizing::new(core::array::from_fn(|at| u8::try_from(at).unwrap())));
        let public = seed.public();
        let random = core::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
        let (ciphertext, secret) = encapsulate(&public, &random).unwrap();
        let binding = Binding {
            session: &session(0x60),
            preshared: &PresharedKey::from_bytes([0x80; 32]),
            statics: [&PublicKey([0xa0; 32]), &PublicKey([0xc0; 32])],
        };
        let key = HandshakeKey::new(1, &secret, &binding, &public, &ciphertext);
        let results: [&[u8]; 5] = [
            &hash(&[&public]),
            &hash(&[&ciphertext]),
            secret.as_slice(),
            key.preshared.as_bytes(),
            &key.index_of(&[0xe0; 32]).to_le_bytes(),
        ];
        let expected = [
            "d17574d4976b05ccfd85cfbeb1c2071fd3bebeddd32c83432fc29256ebfc3530",
            "3b7b48dcecb64ee7b1870d261e93e2344fd9b7cf7dafa75c6df7f36107626ba6",
            "9cddd089ffe70e3996e76f7c8d06746df34d07e8657bc0fcf2bb0e1c3084aea1",
            "b0bb621fb8fd10b8fd9a03c735afa4ea54bb211eb2cb8737c119392b6a9791b3",
            "685e0658",
        ];
        assert_eq!(results.map(hex), expected);
    }
}
