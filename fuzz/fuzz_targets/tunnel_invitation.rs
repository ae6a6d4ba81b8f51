#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adit_vpn::exercise::invitation(
    &String::from_utf8_lossy(bytes)
));
