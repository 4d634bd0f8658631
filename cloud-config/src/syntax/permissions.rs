//! Mode bits, written in octal.

use crate::finding::{Mistake, quoted};

/// Modes that people give to files. A number that is one of them in decimal was probably
/// computed from it.
const COMMON: &[u32] = &[
    0o400, 0o440, 0o444, 0o500, 0o550, 0o555, 0o600, 0o640, 0o644, 0o660, 0o664, 0o666, 0o700,
    0o750, 0o755, 0o770, 0o775, 0o777,
];

/// Mode bits, and a doubt about them.
pub(crate) fn permissions(text: &str) -> Result<(u32, Option<Mistake>), Mistake> {
    let shown = quoted(text);
    let mistake = |why: &str| Mistake::new(format!("{shown} are not permissions: {why}"));
    let suggest = |mode: u32| format!("did you mean `\"0{mode:o}\"`?");
    let decimal = text.parse::<u32>().ok().filter(|mode| COMMON.contains(mode));
    if let Some(digits) = text.strip_prefix("0o").or_else(|| text.strip_prefix("0O")) {
        return Err(match u32::from_str_radix(digits, 8) {
            Ok(mode) => {
                mistake("octal digits without a prefix are expected").with_hint(suggest(mode))
            }
            Err(_) => mistake("octal digits are expected"),
        });
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(mistake("octal digits are expected").with_hint("such as `\"0644\"`"));
    }
    let Ok(mode) = u32::from_str_radix(text, 8) else {
        let mistake = mistake("8 and 9 are not octal digits");
        return Err(match decimal {
            Some(mode) => mistake.with_hint(suggest(mode)),
            None => mistake,
        });
    };
    if mode > 0o7777 {
        return Err(mistake("there are only 07777"));
    }
    let doubt = decimal.filter(|_| !text.starts_with('0')).map(|decimal| {
        Mistake::new(format!("{shown} is read as octal, which is mode 0{mode:o}"))
            .with_hint(format!("did you mean `\"0{decimal:o}\"`, which is {decimal} in decimal?"))
    });
    Ok((mode, doubt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal() {
        for (text, want) in [
            ("0644", 0o644),
            ("644", 0o644),
            ("0", 0),
            ("7777", 0o7777),
            ("00600", 0o600),
            ("1777", 0o1777),
        ] {
            assert_eq!(permissions(text), Ok((want, None)), "{text}");
        }
    }

    #[test]
    fn a_decimal_number_is_suspected() {
        let (mode, doubt) = permissions("420").unwrap();
        assert_eq!(mode, 0o420);
        let doubt = doubt.unwrap();
        assert_eq!(doubt.message, "`420` is read as octal, which is mode 0420");
        assert_eq!(
            doubt.hint.as_deref(),
            Some("did you mean `\"0644\"`, which is 420 in decimal?")
        );
    }

    #[test]
    fn other_ways_to_write_a_mode_are_mistakes() {
        for (text, hint) in [
            ("0o644", Some("did you mean `\"0644\"`?")),
            ("493", Some("did you mean `\"0755\"`?")),
            ("899", None),
            ("10000", None),
            ("99999999999999", None),
            ("rw-r--r--", Some("such as `\"0644\"`")),
            ("u=rw", Some("such as `\"0644\"`")),
            ("-644", Some("such as `\"0644\"`")),
            ("0x1ff", Some("such as `\"0644\"`")),
            ("", Some("such as `\"0644\"`")),
            ("0o9", None),
        ] {
            assert_eq!(permissions(text).unwrap_err().hint.as_deref(), hint, "{text}");
        }
    }
}
