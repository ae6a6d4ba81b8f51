//! The time of a packet in the time zone of the user: `TZ`, else that of the system.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::time::Duration;

/// A point in time in the local time zone.
#[derive(Clone, Debug)]
pub(crate) struct LocalTime(Zoned);

impl LocalTime {
    /// `since_1970` in the local time zone; the last representable time after the year 9999.
    pub(crate) fn new(since_1970: Duration) -> Self {
        Self::in_zone(since_1970, TimeZone::system())
    }

    fn in_zone(since_1970: Duration, zone: TimeZone) -> Self {
        let nanos = i128::try_from(since_1970.as_nanos()).unwrap_or(i128::MAX);
        Self(Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX).to_zoned(zone))
    }

    /// `05:13:20.123456`, and with its offset `05:13:20.123456+01:00`.
    pub(crate) fn clock(&self, with_offset: bool) -> String {
        self.0.strftime(if with_offset { "%H:%M:%S.%6f%:z" } else { "%H:%M:%S.%6f" }).to_string()
    }

    /// `2026-11-21T05:13:20.123456789+01:00`.
    pub(crate) fn rfc3339(&self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_its_offset_in_summer_and_winter() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |seconds, nanos| LocalTime::in_zone(Duration::new(seconds, nanos), berlin.clone());
        let winter = at(1_795_320_800, 123_456_789);
        assert_eq!(winter.clock(false), "05:13:20.123456");
        assert_eq!(winter.clock(true), "05:13:20.123456+01:00");
        assert_eq!(winter.rfc3339(), "2026-11-22T05:13:20.123456789+01:00");
        assert_eq!(at(1_785_000_000, 0).rfc3339(), "2026-07-25T19:20:00.000000000+02:00");
        let utc = LocalTime::in_zone(Duration::ZERO, TimeZone::UTC);
        assert_eq!(utc.rfc3339(), "1970-01-01T00:00:00.000000000+00:00");
        assert!(LocalTime::in_zone(Duration::MAX, TimeZone::UTC).rfc3339().starts_with("9999-"));
    }
}
