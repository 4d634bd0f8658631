//! How long a trial may wait, as a person writes it.

use std::time::Duration;

/// A duration as a person writes it: `90s`, `2m`, `1h`.
///
/// # Errors
/// What to write, for somebody who wrote something else.
pub fn period(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write seconds, or `2m`, or `1h`".to_string()),
    };
    let number: u64 = digits.parse().map_err(|_| "write seconds, or `2m`, or `1h`".to_string())?;
    match number.checked_mul(unit) {
        Some(seconds @ 5..=86400) => Ok(Duration::from_secs(seconds)),
        _ => Err("it can be from 5 s to 24 h".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units_and_bounds() {
        for (text, want) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("2m", Some(120)),
            ("1h", Some(3600)),
            ("4", None),
            ("25h", None),
            ("m", None),
            ("2 m", None),
            ("2d", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(period(text).ok().map(|period| period.as_secs()), want, "{text}");
        }
    }
}
