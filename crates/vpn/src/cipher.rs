//! Which cipher this machine is faster with.

use adit_tunnel::Suite;
use std::hint::black_box;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time of a measurement.
const TIME: Duration = Duration::from_millis(5);
/// Packets in one round: 20 us of the slower cipher, so that most rounds are not interrupted.
const PACKETS: u16 = 16;
/// Rounds of each cipher at least, also on a busy machine.
const ROUNDS_MIN: u32 = 8;

/// A measurement on a thread of its own, beside the start of a tunnel.
pub(crate) struct Measurement(Option<JoinHandle<bool>>);

impl Measurement {
    /// Starts it.
    #[must_use]
    pub(crate) fn start() -> Self {
        let thread = thread::Builder::new().name("adit-cipher".to_owned());
        Self(thread.spawn(is_aes_faster).ok())
    }

    /// Whether AES-256-GCM is faster than ChaCha20-Poly1305. Without a measurement it is not.
    #[must_use]
    pub(crate) fn finish(self) -> bool {
        self.0.is_some_and(|thread| thread.join().unwrap_or_default())
    }
}

/// Compares the fastest rounds of both, by turns: a round can only be slowed down by what else runs here.
fn is_aes_faster() -> bool {
    let (start, mut best) = (Instant::now(), [Duration::MAX; 2]);
    let mut rounds = 0;
    while rounds < ROUNDS_MIN || start.elapsed() < TIME {
        rounds += 1;
        for (suite, best) in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305].iter().zip(&mut best) {
            let round = Instant::now();
            black_box(suite.seal_sample(PACKETS));
            *best = round.elapsed().min(*best);
        }
    }
    let [aes, chacha] = best;
    aes < chacha
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ring has instructions for AES on both, and ChaCha20 is several times slower there.
    #[test]
    fn aes_is_faster_where_the_processor_has_it() {
        let start = Instant::now();
        let faster = Measurement::start().finish();
        assert!(start.elapsed() >= TIME);
        #[cfg(target_arch = "x86_64")]
        assert!(faster || !std::is_x86_feature_detected!("aes"));
        let _ = faster;
    }
}
