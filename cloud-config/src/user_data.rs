//! Bytes from a source → what kind of user-data they are.

use std::str;

use crate::document::too_large;
use crate::finding::{Finding, Mistake, Position, Span, quoted};
use crate::mime::is_message;
use crate::source::lines;
use crate::syntax::content::{gunzip, is_gzip};

/// Most bytes that user-data may have, before and after it is unpacked.
pub const MAX_USER_DATA: usize = 4 << 20;

/// What user-data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserData {
    /// A cloud-config, with its first line.
    CloudConfig(String),
    /// A script, with its first line.
    Script(String),
    /// A MIME message, of which each part is user-data.
    Message(String),
    /// A list of addresses of user-data, with its first line.
    Include(String),
    /// Nothing.
    Empty,
}

const HEADER: &str = "#cloud-config";

/// First lines of what cloud-init and Ignition take besides.
const OTHERS: &[(&str, &str)] = &[
    ("#cloud-boothook", "a boothook"),
    ("#cloud-config-archive", "an archive of configurations"),
    ("#part-handler", "a part handler"),
    ("#upstart-job", "an upstart job"),
    ("## template:", "a template"),
    ("{", "JSON, such as Ignition's"),
];

/// Recognises user-data by its first line, as coreos-cloudinit does; gzip is undone first.
///
/// # Errors
///
/// One finding that says why it is nothing of these.
pub(crate) fn recognise(bytes: &[u8]) -> Result<UserData, Finding> {
    if bytes.len() > MAX_USER_DATA {
        return Err(too_large(bytes.len()));
    }
    if is_gzip(bytes) {
        let unpacked = gunzip(bytes, MAX_USER_DATA).map_err(|why| {
            Finding::error(Span::default(), format!("compressed user-data cannot be used: {why}"))
        })?;
        return recognise_text(text(&unpacked)?);
    }
    recognise_text(text(bytes)?)
}

fn recognise_text(text: &str) -> Result<UserData, Finding> {
    if text.trim().is_empty() {
        return Ok(UserData::Empty);
    }
    let first = lines(text).next().unwrap_or_default();
    if first.trim_end() == HEADER {
        return Ok(UserData::CloudConfig(text.to_owned()));
    }
    if first.starts_with("#!") {
        return Ok(UserData::Script(text.to_owned()));
    }
    if ["#include", "#include-once"].contains(&first.trim_end()) {
        return Ok(UserData::Include(text.to_owned()));
    }
    if is_message(text) {
        return Ok(UserData::Message(text.to_owned()));
    }
    let end = Position { line: 1, column: first.chars().count() + 1 };
    Err(wrong_header(text, first).error(Span::new(Position::default(), end)))
}

/// Says what to change for the first line to be the header.
fn wrong_header(text: &str, first: &str) -> Mistake {
    let must = format!("the first line must be exactly `{HEADER}`");
    if let Some(rest) = text.strip_prefix('\u{feff}') {
        return match rest.starts_with(HEADER) {
            true => Mistake::new(format!("{must}, and a byte order mark comes before it"))
                .with_hint("save the file as UTF-8 without a byte order mark"),
            false => wrong_header(rest, lines(rest).next().unwrap_or_default()),
        };
    }
    let bare = |line: &str| {
        let letters = line.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).eq("cloudconfig".chars())
    };
    if bare(first) {
        return Mistake::new(format!("{must}, found {}", quoted(first)))
            .with_hint(format!("replace it by `{HEADER}`"));
    }
    if let Some((_, what)) = OTHERS.iter().find(|(start, _)| first.starts_with(start)) {
        return Mistake::new(format!("this is {what}, which is not supported"))
            .with_hint(format!("write a cloud-config (docs/migrating.md says how): {must}"));
    }
    if let Some(index) = lines(text).take(50).position(|line| bare(line) && line.contains('#')) {
        return Mistake::new(format!("{must}, and it is on line {}", index + 1))
            .with_hint("remove what comes before it");
    }
    Mistake::new(format!("{must}, or begin with `#!` for a script"))
        .with_hint(format!("put `{HEADER}` on a line of its own before everything else"))
}

