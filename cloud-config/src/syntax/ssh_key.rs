//! A line of `authorized_keys`, as sshd(8) describes it: options, a type, the key in base64,
//! a comment. The key itself is looked into as far as its frame goes: the type inside it and
//! the number of its parts (RFC 4253 section 6.6, RFC 5656, RFC 8709).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::finding::{Mistake, quoted};
use crate::suggest::nearest;

/// A type of key, and of how many strings a key consists, its type included. A certificate
/// has numbers among them and is not counted.
const TYPES: &[(&str, Option<usize>)] = &[
    ("ssh-ed25519", Some(2)),
    ("ssh-rsa", Some(3)),
    ("ecdsa-sha2-nistp256", Some(3)),
    ("ecdsa-sha2-nistp384", Some(3)),
    ("ecdsa-sha2-nistp521", Some(3)),
    ("sk-ssh-ed25519@openssh.com", Some(3)),
    ("sk-ecdsa-sha2-nistp256@openssh.com", Some(4)),
    ("ssh-dss", Some(5)),
    ("ssh-ed25519-cert-v01@openssh.com", None),
    ("ssh-rsa-cert-v01@openssh.com", None),
    ("ecdsa-sha2-nistp256-cert-v01@openssh.com", None),
    ("ecdsa-sha2-nistp384-cert-v01@openssh.com", None),
    ("ecdsa-sha2-nistp521-cert-v01@openssh.com", None),
    ("sk-ssh-ed25519-cert-v01@openssh.com", None),
    ("sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", None),
];

/// Bits below which sshd refuses an RSA key.
const LEAST_RSA_BITS: usize = 1024;

const EXAMPLE: &str = "put the line of a `.pub` file here, such as `ssh-ed25519 AAAA... name`";

/// A key line that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadKey {
    /// Not a public key.
    Mistake(Mistake),
    /// A private key, which nobody should see.
    Private,
}

/// Checks one line, already trimmed. What comes back on success is a doubt.
pub(crate) fn key_line(line: &str) -> Result<Option<Mistake>, BadKey> {
    if line.contains("PRIVATE KEY") {
        return Err(BadKey::Private);
    }
    check(line).map_err(BadKey::Mistake)
}

fn check(line: &str) -> Result<Option<Mistake>, Mistake> {
    let (name, strings, rest) = match split_type(line) {
        Some(found) => found,
        None => skip_options(line).and_then(split_type).ok_or_else(|| no_type(line))?,
    };
    let blob = rest.split_whitespace().next().ok_or_else(|| {
        Mistake::new(format!("not a public key: nothing follows `{name}`")).with_hint(EXAMPLE)
    })?;
    let blob = STANDARD.decode(blob).map_err(|_| {
        Mistake::new(format!("not a public key: what follows `{name}` is not base64"))
            .with_hint(EXAMPLE)
    })?;
    let cut_off = || {
        Mistake::new(format!("not a public key: this `{name}` key is cut off or damaged"))
            .with_hint(EXAMPLE)
    };
    let (inner, mut rest) = string(&blob).ok_or_else(cut_off)?;
    if inner != name.as_bytes() {
        let inner = quoted(&String::from_utf8_lossy(inner));
        return Err(Mistake::new(format!(
            "not a public key: announced as `{name}`, but it is {inner} inside"
        ))
        .with_hint(EXAMPLE));
    }
    let mut last: &[u8] = &[];
    for _ in 1..strings.unwrap_or(1) {
        (last, rest) = string(rest).ok_or_else(cut_off)?;
    }
    if strings.is_some() && !rest.is_empty() {
        return Err(cut_off());
    }
    let bits = last.iter().skip_while(|byte| **byte == 0).count() * 8;
    Ok(match name {
        "ssh-dss" => Some(
            Mistake::new("sshd no longer takes keys of the type `ssh-dss`")
                .with_hint("make one of the type `ssh-ed25519`"),
        ),
        "ssh-rsa" if bits < LEAST_RSA_BITS => Some(
            Mistake::new(format!("sshd does not take RSA keys of {bits} bits"))
                .with_hint("make one of the type `ssh-ed25519`"),
        ),
        _ => None,
    })
}

/// The key type at the beginning, its number of strings, and what follows it.
fn split_type(line: &str) -> Option<(&'static str, Option<usize>, &str)> {
    let (first, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    TYPES.iter().find(|(name, _)| *name == first).map(|(name, strings)| (*name, *strings, rest))
}

/// What follows the options: they end at the first space that is not between double quotes.
fn skip_options(line: &str) -> Option<&str> {
    let mut between_quotes = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => between_quotes = !between_quotes,
            ' ' | '\t' if !between_quotes => return Some(line[at..].trim_start()),
            _ => {}
        }
        escaped = c == '\\';
    }
    None
}

