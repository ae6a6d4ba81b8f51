//! What is not a time, a share or a rate of bits: these are read by [`adit_engine::netem::units`].

use std::time::Duration;

/// So many a second, as the time from one to the next: `1000/s`, `0.5/s`, at most 10,000,000.
pub(crate) fn parse_per_second(text: &str) -> Result<Duration, String> {
    const WHAT: &str = "it is a number and /s, as 1000/s, from 0.001/s to 10000000/s";
    let number = text.trim().strip_suffix("/s").ok_or(WHAT)?.trim_end();
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let rate: f64 = number.parse().ok().filter(|_| plain).ok_or(WHAT)?;
    if !(0.001..=1e7).contains(&rate) {
        return Err(WHAT.to_owned());
    }
    Ok(Duration::from_secs_f64(1.0 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second() {
        assert_eq!(parse_per_second("1000/s"), Ok(Duration::from_millis(1)));
        assert_eq!(parse_per_second(" 0.5 /s"), Ok(Duration::from_secs(2)));
        for bad in ["", "/s", "0/s", "1000", "1e3/s", "-1/s", "inf/s", "20000000/s", "1/m"] {
            assert!(parse_per_second(bad).is_err(), "{bad}");
        }
    }
}
