//! ChaCha20-Poly1305 and AES-256-GCM of ring and of aws-lc-rs on packets of 1420 bytes in place, on one thread and on two
//! that share a key, as two workers of one peer would. Each is run in turn; medians are told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LEN: usize = 1420;
const ROUNDS: usize = 9;
const TIME: Duration = Duration::from_millis(200);

/// Seals or opens one packet under this counter.
type Work<'a> = &'a (dyn Fn(u64, &mut Vec<u8>) + Sync);

fn nonce(counter: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    bytes
}

/// Gbit/s of that many threads.
fn run(threads: u64, work: Work<'_>) -> f64 {
    let done = AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..threads {
            let done = &done;
            scope.spawn(move || {
                let mut packet = vec![0; LEN + 16];
                let mut counter = first;
                while begin.elapsed() < TIME {
                    for _ in 0..64 {
                        work(counter, &mut packet);
                        counter += threads;
                    }
                    done.fetch_add(64, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 * LEN as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9
}

macro_rules! cipher {
    ($library:ident, $algorithm:ident) => {{
        use $library::aead::{$algorithm, Aad, LessSafeKey, Nonce, UnboundKey};
        let key = LessSafeKey::new(UnboundKey::new(&$algorithm, &[7; 32]).unwrap());
        let mut sealed = vec![1; LEN];
        let nonce_of = |counter| Nonce::assume_unique_for_key(nonce(counter));
        let tag = key.seal_in_place_separate_tag(nonce_of(9), Aad::empty(), &mut sealed).unwrap();
        sealed.extend_from_slice(tag.as_ref());
        (
            {
                let key = LessSafeKey::new(UnboundKey::new(&$algorithm, &[7; 32]).unwrap());
                move |counter: u64, packet: &mut Vec<u8>| {
                    let (text, tag) = packet.split_at_mut(LEN);
                    let nonce = Nonce::assume_unique_for_key(nonce(counter));
                    let made = key.seal_in_place_separate_tag(nonce, Aad::empty(), text).unwrap();
                    tag.copy_from_slice(made.as_ref());
                }
            },
            move |_: u64, packet: &mut Vec<u8>| {
                packet.copy_from_slice(&sealed);
                let nonce = Nonce::assume_unique_for_key(nonce(9));
                key.open_in_place(nonce, Aad::empty(), packet).unwrap();
            },
        )
    }};
}

fn main() {
    let (ring_seal, ring_open) = cipher!(ring, CHACHA20_POLY1305);
    let (aws_seal, aws_open) = cipher!(aws_lc_rs, CHACHA20_POLY1305);
    let (ring_aes_seal, ring_aes_open) = cipher!(ring, AES_256_GCM);
    let (aws_aes_seal, aws_aes_open) = cipher!(aws_lc_rs, AES_256_GCM);
    let all: [(&str, u64, Work<'_>); 10] = [
        ("ring seal", 1, &ring_seal),
        ("aws-lc-rs seal", 1, &aws_seal),
        ("ring open", 1, &ring_open),
        ("aws-lc-rs open", 1, &aws_open),
        ("AES-256, ring seal", 1, &ring_aes_seal),
        ("AES-256, aws-lc-rs seal", 1, &aws_aes_seal),
        ("AES-256, ring open", 1, &ring_aes_open),
        ("AES-256, aws-lc-rs open", 1, &aws_aes_open),
        ("two threads, ring seal", 2, &ring_seal),
        ("two threads, ring open", 2, &ring_open),
    ];
    let mut speeds = all.map(|_| Vec::new());
    for round in 0..ROUNDS {
        // Another one is first each time.
        for at in (0..all.len()).map(|at| (at + round) % all.len()) {
            let (_, threads, work) = all[at];
            speeds[at].push(run(threads, work));
        }
    }
    for ((name, ..), speeds) in all.iter().zip(&mut speeds) {
        speeds.sort_by(f64::total_cmp);
        let (lowest, highest) = (speeds[0], speeds[ROUNDS - 1]);
        println!("{name:<24} {:6.2} Gbit/s, {lowest:.2} to {highest:.2}", speeds[ROUNDS / 2]);
    }
}
