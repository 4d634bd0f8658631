//! The unified kernel image: systemd's stub with kernel, initrd, command
//! line and os-release as PE sections behind it.
//!
//! stub + [`Payload`] → [`assemble`] → one EFI program, and back by [`parse`].
//! Follows the PE format and the UAPI group's "Unified Kernel Image"; the
//! image is not signed and holds no splash, device tree or microcode.

use std::ops::Range;

/// What the stub boots.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// The os-release of the system, for the boot menu's title and order.
    pub os_release: &'a str,
    /// The kernel command line.
    pub cmdline: &'a str,
    /// The kernel's version, as `uname -r` says it.
    pub uname: &'a str,
    /// The kernel, a PE file itself.
    pub linux: &'a [u8],
    /// The initrd.
    pub initrd: &'a [u8],
}

/// A section of a PE file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Name, `.linux` for one.
    pub name: String,
    /// Where it is in memory, from the start of the image.
    pub address: u32,
    /// Bytes that mean something.
    pub size: u32,
    /// Where it is in the file.
    pub file: Range<usize>,
}

/// A PE file's layout and the texts a UKI carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki {
    /// All sections, in the order of the file.
    pub sections: Vec<Section>,
    /// The kernel command line, if there is one.
    pub cmdline: Option<String>,
    /// The os-release, if there is one.
    pub os_release: Option<String>,
    /// The kernel version, if there is one.
    pub uname: Option<String>,
}

/// Why a file is no PE file, or none that can be extended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not what its name says.
    #[error("not an EFI program for x86-64: {what}")]
    NotPe {
        /// The first thing that is wrong.
        what: &'static str,
    },
    /// The stub has no space for more section headers.
    #[error("the stub has room for {room} section headers, {wanted} are needed")]
    NoRoom {
        /// Headers that fit.
        room: usize,
        /// Headers that are needed.
        wanted: usize,
    },
    /// An image that no machine could load.
    #[error("the sections are larger than 4 GiB together")]
    TooLarge,
}

const SECTION_HEADER: usize = 40;
/// Offsets in the optional header, the same up to here in every version.
mod optional {
    pub(super) const MAGIC: usize = 0;
    pub(super) const SIZE_OF_INITIALIZED_DATA: usize = 8;
    pub(super) const SECTION_ALIGNMENT: usize = 32;
    pub(super) const FILE_ALIGNMENT: usize = 36;
    pub(super) const SIZE_OF_IMAGE: usize = 56;
    pub(super) const SIZE_OF_HEADERS: usize = 60;
    pub(super) const CHECKSUM: usize = 64;
    /// The entry of the table of signatures.
    pub(super) const CERTIFICATES: usize = 144;
}
/// Initialised data, readable.
const DATA: u32 = 0x4000_0040;

/// The numbers of a PE header that are needed here.
#[derive(Debug)]
struct Headers {
    /// Where the optional header starts.
    optional: usize,
    /// Where the section headers start.
    sections: usize,
    count: usize,
    /// Where the count of sections stands.
    count_at: usize,
}

fn headers(bytes: &[u8]) -> Result<Headers, Error> {
    let not = |what| Error::NotPe { what };
    if bytes.get(..2) != Some(b"MZ") {
        return Err(not("no DOS header"));
    }
    let pe = read_u32(bytes, 0x3c).ok_or(not("cut off"))? as usize;
    if bytes.get(pe..).and_then(|rest| rest.get(..4)) != Some(b"PE\0\0") {
        return Err(not("no PE header"));
    }
    let short = not("cut off in its headers");
    if read_u16(bytes, pe + 4).ok_or_else(|| short.clone())? != 0x8664 {
        return Err(not("made for another machine"));
    }
    let count_at = pe + 6;
    let count = read_u16(bytes, count_at).ok_or_else(|| short.clone())?;
    let optional_size = read_u16(bytes, pe + 20).ok_or_else(|| short.clone())?;
    let optional = pe + 24;
    let sections = optional + usize::from(optional_size);
    if read_u16(bytes, optional + optional::MAGIC) != Some(0x20b)
        || usize::from(optional_size) < optional::CHECKSUM + 4
    {
        return Err(not("no PE32+ header"));
    }
    let count = usize::from(count);
    if bytes.len() < sections + count * SECTION_HEADER {
        return Err(short);
    }
    Ok(Headers { optional, sections, count, count_at })
}

