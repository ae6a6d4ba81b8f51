#![no_main]

#[path = "../../crates/engine/tests/nat/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exercise::nat(bytes);
});
