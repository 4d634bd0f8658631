//! Times as archives write them: `Sat, 21 Nov 2026 09:15:44 UTC`.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 24 * 60 * 60;

/// Seconds since 1970 of a time as it stands in a Release file; it must be in UTC.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [day, month, year, clock, zone] = words.as_slice() else { return None };
    if !matches!(*zone, "UTC" | "GMT" | "+0000") {
        return None;
    }
    let month = MONTHS.iter().position(|name| name == month)? as u64 + 1;
    let clock: Vec<u64> = clock.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hours, minutes, seconds] = clock.as_slice() else { return None };
    from_parts(year.parse().ok()?, month, day.parse().ok()?, hours * 3600 + minutes * 60 + seconds)
}

/// Seconds since 1970 of a snapshot's name, `20261126T120000Z`.
#[must_use]
pub fn parse_snapshot(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if date.len() != 8 || clock.len() != 6 || !digits(date) || !digits(clock) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let second = number(&clock[..2])? * 3600 + number(&clock[2..4])? * 60 + number(&clock[4..])?;
    from_parts(number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?, second)
}

/// A time as a snapshot's name, `20261121T091544Z`.
#[must_use]
pub fn format_snapshot(time: u64) -> String {
    let (day, second) = (format(time).replace('-', ""), time % DAY);
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day}T{hours:02}{minutes:02}{seconds:02}Z")
}

/// A time as a day, `2026-11-21`.
#[must_use]
pub fn format(time: u64) -> String {
    let mut days = time / DAY;
    let mut year = 1970;
    while days >= year_length(year) {
        days -= year_length(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_length(year, month) {
        days -= month_length(year, month);
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

fn from_parts(year: u64, month: u64, day: u64, second: u64) -> Option<u64> {
    let sensible = (1970..2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=month_length(year, month)).contains(&day)
        && second <= DAY;
    if !sensible {
        return None;
    }
    let years: u64 = (1970..year).map(year_length).sum();
    let months: u64 = (1..month).map(|month| month_length(year, month)).sum();
    Some((years + months + day - 1) * DAY + second)
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_length(year: u64) -> u64 {
    if leap(year) { 366 } else { 365 }
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_days_written() {
        for (text, time, day) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0, "1970-01-01"),
            ("Sat, 21 Nov 2026 09:15:44 UTC", 1_795_252_544, "2026-11-21"),
            ("Tue, 29 Feb 2028 23:59:59 GMT", 1_835_481_599, "2028-02-29"),
        ] {
            assert_eq!(parse(text), Some(time), "{text}");
            assert_eq!(format(time), day);
        }
        assert_eq!(parse_snapshot("20261121T091544Z"), Some(1_795_252_544));
        assert_eq!(format_snapshot(1_795_252_544), "20261121T091544Z");
        for text in ["", "21 Nov 2026", "Sat, 31 Feb 2026 00:00:00 UTC", "Sat, 1 Nov 2026 00:00 +1"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["", "2026", "20261321T000000Z", "20261121T091544", "2026112 T091544Z"] {
            assert_eq!(parse_snapshot(text), None, "{text}");
        }
    }
}
