#![no_main]

#[path = "../../crates/engine/tests/exercise/mod.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    exercise::switch(bytes);
});
