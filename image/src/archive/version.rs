//! Which of two versions of a package is the newer one, as Debian's policy (5.6.12) says.

use std::cmp::Ordering;

/// Compares two versions, `[epoch:]upstream[-revision]`.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    a.0.cmp(&b.0).then_with(|| part(a.1, b.1)).then_with(|| part(a.2, b.2))
}

/// Epoch, upstream version and revision.
fn split(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares alternating runs of other signs and of digits.
fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !(a.is_empty() && b.is_empty()) {
        let other = |text: &[u8]| text.iter().take_while(|byte| !byte.is_ascii_digit()).count();
        let (a_end, b_end) = (other(a), other(b));
        for index in 0..=a_end.max(b_end) {
            let order = weight(a[..a_end].get(index)).cmp(&weight(b[..b_end].get(index)));
            if order.is_ne() {
                return order;
            }
        }
        (a, b) = (&a[a_end..], &b[b_end..]);
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (a_end, b_end) = (digits(a), digits(b));
        let order = number(&a[..a_end], &b[..b_end]);
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[a_end..], &b[b_end..]);
    }
    Ordering::Equal
}

/// `~` before the end, the end before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

/// Compares numbers of any length.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().take_while(|byte| **byte == b'0').count();
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_the_policy() {
        let ascending = [
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0-2",
            "1.0a",
            "1.0+x",
            "1.0.1",
            "1.2",
            "1.10",
            "2.41-12",
            "2.41-12+deb13u5",
            "6.12.118-1",
            "1:0.1",
            "2:0.1",
        ];
        for (index, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), index.cmp(&other), "{a} and {b}");
            }
        }
        for (a, b) in [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.0-", "1.0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} and {b}");
        }
    }

    #[test]
    fn dpkg_agrees() {
        let versions =
            ["1.0", "1.0~rc1", "2:1", "1.0+dfsg-1", "1.0-1~deb13u1", "10", "9", "1a", "1.0-1"];
        for a in versions {
            for b in versions {
                let less = std::process::Command::new("dpkg")
                    .args(["--compare-versions", a, "lt", b])
                    .status();
                // On a machine that is not Debian there is nobody to ask.
                let Ok(less) = less else { return };
                assert_eq!(less.success(), compare(a, b).is_lt(), "{a} and {b}");
            }
        }
    }
}
