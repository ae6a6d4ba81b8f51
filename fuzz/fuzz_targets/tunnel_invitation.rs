#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adit_cli::exercise::tunnel_invitation(bytes));
