#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    filter(bytes);
});

/// Text as `tcpdump -ddd` prints it, a NUL, and a packet: what parses also runs, and prints as itself.
fn filter(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Ok(filter) = text.parse::<adit_device::ClassicFilter>() else { return };
    let _ = filter.run(parts.next().unwrap_or_default());
    assert_eq!(
        filter.to_string().parse::<adit_device::ClassicFilter>().ok().as_ref(),
        Some(&filter)
    );
}
