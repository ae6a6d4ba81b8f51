#![no_main]

#[path = "../../crates/topology/tests/import/exercise.rs"]
#[allow(dead_code, reason = "each target calls one of its functions")]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::file_of("name: fuzz\n", bytes));
