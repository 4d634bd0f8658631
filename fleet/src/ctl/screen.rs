//! What a person sees.

use std::io::{self, Write};

/// Writes to standard output. Nobody reading any more is no failure.
pub(super) fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How long ago a moment in milliseconds since 1970 was: `5s`, `12min`, `3h`, `2d`.
pub(super) fn ago(now: u64, then: u64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}min", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Now, in milliseconds since 1970; only shown, never decided by.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_people() {
        for (seconds, shown) in
            [(0, "0s"), (119, "119s"), (120, "2min"), (7200, "2h"), (172_800, "2d")]
        {
            assert_eq!(ago(seconds * 1000 + 500, 500), shown);
        }
        assert_eq!(ago(1, 2), "0s");
    }
}
