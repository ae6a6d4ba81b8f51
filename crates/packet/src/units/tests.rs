use super::*;
use proptest::prelude::{any, proptest};
use std::string::{String, ToString};

fn nanos(text: &str) -> Result<u64, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    Ok(u64::try_from(time.as_nanos()).unwrap())
}

#[test]
fn durations() {
    for (text, expected) in [
        ("20ms", 20_000_000),
        ("1.5s", 1_500_000_000),
        ("0.1us", 100),
        (".25us", 250),
        ("7 µs", 7_000),
        ("0.3 ms", 300_000),
        ("5m", 300_000_000_000),
        ("5min", 300_000_000_000),
        (" 1H ", 3_600_000_000_000),
        ("7d", 604_800_000_000_000),
        ("0", 0),
        ("0.0", 0),
    ] {
        assert_eq!(nanos(text), Ok(expected), "{text}");
    }
    for bad in [
        "",
        "ms",
        "20",
        "-1ms",
        "+1ms",
        "1.ms",
        "1e3ms",
        "1..2s",
        "99999999999h",
        "300000d",
        ".",
        "1 x y",
        "1s2",
        "99999999999999999999s",
    ] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_seconds("10"), Ok(Duration::from_secs(10)));
    assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
    assert_eq!(parse_seconds("10ms"), Ok(Duration::from_millis(10)));
    assert_eq!(parse_millis("12.5"), Ok(Duration::from_micros(12_500)));
}

