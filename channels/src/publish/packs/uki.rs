//! Which file is where in a unified kernel image: the sections of the PE file, and in an initrd
//! that is not compressed the files of the archive.

use std::fs::File;

use super::extents::Extent;
use crate::payload::ReadAt;

/// Larger files are no kernel images.
const MAX_SIZE: u64 = 1 << 30;

/// The extents of an image, in order; `None` if it is none.
pub(super) fn extents(file: &File, size: u64) -> Option<Vec<Extent>> {
    if size > MAX_SIZE {
        return None;
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(0, &mut bytes).ok()?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Vec<Extent>> {
    if bytes.get(..2)? != b"MZ" {
        return None;
    }
    let header = number(bytes, 0x3c, 4)?;
    if bytes.get(header..header.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let (count, optional) = (number(bytes, header + 6, 2)?, number(bytes, header + 20, 2)?);
    let mut found = Vec::new();
    for index in 0..count {
        let at = header + 24 + optional + 40 * index;
        let name = bytes.get(at..at + 8)?.split(|byte| *byte == 0).next()?;
        let name = String::from_utf8_lossy(name).into_owned();
        let (start, length) = (number(bytes, at + 20, 4)?, number(bytes, at + 16, 4)?);
        let content = bytes.get(start..start.checked_add(length)?)?;
        let members = match name.as_str() {
            ".initrd" => members(content),
            _ => Vec::new(),
        };
        found.extend(members.iter().map(|member| Extent {
            name: format!("{name}/{}", member.name),
            start: member.start + start as u64,
            length: member.length,
        }));
        if members.is_empty() {
            found.push(Extent { name, start: start as u64, length: length as u64 });
        }
    }
    found.retain(|extent| extent.length > 0);
    found.sort_by_key(|extent| extent.start);
    Some(found)
}

/// The files of a `newc` archive, each with the header before it; none if it is not one.
fn members(archive: &[u8]) -> Vec<Extent> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    while let Some(header) = archive.get(at..at + 110).filter(|header| header.starts_with(b"0707"))
    {
        let field = |index: usize| {
            let digits = std::str::from_utf8(&header[6 + 8 * index..14 + 8 * index]).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        let (Some(size), Some(name_size)) = (field(6), field(11)) else { break };
        let content = (at + 110 + name_size as usize).next_multiple_of(4);
        let end = (content + size as usize).next_multiple_of(4);
        let Some(name) = archive.get(at + 110..at + 110 + name_size as usize) else { break };
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        let end = end.min(archive.len());
        found.push(Extent { name, start: at as u64, length: (end - at) as u64 });
        at = end;
    }
    found
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PE file of these sections, as far as it is read here.
    fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x46] = sections.len() as u8;
        for (index, (name, content)) in sections.iter().enumerate() {
            let at = 0x40 + 24 + 40 * index;
            let (start, length) = (bytes.len() as u32, content.len() as u32);
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
            bytes[at + 16..at + 20].copy_from_slice(&length.to_le_bytes());
            bytes[at + 20..at + 24].copy_from_slice(&start.to_le_bytes());
            bytes.extend(*content);
        }
        bytes
    }

    fn member(name: &str, content: &str) -> Vec<u8> {
        let mut fields = [0; 13];
        (fields[6], fields[11]) = (content.len(), name.len() + 1);
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        let mut bytes = format!("070701{fields}{name}\0").into_bytes();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn sections_and_the_files_of_an_initrd_are_found() {
        let archive = [member("init", "program"), member("lib/a.ko", "module")].concat();
        let bytes = image(&[(".osrel", b"ID=x"), (".initrd", &archive), (".linux", b"kernel")]);
        let found = parse(&bytes).unwrap();
        let names: Vec<_> = found.iter().map(|extent| extent.name.as_str()).collect();
        assert_eq!(names, [".osrel", ".initrd/init", ".initrd/lib/a.ko", ".linux"]);
        let text = |extent: &Extent| {
            String::from_utf8_lossy(&bytes[extent.start as usize..extent.end() as usize])
                .into_owned()
        };
        assert!(text(&found[2]).starts_with("070701") && text(&found[2]).contains("module"));
        assert_eq!(text(&found[3]), "kernel");
        let packed = image(&[(".initrd", b"\x28\xb5\x2f\xfd compressed")]);
        assert_eq!(parse(&packed).unwrap()[0].name, ".initrd");
    }

    #[test]
    fn no_cut_of_an_image_is_more_than_an_error() {
        let bytes = image(&[(".initrd", &member("init", "program")), (".linux", b"kernel")]);
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_none(), "{length}");
        }
    }
}
