#![no_main]

#[path = "../../crates/nat/tests/exercise/dns.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exercise::dns(bytes);
});