/// Lists the sections of a PE file and reads the texts of a UKI.
pub fn parse(bytes: &[u8]) -> Result<Uki, Error> {
    let headers = headers(bytes)?;
    let mut sections = Vec::new();
    for index in 0..headers.count {
        let at = headers.sections + index * SECTION_HEADER;
        let field = |offset| {
            read_u32(bytes, at + offset).expect("the table of sections is inside the file")
        };
        let name = &bytes[at..at + 8];
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(8);
        let start = field(20) as usize;
        let length = (field(8).min(field(16))) as usize;
        if bytes.len() < start + length {
            return Err(Error::NotPe { what: "cut off in a section" });
        }
        sections.push(Section {
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            address: field(12),
            size: field(8),
            file: start..start + length,
        });
    }
    let text = |name: &str| {
        let section = sections.iter().find(|section| section.name == name)?;
        let text = String::from_utf8_lossy(&bytes[section.file.clone()]);
        Some(text.trim_end_matches('\0').to_owned())
    };
    Ok(Uki {
        cmdline: text(".cmdline"),
        os_release: text(".osrel"),
        uname: text(".uname"),
        sections,
    })
}

/// The contents of a section of a PE file, if it has one of this name.
pub fn section<'a>(bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, Error> {
    let found = parse(bytes)?.sections.into_iter().find(|section| section.name == name);
    Ok(found.map(|section| &bytes[section.file]))
}

/// The stub that a UKI was put behind, as far as a payload can be put behind it again: what
/// [`assemble`] and a signature have added is gone.
pub fn stub_of(uki: &[u8]) -> Result<Vec<u8>, Error> {
    let layout = headers(uki)?;
    let sections = parse(uki)?.sections;
    let kept = sections.iter().position(|section| section.name == ".osrel");
    let kept = kept.ok_or(Error::NotPe { what: "no UKI: it has no .osrel section" })?;
    let mut out = uki[..sections[kept].file.start].to_vec();
    let table = layout.sections;
    out[table + kept * SECTION_HEADER..table + layout.count * SECTION_HEADER].fill(0);
    let count = u16::try_from(kept).map_err(|_| Error::TooLarge)?;
    out[layout.count_at..layout.count_at + 2].copy_from_slice(&count.to_le_bytes());
    let certificates = layout.optional + optional::CERTIFICATES;
    if certificates + 8 <= table {
        out[certificates..certificates + 8].fill(0);
    }
    Ok(out)
}

/// Puts a payload behind the stub. The same input gives the same bytes.
pub fn assemble(stub: &[u8], payload: &Payload<'_>) -> Result<Vec<u8>, Error> {
    let layout = headers(stub)?;
    let contents: [(&[u8; 8], &[u8]); 5] = [
        (b".osrel\0\0", payload.os_release.as_bytes()),
        (b".cmdline", payload.cmdline.as_bytes()),
        (b".uname\0\0", payload.uname.as_bytes()),
        (b".initrd\0", payload.initrd),
        (b".linux\0\0", payload.linux),
    ];
    let option = |offset| {
        read_u32(stub, layout.optional + offset)
            .ok_or(Error::NotPe { what: "cut off in its headers" })
    };
    let wanted = layout.count + contents.len();
    let room = (option(optional::SIZE_OF_HEADERS)? as usize).saturating_sub(layout.sections)
        / SECTION_HEADER;
    if room < wanted {
        return Err(Error::NoRoom { room, wanted });
    }
    let in_memory = alignment(option(optional::SECTION_ALIGNMENT)?)?;
    let in_file = alignment(option(optional::FILE_ALIGNMENT)?)?;

    let mut out = stub.to_vec();
    let mut address = parse(stub)?
        .sections
        .iter()
        .map(|section| u64::from(section.address) + u64::from(section.size))
        .max()
        .unwrap_or(0);
    let mut data = u64::from(option(optional::SIZE_OF_INITIALIZED_DATA)?);
    for (index, (name, content)) in contents.into_iter().enumerate() {
        address = address.next_multiple_of(in_memory);
        let start = out.len().next_multiple_of(in_file as usize);
        let raw_size = content.len().next_multiple_of(in_file as usize);
        let header = layout.sections + (layout.count + index) * SECTION_HEADER;
        out.resize(start, 0);
        out.extend_from_slice(content);
        out.resize(start + raw_size, 0);
        out[header..header + SECTION_HEADER].fill(0);
        out[header..header + 8].copy_from_slice(name);
        write_u32(&mut out, header + 8, content.len() as u64)?;
        write_u32(&mut out, header + 12, address)?;
        write_u32(&mut out, header + 16, raw_size as u64)?;
        write_u32(&mut out, header + 20, start as u64)?;
        write_u32(&mut out, header + 36, u64::from(DATA))?;
        address += content.len() as u64;
        data += content.len() as u64;
    }
    let count = u16::try_from(wanted).map_err(|_| Error::TooLarge)?;
    out[layout.count_at..layout.count_at + 2].copy_from_slice(&count.to_le_bytes());
    let field = |offset| layout.optional + offset;
    write_u32(&mut out, field(optional::SIZE_OF_INITIALIZED_DATA), data)?;
    let image = address.next_multiple_of(in_memory);
    write_u32(&mut out, field(optional::SIZE_OF_IMAGE), image)?;
    write_u32(&mut out, field(optional::CHECKSUM), 0)?;
    Ok(out)
}

