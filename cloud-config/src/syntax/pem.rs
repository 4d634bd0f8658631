//! Certificates in PEM (RFC 7468).

use super::content::base64;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates in a text, each on lines of its own and nothing else beside them.
pub(crate) fn certificates(text: &str) -> Result<String, &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return Err("this is a private key, which must stay secret");
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((body, after)) = after.split_once(END) else {
            return Err("this certificate has no end");
        };
        let der = base64(body.as_bytes()).map_err(|_| "this certificate is not whole")?;
        if !is_sequence(&der) {
            return Err("this certificate is not whole");
        }
        let lines = body.split_whitespace();
        out.push_str(BEGIN);
        out.push('\n');
        lines.for_each(|line| {
            out.push_str(line);
            out.push('\n');
        });
        out.push_str(END);
        out.push('\n');
        rest = after;
    }
    if out.is_empty() { Err("this is not a certificate in PEM") } else { Ok(out) }
}

/// Whether bytes are one ASN.1 sequence (X.690), which every certificate is.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    if *length < 0x80 {
        return rest.len() == usize::from(*length);
    }
    let count = usize::from(length & 0x7f);
    if count == 0 || count > 4 || rest.len() < count {
        return false;
    }
    let (digits, body) = rest.split_at(count);
    let long = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
    body.len() == long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_taken_whole_or_not_at_all() {
        // An empty sequence stands for a certificate.
        let one = format!("{BEGIN}\nMAA=\n{END}\n");
        assert_eq!(certificates(&one).as_deref(), Ok(one.as_str()));
        let two = format!("# mine\n{one}\nsubject=x\n  {one}");
        assert_eq!(certificates(&two), Ok(format!("{one}{one}")));
        for bad in [
            "",
            "MAA=",
            &one.replace("MAA=", "MAE="),
            &one.replace("MAA=", "*"),
            &one.replace(END, ""),
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        ] {
            assert!(certificates(bad).is_err(), "{bad}");
        }
    }
}