#[test]
fn sizes_and_counts() {
    for (text, expected) in [
        ("1500", 1500),
        ("1500B", 1500),
        ("10k", 10_000),
        ("10KB", 10_000),
        ("1.5MB", 1_500_000),
        ("10M", 10_000_000),
        ("64KiB", 65_536),
        ("64ki", 65_536),
        ("1 MiB", 1 << 20),
        ("2G", 2_000_000_000),
        ("1TiB", 1 << 40),
    ] {
        assert_eq!(parse_size(text), Ok(expected), "{text}");
    }
    for bad in ["", "MB", "-1", "99999999999999999999", "10XB", "20000000000GB", "10mbit"] {
        assert!(parse_size(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_count("500"), Ok(500));
    assert_eq!(parse_count("1.5k"), Ok(1500));
    assert_eq!(parse_count("2M"), Ok(2_000_000));
    for bad in ["1.5", "1.0005k", "10kB", "k", "-1", "1.0000000000000000001k"] {
        assert!(parse_count(bad).is_err(), "{bad}");
    }
}

#[test]
fn rates() {
    for text in ["1gbit", "2.5gbit", "100mbit", "1.5mbit", "64kbit", "1.234kbit", "999bit"] {
        assert_eq!(text.parse::<Bitrate>().unwrap().to_string(), text);
    }
    assert_eq!("100Mbit/s".parse::<Bitrate>(), "100 MBIT".parse());
    assert_eq!("1.2345678gbit".parse::<Bitrate>().unwrap().to_string(), "1234567.8kbit");
    assert_eq!("0".parse(), Ok(Bitrate::default()));
    for bad in ["", "100", "mbit", "100mb", "-1mbit", "1001gbit", "1.5.5mbit", "5mbps"] {
        assert!(bad.parse::<Bitrate>().is_err(), "{bad}");
    }
}

#[test]
fn shares() {
    for (text, expected) in
        [("1%", 0.01), ("2.5%", 0.025), ("0.25", 0.25), ("100 %", 1.0), ("0", 0.0), (".5", 0.5)]
    {
        assert_eq!(parse_share(text), Ok(expected), "{text}");
    }
    for bad in ["", "%", "101%", "1", "1.1", "1.0", "-1%", "nan", "inf", "1/100", "1e-2", "1.%"] {
        assert!(parse_share(bad).is_err(), "{bad}");
    }
    for (value, text) in [
        (0.01, "1%"),
        (0.57, "57%"),
        (1.0, "100%"),
        (0.0, "0%"),
        (0.5, "50%"),
        (0.000_125, "0.0125%"),
    ] {
        assert_eq!(share(value).to_string(), text);
    }
}

#[test]
fn a_mistake_is_named_and_corrected() {
    let rate = |text: &str| text.parse::<Bitrate>().map(Bitrate::bits_per_second);
    let time = |text: &str| parse_duration(text).map(|_| 0);
    let size = |text: &str| parse_size(text);
    let share = |text: &str| parse_share(text).map(|_| 0);
    for (result, message) in [
        (time("20msec"), "unknown unit `msec`; did you mean `20ms`?"),
        (time("20sm"), "unknown unit `sm`; did you mean `20ms`?"),
        (time("3minutes"), "unknown unit `minutes`; did you mean `3m`?"),
        (
            time("3 fortnights"),
            "unknown unit `fortnights`; the units are ns, us, ms, s, m, h and d",
        ),
        (time("20"), "`20` has no unit; did you mean `20ms` or `20s`?"),
        (time("soon"), "`soon` is not a duration; write `20ms` or `20s`"),
        (time(""), "a duration is missing; write `20ms` or `20s`"),
        (time("300000d"), "`300000d` is too large"),
        (rate("5mbps"), "unknown unit `mbps`; did you mean `5mbit`?"),
        (rate("5mb"), "unknown unit `mb`; did you mean `5mbit`?"),
        (rate("5mbt"), "unknown unit `mbt`; did you mean `5mbit`?"),
        (rate("1001gbit"), "`1001gbit` is too large; the maximum is 1000gbit"),
        (size("10MX"), "unknown unit `MX`; did you mean `10MB`?"),
        (share("1"), "`1` needs a percent sign; did you mean `1%`?"),
        (share("101%"), "`101%` is more than all; the maximum is `100%`"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    assert_eq!(parse_duration(" 20 msec ").unwrap_err().part(), 4..8);
    assert_eq!(parse_duration("20").unwrap_err().part(), 0..2);
}

#[test]
fn prints_are_short() {
    for (value, text) in [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(100), "100ns"),
        (Duration::from_nanos(28_100), "28.1us"),
        (Duration::from_millis(20), "20ms"),
        (Duration::from_millis(1500), "1.5s"),
        (Duration::from_secs(90), "90s"),
        (Duration::from_secs(300), "5m"),
        (Duration::from_secs(7200), "2h"),
        (Duration::from_secs(604_800), "7d"),
    ] {
        assert_eq!(duration(value).to_string(), text);
    }
    for (value, text) in
        [(0, "0B"), (1500, "1500B"), (65_536, "64KiB"), (10_000_000, "10MB"), (1 << 30, "1GiB")]
    {
        assert_eq!(size(value).to_string(), text);
    }
    assert_eq!(
        [0, 500, 10_000, 2_000_000].map(|n| count(n).to_string()),
        ["0", "500", "10k", "2M"]
    );
    assert_eq!(std::format!("{:>6}|", duration(Duration::from_millis(1))), "   1ms|");
}

#[test]
fn people_get_rounded_values() {
    for (value, text) in [
        (Duration::ZERO, "0 s"),
        (Duration::from_nanos(100), "100 ns"),
        (Duration::from_nanos(28_123), "28.12 us"),
        (Duration::from_millis(1250), "1.25 s"),
        (Duration::from_secs(90), "90 s"),
        (Duration::from_secs(300), "5 min"),
        (Duration::from_secs(9000), "2 h"),
        (Duration::from_secs(864_000), "10 d"),
    ] {
        assert_eq!(std::format!("{:#}", duration(value)), text);
    }
    for (value, text) in [(1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5 TiB")] {
        assert_eq!(std::format!("{:#}", size(value)), text);
    }
    let rate = Bitrate::from_bits_per_second(18_754_321);
    assert_eq!(std::format!("{rate:#}"), "18.75 Mbit/s");
    assert_eq!(std::format!("{:#}", Bitrate::from_bits_per_second(999)), "999 bit/s");
    for (value, text) in
        [(0.01, "1 %"), (0.000_12, "0.012 %"), (0.0, "0 %"), (0.333_333, "33.33 %")]
    {
        assert_eq!(std::format!("{:#}", share(value)), text);
    }
}

proptest! {
    #[test]
    fn printed_text_is_read_back(value: u64, round in 0..20_u32) {
        // Round values are the ones that people write, and the ones in large units.
        let value = value / 10_u64.pow(round.min(19)) * 10_u64.pow(round.min(19));
        let time = Duration::from_nanos(value);
        assert_eq!(parse_duration(&duration(time).to_string()), Ok(time));
        assert_eq!(parse_size(&size(value).to_string()), Ok(value));
        assert_eq!(parse_count(&count(value).to_string()), Ok(value));
        let rate = Bitrate::from_bits_per_second(value.min(Bitrate::MAX.bits_per_second()));
        assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    #[test]
    fn a_share_that_is_printed_is_read(value in 0.0..=1.0_f64, bits in any::<u64>()) {
        assert_eq!(parse_share(&share(value).to_string()), Ok(value));
        let small = f64::from_bits(bits % 1.0_f64.to_bits());
        assert_eq!(parse_share(&share(small).to_string()), Ok(small));
    }

    #[test]
    fn no_text_panics(text in "[ -~µ]{0,24}") {
        let _ = parse_duration(&text);
        let _ = parse_seconds(&text);
        let _ = parse_size(&text);
        let _ = parse_count(&text);
        let _ = parse_share(&text);
        let _ = text.parse::<Bitrate>();
        let _ = text.parse::<crate::IpPrefix>();
    }
}
