//! MIME messages (RFC 2045, RFC 2046), as far as user-data has them: text → parts.
//!
//! Headers, `multipart/*` with its boundary, nested or not, and the transfer encodings. Character
//! sets are not looked at: user-data is UTF-8. A part that is not encoded keeps its lines, so
//! that what is found in it can be told by the line of the message.

use crate::source::lines;
use crate::syntax::content;

/// Deepest nesting of messages in messages.
const DEPTH: usize = 4;
/// Most parts of a message.
const MOST: usize = 100;

/// A part of a message that is no message of parts itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// `Content-Type` without parameters, lower-case; empty if there is none.
    pub(crate) kind: String,
    /// What the sender calls it.
    pub(crate) file_name: Option<String>,
    /// The line of the message that its content begins in, from 1.
    pub(crate) line: usize,
    pub(crate) body: Result<Body, &'static str>,
}

/// The content of a part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// As it stands in the message.
    Plain(String),
    /// After its transfer encoding was undone.
    Decoded(Vec<u8>),
}

/// Whether a text begins as a message does and not as anything else that user-data can be.
pub(crate) fn is_message(text: &str) -> bool {
    let first = lines(text).next().unwrap_or_default().to_ascii_lowercase();
    ["content-type:", "mime-version:", "from ", "from:"].iter().any(|s| first.starts_with(s))
}

/// Takes a message apart. What is wrong with the message itself comes with the line it is at.
pub(crate) fn leaves(text: &str) -> Result<Vec<Leaf>, (usize, &'static str)> {
    let all: Vec<&str> = lines(text).collect();
    let start = usize::from(all.first().is_some_and(|line| line.starts_with("From ")));
    let mut leaves = Vec::new();
    entity(&all, start, all.len(), DEPTH, &mut leaves)?;
    Ok(leaves)
}

/// Reads what stands in the lines from `start` up to `end`: headers, a blank line, a body.
fn entity(
    all: &[&str],
    start: usize,
    end: usize,
    depth: usize,
    leaves: &mut Vec<Leaf>,
) -> Result<(), (usize, &'static str)> {
    let blank = (start..end).find(|index| all[*index].trim().is_empty()).unwrap_or(end);
    let headers = Headers::read(&all[start..blank]).map_err(|at| {
        (start + at + 1, "this is no header of a MIME message, and no blank line came before it")
    })?;
    let (body, line) = ((blank + 1).min(end), blank + 2);
    let (kind, parameters) = headers.field("content-type");
    if !kind.starts_with("multipart/") {
        if leaves.len() == MOST {
            return Err((line, "this message has more than 100 parts"));
        }
        let (encoding, _) = headers.field("content-transfer-encoding");
        let (_, disposition) = headers.field("content-disposition");
        let file_name =
            parameter(disposition, "filename").or_else(|| parameter(parameters, "name"));
        let body = decode(&all[body..end], &encoding);
        leaves.push(Leaf { kind, file_name, line, body });
        return Ok(());
    }
    let Some(boundary) = parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
    else {
        return Err((start + 1, "this message of several parts names no `boundary`"));
    };
    if depth == 0 {
        return Err((start + 1, "messages are nested too deeply"));
    }
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut from = None;
    for index in body..end {
        let text = all[index].trim_end();
        if text != open && text != close {
            continue;
        }
        if let Some(from) = from {
            entity(all, from, index, depth - 1, leaves)?;
        }
        from = Some(index + 1);
        if text == close {
            return Ok(());
        }
    }
    match from {
        Some(_) => Err((end, "this message is cut off: its last boundary is missing")),
        None => Err((start + 1, "this message has no parts")),
    }
}

fn decode(body: &[&str], encoding: &str) -> Result<Body, &'static str> {
    let text = || body.join("\n");
    match encoding {
        "" | "7bit" | "8bit" | "binary" => Ok(Body::Plain(text())),
        "base64" => content::base64(text().as_bytes()).map(Body::Decoded),
        "quoted-printable" => quoted_printable(body).map(Body::Decoded),
        _ => Err("its transfer encoding is unknown"),
    }
}

