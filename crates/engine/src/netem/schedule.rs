//! When nothing passes.

use core::time::Duration;

use super::profile::Outage;

/// Whether one of the outages lasts `since` nanoseconds after their start.
pub(super) fn is_out(outages: &[Outage], since: u64) -> bool {
    outages.iter().any(|outage| {
        let Some(after) = since.checked_sub(nanos(outage.at)) else { return false };
        let within = outage.every.map_or(after, |every| after % nanos(every).max(1));
        within < nanos(outage.lasts)
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_again_and_again() {
        let ms = Duration::from_millis;
        let once = Outage { at: ms(5), lasts: ms(2), every: None };
        let often = Outage { at: ms(20), lasts: ms(1), every: Some(ms(10)) };
        let out: std::vec::Vec<_> =
            (0..60_u64).filter(|ms| is_out(&[once, often], ms * 1_000_000)).collect();
        assert_eq!(out, [5, 6, 20, 30, 40, 50]);
        assert!(!is_out(&[once], 4_999_999) && is_out(&[once], 6_999_999));
        let forever = Outage { at: ms(0), lasts: Duration::MAX, every: None };
        assert!(is_out(&[forever], u64::MAX - 1));
        assert!(!is_out(&[], 0));
    }
}
