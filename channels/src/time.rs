//! Moments as metadata writes them, and spans of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const DAY_SIGNED: i64 = 86_400;

/// A moment in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

/// A text that is not a moment, such as `2030-01-31T00:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time: write it as 2030-01-31T00:00:00Z")]
pub struct ParseTimeError {
    text: String,
}

impl Time {
    /// The moment this many seconds after 1970-01-01T00:00:00Z.
    pub const fn from_unix(seconds: i64) -> Time {
        Time(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// The moment that much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)))
    }

    /// The moment as people read it, to the minute.
    pub fn to_minute(self) -> String {
        let text = self.to_string();
        match (text.get(..10), text.get(11..16)) {
            (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
            _ => text,
        }
    }

    /// The span since an earlier moment; none if that is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(span) => Time(seconds(span)),
            Err(before) => Time(-seconds(before.duration())),
        }
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Time, ParseTimeError> {
        parse(text).ok_or_else(|| ParseTimeError { text: text.chars().take(40).collect() })
    }
}

/// Exactly `YYYY-MM-DDTHH:MM:SSZ`, with a day that exists.
fn parse(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if bytes.len() != 20 || marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_date(year, month, day);
    // A day that does not exist comes back as another one.
    if date_from_days(days) != (year, month, day) {
        return None;
    }
    Some(Time(days * DAY_SIGNED + hour * 3600 + minute * 60 + second))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. The year is counted from March, so
/// that the day which leap years add is the last one.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_from_days(self.0.div_euclid(DAY_SIGNED));
        let second = self.0.rem_euclid(DAY_SIGNED);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A text that is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a span of time: write it as 30m, 24h, 7d or 1d12h")]
pub struct ParseSpanError {
    text: String,
}

/// Reads a span such as `30m`, `24h` or `1d12h`: whole numbers, each with its unit.
pub fn parse_span(text: &str) -> Result<Duration, ParseSpanError> {
    let error = || ParseSpanError { text: text.to_owned() };
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        let unit = match rest[digits..].chars().next() {
            Some('s') => 1,
            Some('m') => MINUTE,
            Some('h') => HOUR,
            Some('d') => DAY,
            Some('w') => 7 * DAY,
            _ => return Err(error()),
        };
        let part = number.checked_mul(unit).ok_or_else(error)?;
        seconds = seconds.checked_add(part).ok_or_else(error)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(error()) } else { Ok(Duration::from_secs(seconds)) }
}

/// A span as [`parse_span`] reads it, in its two largest units.
pub fn format_span(span: Duration) -> String {
    let mut left = span.as_secs();
    let mut parts = Vec::new();
    for (unit, name) in [(DAY, 'd'), (HOUR, 'h'), (MINUTE, 'm'), (1, 's')] {
        if left >= unit {
            parts.push(format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_are_read_and_written_as_metadata_does() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-23T21:58:56Z", 1_795_471_136),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ];
        for (text, seconds) in cases {
            assert_eq!(text.parse(), Ok(Time(seconds)), "{text}");
            assert_eq!(Time(seconds).to_string(), text);
        }
        assert_eq!(Time(951_825_659).to_minute(), "2000-02-29 12:00 UTC");
    }

    #[test]
    fn what_is_not_exactly_a_moment_is_refused() {
        let cases = [
            "",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-01-01 00:00:00Z",
            "2030-1-01T00:00:00Z",
            "2030-02-30T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-00-01T00:00:00Z",
            "2030-01-00T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:60:00Z",
            "2030-01-01T00:00:60Z",
            "2030-01-01T00:00:00.5Z",
            "+030-01-01T00:00:00Z",
            "2030-01-01T00:00:00+01:00",
            "203\u{e9}-01-01T00:00:00Z",
        ];
        for text in cases {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans_add_their_parts() {
        let cases = [
            ("0s", 0),
            ("90s", 90),
            ("30m", 1800),
            ("24h", DAY),
            ("1d12h", 129_600),
            ("2w", 1_209_600),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "5",
            "h",
            "5y",
            "-5m",
            "1.5h",
            "5 m",
            "99999999999999999999d",
            "999999999999999999w",
        ] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        for (seconds, text) in [(0, "0s"), (90, "1m30s"), (129_600, "1d12h"), (90_061, "1d1h")] {
            assert_eq!(format_span(Duration::from_secs(seconds)), text);
        }
    }

    proptest! {
        #[test]
        fn every_moment_of_four_digit_years_survives(seconds in -62_167_219_200_i64..253_402_300_800) {
            let time = Time(seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
