//! What an ELF file says of itself: symbols and module information, or the name of a library.
//!
//! 64-bit and little-endian, as on amd64 and arm64. Whatever is odd in a file is as if it were
//! not there; no number in it is trusted.

/// A section: its name, and its bytes.
struct Section<'a> {
    name: &'a [u8],
    kind: u32,
    link: usize,
    bytes: &'a [u8],
}

const SYMBOL_TABLE: u32 = 2;
const DYNAMIC: u32 = 6;
const NO_BITS: u32 = 8;
const SONAME: u64 = 14;
/// Machines and the flags that glibc's loader cache has for them.
const MACHINES: [(u16, u32); 2] = [(62, 0x0303), (183, 0x0a03)];

/// What a kernel module says.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Lines of its information, `key=value`.
    pub(super) info: Vec<(String, String)>,
    /// Symbols that it gives to others.
    pub(super) exports: Vec<String>,
    /// Symbols that it wants from others.
    pub(super) wants: Vec<String>,
}

/// A shared library.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// The name that programs want it by, if it has one.
    pub(super) soname: Option<String>,
    /// Its kind, as the loader's cache has it.
    pub(super) flags: u32,
}

/// Reads a kernel module.
pub(super) fn module(file: &[u8]) -> Option<Module> {
    let sections = sections(file)?;
    let mut module = Module::default();
    for section in &sections {
        if section.name == b".modinfo" {
            for line in section.bytes.split(|byte| *byte == 0) {
                let line = String::from_utf8_lossy(line);
                if let Some((key, value)) = line.split_once('=') {
                    module.info.push((key.to_owned(), value.to_owned()));
                }
            }
        }
        if section.kind != SYMBOL_TABLE {
            continue;
        }
        let names = sections.get(section.link)?.bytes;
        for symbol in section.bytes.chunks_exact(24).skip(1) {
            let name = string(names, half(symbol, 0) as usize);
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let undefined = u16::from_le_bytes([symbol[6], symbol[7]]) == 0;
            if let Some(exported) = name.strip_prefix("__ksymtab_") {
                module.exports.push(exported.to_owned());
            } else if undefined && !name.is_empty() {
                module.wants.push(name.to_owned());
            }
        }
    }
    Some(module)
}

/// Reads a shared library; none if the file is something else.
pub(super) fn library(file: &[u8]) -> Option<Library> {
    let machine = u16::from_le_bytes(file.get(18..20)?.try_into().ok()?);
    let shared = file.get(16..18)? == [3, 0];
    let flags = MACHINES.iter().find(|(known, _)| *known == machine)?.1;
    let sections = sections(file)?;
    let dynamic = sections.iter().find(|section| section.kind == DYNAMIC).filter(|_| shared)?;
    let names = sections.get(dynamic.link)?.bytes;
    let entries = dynamic.bytes.chunks_exact(16).map(|entry| (word(entry, 0), word(entry, 8)));
    let soname = entries
        .take_while(|(tag, _)| *tag != 0)
        .find(|(tag, _)| *tag == SONAME)
        .map(|(_, offset)| string(names, usize::try_from(offset).unwrap_or(usize::MAX)));
    let soname = soname.map(|name| String::from_utf8_lossy(name).into_owned());
    Some(Library { soname: soname.filter(|name| !name.is_empty()), flags })
}

fn sections(file: &[u8]) -> Option<Vec<Section<'_>>> {
    if !file.starts_with(b"\x7fELF\x02\x01") || file.len() < 64 {
        return None;
    }
    let start = usize::try_from(word(file, 40)).ok()?;
    let count = usize::from(u16::from_le_bytes([file[60], file[61]]));
    let names = usize::from(u16::from_le_bytes([file[62], file[63]]));
    let table = file.get(start..start.checked_add(count * 64)?)?;
    let bytes_of = |header: &[u8]| -> &[u8] {
        let (offset, size) = (word(header, 24) as usize, word(header, 32) as usize);
        let range = offset.checked_add(size).and_then(|end| file.get(offset..end));
        range.filter(|_| half(header, 4) != NO_BITS).unwrap_or_default()
    };
    let headers: Vec<&[u8]> = table.chunks_exact(64).collect();
    let names = headers.get(names).map(|header| bytes_of(header)).unwrap_or_default();
    let section = |header: &&[u8]| Section {
        name: string(names, half(header, 0) as usize),
        kind: half(header, 4),
        link: half(header, 40) as usize,
        bytes: &[],
    };
    let sections = headers.iter().map(|header| {
        let bytes = bytes_of(header);
        Section { bytes, ..section(header) }
    });
    Some(sections.collect())
}

/// The bytes up to the zero at the end.
fn string(bytes: &[u8], offset: usize) -> &[u8] {
    let rest = bytes.get(offset..).unwrap_or_default();
    &rest[..rest.iter().position(|byte| *byte == 0).unwrap_or(0)]
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |part| u32::from_le_bytes([part[0], part[1], part[2], part[3]]))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from(half(bytes, at)) | u64::from(half(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_this_machine_has_its_name() {
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"];
        let Some(bytes) = paths.iter().find_map(|path| std::fs::read(path).ok()) else { return };
        let found = library(&bytes).unwrap();
        assert_eq!(found.soname.as_deref(), Some("libc.so.6"));
        for cut in [0, 4, 20, 63, 64, 1000, bytes.len() / 2] {
            library(&bytes[..cut]);
            module(&bytes[..cut]);
        }
    }
}