fn no_type(line: &str) -> Mistake {
    let first = line.split_whitespace().next().unwrap_or_default();
    if first.starts_with("AAAA") {
        return Mistake::new("not a public key: its type is missing").with_hint(EXAMPLE);
    }
    if first.contains("----") {
        return Mistake::new("not a public key as OpenSSH writes it")
            .with_hint("convert it with `ssh-keygen -i`");
    }
    let mistake = Mistake::new("not a public key: no type of key is named");
    match nearest(first, TYPES.iter().map(|(name, _)| *name)) {
        Some(name) => mistake.with_hint(format!("did you mean `{name}`?")),
        None => mistake.with_hint(EXAMPLE),
    }
}

/// A string of the SSH wire format: four bytes of length, then so many bytes.
fn string(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIEGFdxloldP/ZFimlxshES32W3YKPkXg/voI6YeRXE31";

    fn blob(strings: &[&[u8]]) -> String {
        let mut bytes = Vec::new();
        for string in strings {
            bytes.extend_from_slice(&u32::try_from(string.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(string);
        }
        STANDARD.encode(bytes)
    }

    #[test]
    fn keys_with_and_without_options_and_comments_are_taken() {
        let rsa = blob(&[b"ssh-rsa", &[1, 0, 1], &[0x80; 256]]);
        let ecdsa = blob(&[b"ecdsa-sha2-nistp256", b"nistp256", &[4; 65]]);
        let sk = blob(&[b"sk-ssh-ed25519@openssh.com", &[1; 32], b"ssh:"]);
        for good in [
            format!("ssh-ed25519 {ED25519}"),
            format!("ssh-ed25519 {ED25519} core@coreos, with words"),
            format!("ssh-ed25519\t{ED25519}"),
            format!("no-pty,command=\"echo \\\"a b\\\" ssh-rsa\" ssh-ed25519 {ED25519} x"),
            format!("from=\"10.0.0.0/8\" ssh-rsa {rsa}"),
            format!("ecdsa-sha2-nistp256 {ecdsa}"),
            format!("sk-ssh-ed25519@openssh.com {sk} yubikey"),
            format!(
                "ssh-rsa-cert-v01@openssh.com {} x",
                blob(&[b"ssh-rsa-cert-v01@openssh.com", b"nonce"])
            ),
        ] {
            assert_eq!(key_line(&good), Ok(None), "{good}");
        }
    }

    #[test]
    fn what_sshd_would_not_take_is_told() {
        let short = blob(&[b"ssh-rsa", &[1, 0, 1], &[0x80; 96]]);
        let dss = blob(&[b"ssh-dss", &[1], &[2], &[3], &[4]]);
        for (key, want) in [
            (format!("ssh-rsa {short}"), "sshd does not take RSA keys of 768 bits"),
            (format!("ssh-dss {dss}"), "sshd no longer takes keys of the type `ssh-dss`"),
        ] {
            assert_eq!(key_line(&key).unwrap().unwrap().message, want);
        }
    }

    #[test]
    fn rubbish_is_named() {
        for (line, want) in [
            (
                "ssh-rsa VOTRE_CLE_PUBLIQUE core@coreos".to_owned(),
                "not a public key: what follows `ssh-rsa` is not base64",
            ),
            ("ssh-rsa".to_owned(), "not a public key: nothing follows `ssh-rsa`"),
            ("".to_owned(), "not a public key: no type of key is named"),
            ("hello".to_owned(), "not a public key: no type of key is named"),
            (ED25519.to_owned(), "not a public key: its type is missing"),
            (
                format!("ssh-rsa {ED25519}"),
                "not a public key: announced as `ssh-rsa`, but it is `ssh-ed25519` inside",
            ),
            (
                format!("ssh-ed25519 {}", &ED25519[..ED25519.len() - 4]),
                "not a public key: this `ssh-ed25519` key is cut off or damaged",
            ),
            (
                format!("ssh-ed25519 {}", blob(&[b"ssh-ed25519", &[1; 32], b"more"])),
                "not a public key: this `ssh-ed25519` key is cut off or damaged",
            ),
            (
                "ssh-rsa AAAAB3NzaC1yc2E".to_owned() + "=",
                "not a public key: this `ssh-rsa` key is cut off or damaged",
            ),
            ("---- BEGIN SSH2 PUBLIC KEY ----".to_owned(), "not a public key as OpenSSH writes it"),
        ] {
            let Err(BadKey::Mistake(mistake)) = key_line(&line) else { panic!("{line}") };
            assert_eq!(mistake.message, want, "{line}");
            assert!(mistake.hint.is_some());
        }
        assert_eq!(key_line("-----BEGIN OPENSSH PRIVATE KEY-----"), Err(BadKey::Private));
        let Err(BadKey::Mistake(mistake)) = key_line(&format!("ssh-ed22519 {ED25519}")) else {
            panic!("no such type")
        };
        assert_eq!(mistake.hint.as_deref(), Some("did you mean `ssh-ed25519`?"));
    }
}
