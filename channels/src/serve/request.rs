//! What a client asks for, read from a head that is not trusted.

use percent_encoding::percent_decode_str;

/// Bytes of the largest head that is read.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// Lines of the largest head.
const MAX_HEADERS: usize = 64;

/// A request that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
    /// The path, decoded: parts without `/`, none of them hidden or leading upwards.
    pub(super) path: Vec<String>,
    /// The part of the file that is wanted.
    pub(super) range: Option<Range>,
    /// The tag that the range is of.
    pub(super) if_range: Option<String>,
    /// The tags that the client has already.
    pub(super) if_none_match: Option<String>,
    /// Whether the connection stays open.
    pub(super) keep_alive: bool,
}

/// Part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// From an offset, up to and with another one.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

/// A request that is answered by a mere status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not HTTP.
    Malformed,
    /// It wants to change something.
    Method,
    /// It is not for a path that could exist.
    Path,
}

/// Parses a head; `None` if there is more to come.
pub(super) fn parse(head: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(head).map_err(|_| Refusal::Malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let head_only = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::Method),
    };
    // A body would be taken for the next request.
    if header("transfer-encoding").is_some() || header("content-length").is_some_and(|n| n != "0") {
        return Err(Refusal::Malformed);
    }
    let path = parse_path(parsed.path.unwrap_or_default()).ok_or(Refusal::Path)?;
    let close = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let request = Request {
        head_only,
        path,
        range: header("range").and_then(parse_range),
        if_range: header("if-range").map(str::to_owned),
        if_none_match: header("if-none-match").map(str::to_owned),
        keep_alive: parsed.version == Some(1) && !close,
    };
    Ok(Some((request, length)))
}

fn parse_path(target: &str) -> Option<Vec<String>> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/')
        .map(|part| {
            let part = percent_decode_str(part).decode_utf8().ok()?;
            let fine =
                !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\', '\0']);
            fine.then(|| part.into_owned())
        })
        .collect()
}

/// One range of bytes. Anything else may be passed over, and the whole file sent.
fn parse_range(value: &str) -> Option<Range> {
    let (first, last) = value.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    match (first, last) {
        ("", last) => number(last).map(Range::Last),
        (first, "") => Some(Range::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::From(first, Some(last)))
        }
    }
}

impl Range {
    /// Offset and length in a file of this size; `None` if there is no such part.
    pub(super) fn within(self, size: u64) -> Option<(u64, u64)> {
        match self {
            Range::From(first, last) if first < size => {
                let last = last.map_or(size - 1, |last| last.min(size - 1));
                Some((first, last - first + 1))
            }
            Range::Last(count) if count > 0 && size > 0 => {
                let count = count.min(size);
                Some((size - count, count))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(target: &str) -> Result<Vec<String>, Refusal> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        parse(head.as_bytes()).map(|parsed| parsed.unwrap().0.path)
    }

    #[test]
    fn paths_stay_in_the_tree() {
        let cases: [(&str, Option<&[&str]>); 18] = [
            ("/", Some(&[])),
            ("/metadata/timestamp.json", Some(&["metadata", "timestamp.json"])),
            ("/metadata/timestamp.json?x=/../y#z", Some(&["metadata", "timestamp.json"])),
            ("/a%20b/%c3%a9", Some(&["a b", "é"])),
            ("/../etc/passwd", None),
            ("/a/../../b", None),
            ("/a/./b", None),
            ("/%2e%2e/x", None),
            ("/..%2fx", None),
            ("/a%2fb", None),
            ("/a\\..\\b", None),
            ("/a%5cb", None),
            ("/a%00b", None),
            ("/.lock", None),
            ("//etc/passwd", None),
            ("/a//b", None),
            ("/%ff", None),
            ("http://other/x", None),
        ];
        for (target, expected) in cases {
            let expected = expected.map(|parts| parts.iter().map(ToString::to_string).collect());
            assert_eq!(path(target).ok(), expected, "{target}");
        }
    }

    #[test]
    fn only_reading_is_allowed() {
        let cases = [
            ("HEAD / HTTP/1.1\r\n\r\n", None),
            ("GET / HTTP/1.0\r\n\r\n", None),
            ("POST / HTTP/1.1\r\n\r\n", Some(Refusal::Method)),
            ("DELETE /metadata HTTP/1.1\r\n\r\n", Some(Refusal::Method)),
            ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", Some(Refusal::Malformed)),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Refusal::Malformed)),
            ("\0\0\0\0\r\n\r\n", Some(Refusal::Malformed)),
            ("GET /\r\n\r\n", Some(Refusal::Malformed)),
        ];
        for (head, refusal) in cases {
            assert_eq!(parse(head.as_bytes()).err(), refusal, "{head:?}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost:"), Ok(None));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(parse(many.as_bytes()), Err(Refusal::Malformed));
    }

    #[test]
    fn connections_stay_open_unless_asked() {
        let keep = |head: &str| parse(head.as_bytes()).unwrap().unwrap().0.keep_alive;
        assert!(keep("GET / HTTP/1.1\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"));
        assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        // A header, the size of the file, offset and length of what is sent.
        let cases = [
            ("bytes=0-0", 10, Some(Some((0, 1)))),
            ("bytes=0-9", 10, Some(Some((0, 10)))),
            ("bytes=5-", 10, Some(Some((5, 5)))),
            ("bytes=5-99", 10, Some(Some((5, 5)))),
            ("bytes=-3", 10, Some(Some((7, 3)))),
            ("bytes=-99", 10, Some(Some((0, 10)))),
            ("bytes=10-", 10, Some(None)),
            ("bytes=-0", 10, Some(None)),
            ("bytes=0-", 0, Some(None)),
            ("bytes=-1", 0, Some(None)),
            ("bytes=18446744073709551615-", 10, Some(None)),
            ("bytes=5-4", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("bytes=18446744073709551616-", 10, None),
            ("bytes=-", 10, None),
            ("bytes=a-b", 10, None),
            ("lines=0-1", 10, None),
        ];
        for (value, size, expected) in cases {
            let range = parse_range(value).map(|range| range.within(size));
            assert_eq!(range, expected, "{value} of {size}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&head);
        }

        #[test]
        fn a_range_is_always_within_the_file(value in "bytes=[0-9]{0,3}-[0-9]{0,3}", size in 0..500_u64) {
            if let Some((offset, length)) = parse_range(&value).and_then(|range| range.within(size)) {
                prop_assert!(length > 0 && offset + length <= size);
            }
        }
    }
}
