#![no_main]

#[path = "../../crates/nat/tests/exercise/guests.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exercise::guests(bytes);
});
