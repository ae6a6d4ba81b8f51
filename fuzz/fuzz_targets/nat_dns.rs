#![no_main]

#[path = "../../crates/engine/tests/exercise/dns.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exercise::dns(bytes);
});
