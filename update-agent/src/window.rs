//! Reboot windows: when a machine may reboot. Plain arithmetic; the time is an argument.
//!
//! A window begins at a wall-clock time on some weekdays and is open for a length of real time.
//! Where the clocks are put forward over the beginning, it begins that much later; where they are
//! put back over it, it begins the first time. The length never changes by that.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use channels::time::{Time, format_span, parse_span};
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const DAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "Mon"),
    (Weekday::Tuesday, "Tue"),
    (Weekday::Wednesday, "Wed"),
    (Weekday::Thursday, "Thu"),
    (Weekday::Friday, "Fri"),
    (Weekday::Saturday, "Sat"),
    (Weekday::Sunday, "Sun"),
];

/// Windows longer than that are the same as none.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins, Monday first.
    days: [bool; 7],
    hour: i8,
    minute: i8,
    length: Duration,
}

/// A text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no reboot window: {reason}")]
pub struct WindowError {
    text: String,
    reason: String,
}

/// All windows of a machine. With none, it may reboot at any time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows(pub Vec<Window>);

/// Whether now is in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// There are no windows.
    Always,
    /// One is open, until then.
    Until(Time),
    /// None is; the next one opens then.
    From(Time),
}

impl Window {
    /// Reads the two settings that locksmith has: `[DAYS ]HH:MM` and a length such as `1h30m`.
    pub fn new(start: &str, length: &str) -> Result<Window, WindowError> {
        let text = format!("{start} {length}");
        let fail = |reason: &str| WindowError { text: text.clone(), reason: reason.to_owned() };
        let words: Vec<_> = start.split_whitespace().collect();
        let (days, clock) = match words.as_slice() {
            [clock] => ([true; 7], *clock),
            [days, clock] => {
                let days = parse_days(days)
                    .ok_or_else(|| fail("days are written as Sun, Mon..Fri or Sat,Sun"))?;
                (days, *clock)
            }
            _ => return Err(fail("write it as `[DAYS ]HH:MM LENGTH`")),
        };
        let (hour, minute) =
            parse_clock(clock).ok_or_else(|| fail("it begins at a time from 00:00 to 23:59"))?;
        // Go writes a length with seconds that are none, and so did locksmith's users.
        let length = parse_span(length).map_err(|error| fail(&error.to_string()))?;
        let every_day = days.iter().filter(|day| **day).count() > 1;
        if length.is_zero() {
            return Err(fail("its length is zero"));
        }
        if length >= if every_day { DAY } else { 7 * DAY } {
            return Err(fail("it would never close"));
        }
        Ok(Window { days, hour, minute, length })
    }

    /// When it opens if it begins on a date.
    fn opening_on(&self, date: Date, zone: &TimeZone) -> Option<Timestamp> {
        let day = DAYS.iter().position(|(day, _)| *day == date.weekday())?;
        if !self.days[day] {
            return None;
        }
        let begin = date.at(self.hour, self.minute, 0, 0);
        zone.to_ambiguous_timestamp(begin).compatible().ok()
    }

    /// Its openings around a moment, in order: those that may still be open, and the next ones.
    fn openings(&self, now: Timestamp, zone: &TimeZone) -> Vec<Timestamp> {
        let today = zone.to_datetime(now).date();
        // A week back for the longest window, a week ahead for the rarest, and the days on which
        // a zone skips midnight.
        (-8..=8)
            .filter_map(|days| today.checked_add(SignedDuration::from_hours(24 * days)).ok())
            .filter_map(|date| self.opening_on(date, zone))
            .collect()
    }

    fn close(&self, opening: Timestamp) -> Timestamp {
        let length = SignedDuration::try_from(self.length).unwrap_or(SignedDuration::MAX);
        opening.checked_add(length).unwrap_or(Timestamp::MAX)
    }
}

impl Windows {
    /// Whether one is open.
    pub fn at(&self, now: Time, zone: &TimeZone) -> Opening {
        if self.0.is_empty() {
            return Opening::Always;
        }
        let stamp = Timestamp::from_second(now.unix()).unwrap_or_default();
        let openings: Vec<_> = self
            .0
            .iter()
            .flat_map(|window| {
                let openings = window.openings(stamp, zone).into_iter();
                openings.map(|opening| (opening, window.close(opening)))
            })
            .collect();
        let open = openings.iter().filter(|(from, to)| *from <= stamp && stamp < *to);
        if let Some(end) = open.map(|(_, to)| *to).max() {
            return Opening::Until(Time::from_unix(end.as_second()));
        }
        let next = openings.iter().map(|(from, _)| *from).filter(|from| *from > stamp).min();
        Opening::From(next.map_or(now.plus(DAY), |next| Time::from_unix(next.as_second())))
    }
}

