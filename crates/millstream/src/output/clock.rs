//! The time of day, for the names of files.

use jiff::tz::TimeZone;
use mill_packager::path::Civil;

/// The zone files are named in (`utc_time`).
pub(crate) fn zone(utc: bool) -> TimeZone {
    if utc { TimeZone::UTC } else { TimeZone::system() }
}

/// The time, as people write it there.
pub(crate) fn civil(zone: &TimeZone) -> Civil {
    let now = jiff::Timestamp::now().to_zoned(zone.clone());
    let part = |number: i8| u8::try_from(number).unwrap_or(0);
    Civil {
        year: now.year().into(),
        month: part(now.month()),
        day: part(now.day()),
        hour: part(now.hour()),
        minute: part(now.minute()),
        second: part(now.second()),
        millisecond: u16::try_from(now.millisecond()).unwrap_or(0),
        unix_millis: now.timestamp().as_millisecond(),
    }
}
