#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = adit_device::netlink::decode_for_fuzzing(bytes);
});