impl Opening {
    /// Whether a machine may reboot.
    pub fn is_open(self) -> bool {
        !matches!(self, Opening::From(_))
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| {
        let name = name.get(..3).filter(|_| name.is_ascii())?;
        DAYS.iter().position(|(_, day)| day.eq_ignore_ascii_case(name))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (from, to) = match part.split_once("..") {
            Some((from, to)) => (day(from)?, day(to)?),
            None => (day(part)?, day(part)?),
        };
        let mut at = from;
        days[at] = true;
        while at != to {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Some(days)
}

fn parse_clock(text: &str) -> Option<(i8, i8)> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let (hour, minute) = (
        Some(hour).filter(|part| digits(part))?.parse().ok()?,
        Some(minute).filter(|part| digits(part))?.parse().ok()?,
    );
    (hour < 24 && minute < 60).then_some((hour, minute))
}

impl FromStr for Windows {
    type Err = WindowError;

    /// Windows as `Mon..Fri 02:00 1h; Sat 01:00 3h30m`.
    fn from_str(text: &str) -> Result<Windows, WindowError> {
        let parse = |part: &str| match part.trim().rsplit_once(char::is_whitespace) {
            Some((start, length)) => Window::new(start, length),
            None => Window::new(part.trim(), ""),
        };
        let parts = text.split(';').filter(|part| !part.trim().is_empty());
        parts.map(parse).collect::<Result<_, _>>().map(Windows)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let names =
                DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|((_, name), _)| *name);
            write!(f, "{} ", names.collect::<Vec<_>>().join(","))?;
        }
        write!(f, "{:02}:{:02} {}", self.hour, self.minute, format_span(self.length))
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(Window::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn windows_are_read_as_locksmith_and_people_write_them() {
        let shown = |text: &str| text.parse::<Windows>().unwrap().to_string();
        assert_eq!(shown("04:00 1h"), "04:00 1h");
        assert_eq!(shown("Sun 04:00 1h30m"), "Sun 04:00 1h30m");
        assert_eq!(
            shown(" mon..wed 23:30 2h ;Sat,sun 00:00 20h; "),
            "Mon,Tue,Wed 23:30 2h; Sat,Sun 00:00 20h"
        );
        assert_eq!(shown("Fri..Mon 12:00 30m"), "Mon,Fri,Sat,Sun 12:00 30m");
        assert_eq!(shown("Thursday 14:00 6d"), "Thu 14:00 6d");
        assert_eq!(shown(""), "");
        for (start, length, reason) in [
            ("25:00", "1h", "from 00:00 to 23:59"),
            ("4:00", "1h", "from 00:00 to 23:59"),
            ("Foo 04:00", "1h", "days are written"),
            ("04:00", "0s", "zero"),
            ("04:00", "24h", "never close"),
            ("Mon 04:00", "7d", "never close"),
            ("Mon,Tue 04:00", "24h", "never close"),
            ("04:00", "x", "not a span"),
            ("a b 04:00", "1h", "[DAYS ]HH:MM"),
            ("", "1h", "[DAYS ]HH:MM"),
        ] {
            let error = Window::new(start, length).unwrap_err().to_string();
            assert!(error.contains(reason), "{start} {length}: {error}");
        }
    }

    #[test]
    fn a_window_is_open_from_its_start_for_its_length() {
        let windows: Windows = "Thu 23:30 1h; Sat 10:00 30m".parse().unwrap();
        // 2026-11-26 is a Thursday.
        for (now, expected) in [
            ("2026-11-26T23:29:59Z", Opening::From(time("2026-11-26T23:30:00Z"))),
            ("2026-11-26T23:30:00Z", Opening::Until(time("2026-11-27T00:30:00Z"))),
            ("2026-11-27T00:29:59Z", Opening::Until(time("2026-11-27T00:30:00Z"))),
            ("2026-11-27T00:30:00Z", Opening::From(time("2026-11-28T10:00:00Z"))),
            ("2026-11-28T10:30:00Z", Opening::From(time("2026-12-03T23:30:00Z"))),
        ] {
            assert_eq!(windows.at(time(now), &TimeZone::UTC), expected, "{now}");
        }
        assert_eq!(
            Windows::default().at(time("2026-11-26T00:00:00Z"), &TimeZone::UTC),
            Opening::Always
        );
    }

    #[test]
    fn overlapping_windows_close_with_the_last_of_them() {
        let windows: Windows = "10:00 2h; 11:00 2h".parse().unwrap();
        let until = windows.at(time("2026-11-26T11:30:00Z"), &TimeZone::UTC);
        assert_eq!(until, Opening::Until(time("2026-11-26T13:00:00Z")));
    }

    #[test]
    fn wall_clocks_count_and_their_jumps_change_no_length() {
        let berlin = zone("Europe/Berlin");
        let windows: Windows = "02:30 1h".parse().unwrap();
        for (now, expected) in [
            // An ordinary night in winter: 02:30 is 01:30 UTC.
            ("2026-01-10T01:30:00Z", Opening::Until(time("2026-01-10T02:30:00Z"))),
            // 2026-03-29: 02:30 does not exist, 02:00 CET becomes 03:00 CEST. It begins at 03:30.
            ("2026-03-29T01:00:00Z", Opening::From(time("2026-03-29T01:30:00Z"))),
            ("2026-03-29T01:30:00Z", Opening::Until(time("2026-03-29T02:30:00Z"))),
            // 2026-10-25: 02:30 comes twice. It begins the first time, and only then.
            ("2026-10-25T00:29:59Z", Opening::From(time("2026-10-25T00:30:00Z"))),
            ("2026-10-25T00:30:00Z", Opening::Until(time("2026-10-25T01:30:00Z"))),
            ("2026-10-25T01:30:00Z", Opening::From(time("2026-10-26T01:30:00Z"))),
        ] {
            assert_eq!(windows.at(time(now), &berlin), expected, "{now}");
        }
        // Half an hour, and a Friday that never was: the window begins when it would have ended.
        let howe: Windows = "02:15 30m".parse().unwrap();
        let opening = howe.at(time("2026-10-03T15:00:00Z"), &zone("Australia/Lord_Howe"));
        assert_eq!(opening, Opening::From(time("2026-10-03T15:45:00Z")));
        let samoa: Windows = "Fri 12:00 1h".parse().unwrap();
        let opening = samoa.at(time("2011-12-29T12:00:00Z"), &zone("Pacific/Apia"));
        assert_eq!(opening, Opening::From(time("2011-12-30T22:00:00Z")));
    }

    prop_compose! {
        fn any_window()(
            days in prop::array::uniform7(any::<bool>()),
            hour in 0..24_i8, minute in 0..60_i8, length in 60..86_400_u64,
        ) -> Window {
            let days = if days == [false; 7] { [true; 7] } else { days };
            Window { days, hour, minute, length: Duration::from_secs(length) }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn what_is_said_of_the_future_comes_true(
            windows in prop::collection::vec(any_window(), 1..4),
            now in 1_600_000_000_i64..2_000_000_000,
            name in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
            ]),
        ) {
            let (zone, windows) = (zone(name), Windows(windows));
            let now = Time::from_unix(now);
            match windows.at(now, &zone) {
                Opening::Always => prop_assert!(false),
                Opening::From(next) => {
                    prop_assert!(next > now);
                    let at = windows.at(next, &zone);
                    prop_assert!(matches!(at, Opening::Until(_)), "{:?} at {}", at, next);
                    let before = Time::from_unix(next.unix() - 1);
                    prop_assert_eq!(windows.at(before, &zone), Opening::From(next));
                }
                Opening::Until(end) => {
                    prop_assert!(end > now);
                    let before = Time::from_unix(end.unix() - 1);
                    prop_assert!(windows.at(before, &zone).is_open());
                    if let Opening::Until(later) = windows.at(end, &zone) {
                        prop_assert!(later > end, "another window opened in time");
                    }
                }
            }
        }

        #[test]
        fn any_text_is_windows_or_a_mistake(text in "\\PC{0,30}") {
            if let Ok(windows) = text.parse::<Windows>() {
                prop_assert_eq!(windows.to_string().parse::<Windows>(), Ok(windows));
            }
        }
    }
}