fn alignment(value: u32) -> Result<u64, Error> {
    if value.is_power_of_two() && value <= 1 << 24 {
        Ok(u64::from(value))
    } else {
        Err(Error::NotPe { what: "senseless alignment" })
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}

fn write_u32(bytes: &mut [u8], at: usize, value: u64) -> Result<(), Error> {
    let value = u32::try_from(value).map_err(|_| Error::TooLarge)?;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    Ok(())
}

#[cfg(test)]
#[path = "../tests/support/stub.rs"]
mod stub;

#[cfg(test)]
mod tests {
    use super::stub::stub;
    use super::*;
    use std::io::Write as _;
    use std::process::Command;

    const PAYLOAD: Payload<'_> = Payload {
        os_release: "ID=coreos\nVERSION_ID=1\n",
        cmdline: "quiet roothash=ab",
        uname: "6.12.1",
        linux: &[0xaa; 70_000],
        initrd: &[0xbb; 4096],
    };

    #[test]
    fn what_goes_in_is_found_again() {
        let bytes = assemble(&stub(8), &PAYLOAD).expect("room for six");
        let uki = parse(&bytes).expect("a PE file");
        let names: Vec<&str> = uki.sections.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, [".text", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"]);
        assert_eq!(uki.cmdline.as_deref(), Some(PAYLOAD.cmdline));
        assert_eq!(uki.os_release.as_deref(), Some(PAYLOAD.os_release));
        assert_eq!(uki.uname.as_deref(), Some(PAYLOAD.uname));
        assert_eq!(&bytes[uki.sections[5].file.clone()], PAYLOAD.linux);
        assert_eq!(&bytes[uki.sections[4].file.clone()], PAYLOAD.initrd);
    }

    #[test]
    fn sections_are_aligned_and_follow_each_other() {
        let bytes = assemble(&stub(8), &PAYLOAD).expect("room for six");
        let uki = parse(&bytes).expect("a PE file");
        for pair in uki.sections.windows(2) {
            assert_eq!(pair[1].address % 4096, 0);
            assert_eq!(pair[1].file.start % 512, 0);
            assert!(pair[0].address + pair[0].size <= pair[1].address);
            assert!(pair[0].file.end <= pair[1].file.start);
        }
        let last = uki.sections.last().expect("six");
        let size_of_image = read_u32(&bytes, 0x40 + 24 + optional::SIZE_OF_IMAGE);
        let end = (last.address + last.size).next_multiple_of(4096);
        assert_eq!(size_of_image, Some(end));
    }

    #[test]
    fn objdump_agrees() {
        let bytes = assemble(&stub(8), &PAYLOAD).expect("room for six");
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(&bytes).expect("written");
        let output = Command::new("objdump")
            .args(["--section-headers", "--wide"])
            .arg(file.path())
            .output()
            .expect("objdump, of the package binutils");
        let listing = String::from_utf8_lossy(&output.stdout);
        for section in parse(&bytes).expect("a PE file").sections {
            let line = listing
                .lines()
                .find(|line| line.contains(&format!(" {} ", section.name)))
                .unwrap_or_else(|| panic!("no {} in {listing}", section.name));
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |index: usize| u64::from_str_radix(words[index], 16).expect(line);
            assert_eq!(number(3), 0x1000_0000 + u64::from(section.address), "{line}");
            assert_eq!(number(5), section.file.start as u64, "{line}");
        }
    }

    #[test]
    fn a_payload_can_be_exchanged() {
        let bytes = assemble(&stub(8), &PAYLOAD).expect("room for six");
        assert_eq!(section(&bytes, ".linux"), Ok(Some(PAYLOAD.linux)));
        assert_eq!(section(&bytes, ".profile"), Ok(None));
        let again = stub_of(&bytes).expect("a UKI");
        let other = Payload { cmdline: "other", initrd: &[0xcc; 9000], ..PAYLOAD };
        let exchanged = assemble(&again, &other).expect("room for six");
        assert_eq!(parse(&exchanged).expect("a PE file").cmdline.as_deref(), Some("other"));
        assert_eq!(section(&exchanged, ".initrd"), Ok(Some(other.initrd)));
        let size = |bytes: &[u8]| read_u32(bytes, 0x40 + 24 + optional::SIZE_OF_IMAGE);
        assert_eq!(size(&exchanged), size(&assemble(&stub(8), &other).expect("room")));
        assert!(stub_of(&stub(8)).is_err(), "no UKI");
    }

    #[test]
    fn a_stub_without_room_is_refused() {
        assert_eq!(assemble(&stub(5), &PAYLOAD), Err(Error::NoRoom { room: 5, wanted: 6 }));
    }

    #[test]
    fn no_cut_of_an_image_is_more_than_an_error() {
        let bytes = assemble(&stub(8), &PAYLOAD).expect("room for six");
        for length in (0..1024).chain([2000, 4096, 60_000]) {
            assert!(parse(&bytes[..length]).is_err(), "{length}");
        }
    }
}
