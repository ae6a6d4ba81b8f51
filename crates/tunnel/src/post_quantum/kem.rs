//! ML-KEM-768 (FIPS 203) on plain arrays. A key pair is kept as its seed, 64 bytes in place of 2400.

use ml_kem::kem::{Ciphertext, Decapsulate, Key, KeyExport};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, MlKem768};
use zeroize::Zeroizing;

use crate::codec::{Codec, Decoder, Encoder};

/// The length of an encapsulation key: what is public of a key pair.
pub(crate) const PUBLIC_LEN: usize = 1184;
/// The length of a ciphertext.
pub(crate) const CIPHERTEXT_LEN: usize = 1088;
/// The length of the randomness of a key pair, `d` and `z` of FIPS 203, 7.1.
const SEED_LEN: usize = 64;

/// The secret that both ends get. Its memory is cleared when it is dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// The private half of a key pair. Its memory is cleared when it is dropped.
pub(crate) struct KemSeed(pub(crate) Zeroizing<[u8; SEED_LEN]>);

impl Codec for KemSeed {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Codec::decode(from).map(Self)
    }
}

impl KemSeed {
    /// A key pair from random bytes.
    pub(crate) fn new(random: &mut dyn FnMut(&mut [u8])) -> Self {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        random(seed.as_mut_slice());
        Self(seed)
    }

    /// The encapsulation key.
    pub(crate) fn public(&self) -> [u8; PUBLIC_LEN] {
        self.expand().encapsulation_key().to_bytes().into()
    }

    /// The secret of a ciphertext. A ciphertext that is not for this key pair gives another secret, not an error
    /// (FIPS 203, 6.3: implicit rejection).
    pub(crate) fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Secret {
        let ciphertext: &Ciphertext<MlKem768> = ciphertext.into();
        Zeroizing::new(self.expand().decapsulate(ciphertext).into())
    }

    fn expand(&self) -> DecapsulationKey {
        DecapsulationKey::from_seed((*self.0).into())
    }
}

/// Makes a ciphertext for an encapsulation key from 32 random bytes, and its secret. The same bytes give the same
/// result. `None` if the key is not well-formed (FIPS 203, 7.2: modulus check).
pub(crate) fn encapsulate(
    public: &[u8; PUBLIC_LEN],
    random: &[u8; 32],
) -> Option<([u8; CIPHERTEXT_LEN], Secret)> {
    let public: &Key<EncapsulationKey> = public.into();
    let random: &B32 = random.into();
    let key = EncapsulationKey::new(public).ok()?;
    let (ciphertext, secret) = key.encapsulate_deterministic(random);
    Some((ciphertext.into(), Zeroizing::new(secret.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_get_one_secret() {
        let ours = KemSeed(Zeroizing::new([7; SEED_LEN]));
        let (mut ciphertext, secret) = encapsulate(&ours.public(), &[9; 32]).unwrap();
        assert_eq!(ours.decapsulate(&ciphertext), secret);
        assert_eq!(encapsulate(&ours.public(), &[9; 32]).unwrap().0, ciphertext);
        ciphertext[1000] ^= 1;
        assert_ne!(ours.decapsulate(&ciphertext), secret);
    }

    /// A coefficient of 12 bits that is not below the modulus 3329.
    #[test]
    fn a_key_that_is_not_well_formed_is_refused() {
        let mut public = KemSeed(Zeroizing::new([7; SEED_LEN])).public();
        (public[0], public[1]) = (0xff, 0xff);
        assert!(encapsulate(&public, &[9; 32]).is_none());
    }
}