/// RFC 2045, section 6.7.
fn quoted_printable(body: &[&str]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    for (index, line) in body.iter().enumerate() {
        let line = line.trim_end();
        let (line, soft) = match line.strip_suffix('=') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut bytes = line.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'=' {
                out.push(byte);
                continue;
            }
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err("it is not quoted-printable");
            };
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
        }
        if !soft && index + 1 < body.len() {
            out.push(b'\n');
        }
    }
    Ok(out)
}

/// The headers of a message, continued lines joined.
#[derive(Debug)]
struct Headers(Vec<(String, String)>);

impl Headers {
    /// The index of a line that is no header is the error.
    fn read(lines: &[&str]) -> Result<Headers, usize> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut().ok_or(index)?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(index)?;
            let sound = |b: u8| b.is_ascii_graphic();
            if name.is_empty() || !name.bytes().all(sound) {
                return Err(index);
            }
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Headers(headers))
    }

    /// The word of a header, lower-case, and its parameters.
    fn field(&self, name: &str) -> (String, &str) {
        let Some((_, value)) = self.0.iter().find(|(known, _)| known == name) else {
            return (String::new(), "");
        };
        let (word, parameters) = value.split_once(';').unwrap_or((value, ""));
        (word.trim().to_ascii_lowercase(), parameters)
    }
}

/// The value of `name=value` or `name="value"` among parameters.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        key.trim().eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "\
Content-Type: multipart/mixed;
 boundary=\"===X==\"
MIME-Version: 1.0

preamble
--===X==
Content-Type: text/cloud-config; charset=\"us-ascii\"
Content-Disposition: attachment; filename=\"a.yaml\"

#cloud-config
hostname: a
--===X==
Content-Type: text/x-shellscript
Content-Transfer-Encoding: base64

IyEvYmlu
L3No
--===X==
Content-Type: multipart/mixed; boundary=in

--in

plain
--in--
--===X==
Content-Transfer-Encoding: Quoted-Printable

a=3Db=
c
d
--===X==--
epilogue
";

    #[test]
    fn a_message_has_its_leaves_in_order() {
        let leaves = leaves(MESSAGE).unwrap();
        let shown: Vec<_> = leaves
            .iter()
            .map(|leaf| {
                let body = match leaf.body.as_ref().unwrap() {
                    Body::Plain(text) => format!("plain {text:?}"),
                    Body::Decoded(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
                };
                (leaf.kind.as_str(), leaf.file_name.as_deref(), leaf.line, body)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "text/cloud-config",
                    Some("a.yaml"),
                    10,
                    "plain \"#cloud-config\\nhostname: a\"".to_owned()
                ),
                ("text/x-shellscript", None, 16, "\"#!/bin/sh\"".to_owned()),
                ("", None, 23, "plain \"plain\"".to_owned()),
                ("", None, 28, "\"a=bc\\nd\"".to_owned()),
            ]
        );
    }

    #[test]
    fn a_broken_message_is_told_with_its_line() {
        let cut = MESSAGE.replace("--===X==--", "");
        let end = cut.lines().count() + 1;
        for (text, line) in [
            (cut.as_str(), end),
            ("Content-Type: multipart/mixed\n\nx\n", 1),
            ("Content-Type: multipart/mixed; boundary=a\n\nx\n", 1),
            ("MIME-Version: 1.0\nnonsense\n\n", 2),
        ] {
            assert_eq!(leaves(text).unwrap_err().0, line, "{text}");
        }
        let open = |i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n");
        let opened: String = (0..9).map(open).collect();
        let closed: String = (0..9).rev().map(|i| format!("\n--b{i}--\n")).collect();
        let nested = opened + &closed;
        assert_eq!(leaves(&nested).unwrap_err().1, "messages are nested too deeply");
    }

    #[test]
    fn a_part_that_cannot_be_decoded_says_why() {
        for (encoding, body) in [("base64", "*"), ("quoted-printable", "=zz"), ("uuencode", "x")] {
            let text =
                format!("MIME-Version: 1.0\nContent-Transfer-Encoding: {encoding}\n\n{body}\n");
            assert!(leaves(&text).unwrap()[0].body.is_err(), "{encoding}");
        }
    }
}
