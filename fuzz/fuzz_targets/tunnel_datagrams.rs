#![no_main]

#[path = "../../crates/engine/tests/tunnel_exercise/mod.rs"]
#[allow(dead_code, reason = "each target calls one of its functions")]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::datagrams(bytes));
