#![no_main]

#[path = "../../crates/tunnel/tests/exercise/mod.rs"]
#[allow(dead_code, reason = "each target calls one of its functions")]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::state(bytes));
