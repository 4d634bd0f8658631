//! A unified kernel image, as a file or on an EFI partition.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use serde::Serialize;

use super::Cause;
use crate::progress::Size;
use crate::uki::{self as format, Error};

/// More than any kernel with its initrd has.
pub(super) const LIMIT: u64 = 1 << 30;

/// What a unified kernel image says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uki {
    /// Bytes of the file.
    pub size: u64,
    /// The system's name for people.
    pub title: Option<String>,
    /// The system's version.
    pub version: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// The kernel command line.
    pub cmdline: Option<String>,
    /// The root hash on that command line.
    pub root_hash: Option<String>,
    /// Sizes of the sections by name.
    pub sections: BTreeMap<String, u64>,
}

/// Reads a file that begins like an EFI program.
pub(super) fn read(file: &File) -> io::Result<Result<Uki, Cause>> {
    let mut bytes = Vec::new();
    let mut file = file;
    file.by_ref().take(LIMIT).read_to_end(&mut bytes)?;
    Ok(parse(&bytes).map_err(Cause::from))
}

/// Reads an EFI program in memory.
pub(super) fn parse(bytes: &[u8]) -> Result<Uki, Error> {
    let parsed = format::parse(bytes)?;
    let os_release = parsed.os_release.as_deref().unwrap_or_default();
    let root_hash = parsed.cmdline.as_deref().and_then(|cmdline| {
        cmdline.split_whitespace().find_map(|word| word.strip_prefix("roothash="))
    });
    Ok(Uki {
        size: bytes.len() as u64,
        title: field(os_release, "PRETTY_NAME"),
        version: field(os_release, "VERSION_ID"),
        kernel: parsed.uname,
        root_hash: root_hash.map(str::to_owned),
        cmdline: parsed.cmdline,
        sections: parsed
            .sections
            .into_iter()
            .map(|section| (section.name, u64::from(section.size)))
            .collect(),
    })
}

/// A field of an os-release, without its quotes.
fn field(os_release: &str, name: &str) -> Option<String> {
    let value = os_release
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?
        .trim_matches(['"', '\'']);
    Some(value.to_owned())
}

impl fmt::Display for Uki {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EFI program, {}", Size(self.size))?;
        for (name, value) in [
            ("title", &self.title),
            ("version", &self.version),
            ("kernel", &self.kernel),
            ("cmdline", &self.cmdline),
        ] {
            if let Some(value) = value {
                write!(formatter, "\n  {name:9} {value}")?;
            }
        }
        write!(formatter, "\n  sections")?;
        for (name, size) in &self.sections {
            write!(formatter, "\n    {name:9} {}", Size(*size))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_os_release_lose_their_quotes() {
        let text = "NAME=x\nPRETTY_NAME=\"Core OS 1\"\nVERSION_ID=1.2\n";
        assert_eq!(field(text, "PRETTY_NAME").as_deref(), Some("Core OS 1"));
        assert_eq!(field(text, "VERSION_ID").as_deref(), Some("1.2"));
        assert_eq!(field(text, "VERSION"), None);
    }
}
