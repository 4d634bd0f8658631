//! Values of `[X-Fleet]`: several on a line, yes and no, sizes, times.

use std::time::Duration;

/// Takes a line apart: only one that starts and ends with `"` holds several values, divided by
/// blanks outside quotes. Two blanks in a row hold an empty value between them.
pub(super) fn split(line: &str) -> Vec<String> {
    if !(line.starts_with('"') && line.ends_with('"')) {
        return vec![line.to_string()];
    }
    let mut values = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => values.push(String::new()),
            c => {
                if let Some(value) = values.last_mut() {
                    value.push(c);
                }
            }
        }
    }
    values
}

/// What fleet took for yes.
pub(super) fn is_true(value: &str) -> bool {
    ["true", "yes", "1", "on", "t"].contains(&value.to_lowercase().as_str())
}

/// Yes or no, or neither.
pub(super) fn flag(value: &str) -> Option<bool> {
    if is_true(value) {
        return Some(true);
    }
    ["false", "no", "0", "off", "f"].contains(&value.to_lowercase().as_str()).then_some(false)
}

/// `key=value` with exactly one `=` and both parts.
pub(super) fn pair(value: &str) -> Option<(&str, &str)> {
    let (key, value) = value.split_once('=')?;
    (!key.is_empty() && !value.is_empty() && !value.contains('=')).then_some((key, value))
}

/// Processors in thousandths: `2`, `0.5`, `250m`.
pub(super) fn processors(value: &str) -> Option<u64> {
    let decimal = |text: &str, scale: u64| -> Option<u64> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let part: u64 = format!("{part:0<3}").parse().ok()?;
        Some((whole.checked_mul(1000)? + part) * scale / 1000)
    };
    let thousandths = match value.strip_suffix('m') {
        Some(text) => text.parse().ok()?,
        None => decimal(value, 1000)?,
    };
    (1..=1_000_000).contains(&thousandths).then_some(thousandths)
}

/// Bytes: `512M`, `2G`; the letters are powers of 1024 as in systemd.
pub(super) fn bytes(value: &str) -> Option<u64> {
    let (digits, shift) = match value.chars().last()? {
        'K' => (&value[..value.len() - 1], 10),
        'M' => (&value[..value.len() - 1], 20),
        'G' => (&value[..value.len() - 1], 30),
        'T' => (&value[..value.len() - 1], 40),
        _ => (value, 0),
    };
    let number: u64 = digits.parse().ok().filter(|&n| n > 0)?;
    number.checked_mul(1 << shift)
}

/// A time as systemd writes it: `30`, `30s`, `5min`, `1h 30min`.
pub(super) fn time(value: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = value.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "" | "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" | "hr" => 3600,
            "d" => 86400,
            _ => return None,
        };
        rest = rest[letters..].trim_start();
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    (total <= 366 * 86400).then(|| Duration::from_secs(total))
}