/// The text that bytes are, if they are one.
fn text(bytes: &[u8]) -> Result<&str, Finding> {
    let at = |bytes: &[u8]| {
        let before = String::from_utf8_lossy(bytes);
        let (line, last) = lines(&before).enumerate().last().unwrap_or_default();
        let start = Position { line: line + 1, column: last.chars().count() + 1 };
        Span::new(start, start)
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Finding::error(
            Span::default(),
            "user-data is not text in UTF-8 but in UTF-16",
        )
        .with_hint("save the file as UTF-8"));
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (good, _) = bytes.split_at(error.valid_up_to());
            return Err(Finding::error(at(good), "user-data is not text in UTF-8")
                .with_hint("save the file as UTF-8; is it a configuration at all?"));
        }
    };
    match text.find('\0') {
        Some(offset) => {
            Err(Finding::error(at(&bytes[..offset]), "user-data has a NUL byte: it is not text")
                .with_hint("is it a configuration at all?"))
        }
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn the_first_line_tells_what_it_is() {
        let config = |text: &str| Ok(UserData::CloudConfig(text.to_owned()));
        for (text, want) in [
            ("#cloud-config", config("#cloud-config")),
            ("#cloud-config\r\nhostname: a\r\n", config("#cloud-config\r\nhostname: a\r\n")),
            ("#cloud-config \t\n", config("#cloud-config \t\n")),
            ("#!/bin/sh\n", Ok(UserData::Script("#!/bin/sh\n".to_owned()))),
            ("#include\nhttps://a/\n", Ok(UserData::Include("#include\nhttps://a/\n".to_owned()))),
            ("MIME-Version: 1.0\n", Ok(UserData::Message("MIME-Version: 1.0\n".to_owned()))),
            ("", Ok(UserData::Empty)),
            (" \r\n\n", Ok(UserData::Empty)),
        ] {
            assert_eq!(recognise(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_almost_the_header_is_corrected() {
        for (text, want) in [
            (
                "\u{feff}#cloud-config\n",
                "user-data:1:1: error: the first line must be exactly `#cloud-config`, and a byte \
                 order mark comes before it; save the file as UTF-8 without a byte order mark",
            ),
            (
                "# cloud-config\n",
                "user-data:1:1: error: the first line must be exactly `#cloud-config`, found \
                 `# cloud-config`; replace it by `#cloud-config`",
            ),
            (
                "#Cloud_Config:\n",
                "user-data:1:1: error: the first line must be exactly `#cloud-config`, found \
                 `#Cloud_Config:`; replace it by `#cloud-config`",
            ),
            (
                "\n#cloud-config\n",
                "user-data:1:1: error: the first line must be exactly `#cloud-config`, and it is \
                 on line 2; remove what comes before it",
            ),
            (
                " #cloud-config\n",
                "user-data:1:1: error: the first line must be exactly `#cloud-config`, found \
                 ` #cloud-config`; replace it by `#cloud-config`",
            ),
            (
                "hostname: a\n",
                "user-data:1:1: error: the first line must be exactly `#cloud-config`, or begin \
                 with `#!` for a script; put `#cloud-config` on a line of its own before \
                 everything else",
            ),
            (
                "{\"ignition\": {}}",
                "user-data:1:1: error: this is JSON, such as Ignition's, which is not supported; \
                 write a cloud-config (docs/migrating.md says how): the first line must be exactly \
                 `#cloud-config`",
            ),
        ] {
            assert_eq!(recognise(text.as_bytes()).unwrap_err().line("user-data"), want);
        }
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_place() {
        for (bytes, line, column) in [
            (&b"#cloud-config\nhostname: \xe9\n"[..], 2, 11),
            (b"#cloud-config\nab\0", 2, 3),
            (b"\x7fELF\x02\x01\x01\0\0", 1, 8),
            (b"\xff\xfe#\0c\0", 1, 1),
        ] {
            let finding = recognise(bytes).unwrap_err();
            assert_eq!(finding.span.start, Position { line, column }, "{finding:?}");
        }
    }

    #[test]
    fn gzip_is_undone_within_bounds() {
        let zip = |bytes: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let config = zip(b"#cloud-config\n");
        assert_eq!(recognise(&config), Ok(UserData::CloudConfig("#cloud-config\n".to_owned())));
        for (bytes, want) in [
            (config[..config.len() - 4].to_vec(), "its gzip data is damaged or cut off"),
            (zip(&vec![b'a'; MAX_USER_DATA + 1]), "it is too large when unpacked"),
            (b"\x1f\x8brubbish".to_vec(), "its gzip data is damaged or cut off"),
        ] {
            let message = recognise(&bytes).unwrap_err().message;
            assert_eq!(message, format!("compressed user-data cannot be used: {want}"));
        }
    }

    #[test]
    fn too_much_is_refused_with_one_finding() {
        let finding = recognise(&vec![b'#'; 10 << 20]).unwrap_err();
        assert_eq!(
            finding.message,
            "10485760 bytes are too many: a configuration has at most 4194304"
        );
    }
}
