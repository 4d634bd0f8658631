//! Text as it may be shown: without what is likely to be a secret in it.

use crate::syntax::url;

/// What a setting's name has in it whose value is nobody's to see.
const SECRETS: [&str; 5] = ["password", "passwd", "secret", "token", "api_key"];
/// What stands for what is not shown.
const DOTS: &str = "...";
/// The least digits that are a token and not a name.
const TOKEN: usize = 20;

/// The text without what may be secret in its addresses (user information, query, tokens in the
/// path) and without the values of settings that are named as secrets are.
#[must_use]
pub fn redacted(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

fn line(line: &str) -> String {
    let line = &addresses(line);
    let lower = line.to_ascii_lowercase();
    let named = SECRETS.iter().filter_map(|name| Some(lower.find(name)? + name.len())).min();
    let value = named.and_then(|end| {
        let rest = &line[end..];
        let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-\"' ".contains(c)))?;
        rest[word..].starts_with(['=', ':']).then_some(end + word + 1)
    });
    match value.filter(|at| !line[*at..].trim().is_empty() && !line[*at..].starts_with("//")) {
        Some(at) => {
            format!("{}{DOTS}{}", &line[..at], if line.ends_with('\n') { "\n" } else { "" })
        }
        None => line.clone(),
    }
}

/// The text with every address in it as it may be shown.
fn addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = address(rest) {
        let end = rest[at..]
            .find(|c: char| c.is_whitespace() || "\"'<>,;`".contains(c))
            .map_or(rest.len(), |length| at + length);
        out.push_str(&rest[..at]);
        out.push_str(&without_tokens(&without_secrets(&rest[at..end])));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Where the next address begins, well written or not: a scheme, a colon and a slash.
fn address(text: &str) -> Option<usize> {
    let colons = text.match_indices(":/").map(|(at, _)| at);
    let starts = colons.map(|at| {
        let scheme = text[..at].bytes().rev().take_while(u8::is_ascii_alphabetic).count();
        (at - scheme, scheme)
    });
    starts.filter(|(_, scheme)| *scheme > 1).map(|(start, _)| start).next()
}

fn without_secrets(url: &str) -> String {
    if url.contains("://") {
        return url::redacted(url);
    }
    // One slash is missing.
    url::redacted(&url.replacen(":/", "://", 1)).replacen("://", ":/", 1)
}

fn without_tokens(url: &str) -> String {
    let is_token = |part: &&str| {
        part.len() >= TOKEN
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_=".contains(c))
            && part.chars().any(|c| c.is_ascii_digit())
    };
    let parts = url.split('/').enumerate();
    // The host is the third: `https:`, nothing, `host`.
    let parts = parts.map(|(index, part)| match index > 2 && is_token(&part) {
        true => DOTS,
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_the_rest_is() {
        for (text, want) in [
            ("a: b\n", "a: b\n"),
            ("PASSWORD=hunter2\nB=c\n", "PASSWORD=...\nB=c\n"),
            ("Environment=\"ETCD_PASSWORD=x\"", "Environment=\"ETCD_PASSWORD=..."),
            ("  api_token: 'x'\n", "  api_token:...\n"),
            ("the password is long\n", "the password is long\n"),
            ("password=\n", "password=\n"),
            ("get https://me:pw@h/x?t=1#f, then", "get https://h/x?..., then"),
            (
                "ETCD_DISCOVERY=https://discovery.etcd.io/3135e6ea19cf3135e6ea19cf",
                "ETCD_DISCOVERY=https://discovery.etcd.io/...",
            ),
            (
                "https://a-very-long-name-of-a-host-1.example.com/x",
                "https://a-very-long-name-of-a-host-1.example.com/x",
            ),
            ("ftp://me:pw@h/x?t=1", "ftp://h/x?..."),
            ("'https:/me:pw@h/?t=1'", "'https:/h/?...'"),
            ("a:/b c", "a:/b c"),
            ("/etc:/usr", "/etc:/usr"),
            ("nfs:/srv/data", "nfs:/srv/data"),
            ("token https://h/", "token https://h/"),
            ("url=https://u:p@h/x?token=abc", "url=https://h/x?..."),
        ] {
            assert_eq!(redacted(text), want, "{text}");
        }
    }
}
