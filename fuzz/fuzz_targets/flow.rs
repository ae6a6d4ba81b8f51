#![no_main]

#[path = "../../crates/packet/tests/exercise/mod.rs"]
#[allow(dead_code, reason = "each target calls one of its functions")]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TOEPLITZ: std::sync::LazyLock<adit_packet::Toeplitz> =
        std::sync::LazyLock::new(exercise::toeplitz);
    exercise::flow(bytes, &TOEPLITZ);
});
