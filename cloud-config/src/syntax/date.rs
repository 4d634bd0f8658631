//! Days of the calendar.

/// The days from 1970-01-01 to a day written `YYYY-MM-DD`, from then until 9999.
pub(crate) fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-').map(|part| {
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<i64>().ok().filter(|_| digits)
    });
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month - 1).ok()?;
    if !(1..=*lengths.get(index)?).contains(&day) {
        return None;
    }
    let before: i64 = lengths.iter().take(index).sum();
    let years: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    Some(years + before + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_the_epoch() {
        for (text, want) in [
            ("1970-01-01", Some(0)),
            ("1970-12-31", Some(364)),
            ("2000-02-29", Some(11016)),
            ("2032-09-01", Some(22889)),
            ("2026-11-26", Some(20783)),
            ("2023-02-29", None),
            ("2032-13-01", None),
            ("2032-00-01", None),
            ("2032-9", None),
            ("1969-12-31", None),
            ("2032-09-01-01", None),
            ("2032-09-+1", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(days(text), want, "{text}");
        }
    }
}
