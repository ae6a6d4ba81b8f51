#![no_main]

#[path = "../../crates/nat/tests/translate/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exercise::nat(bytes);
});
