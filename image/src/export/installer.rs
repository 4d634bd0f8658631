//! The system that installs: the release's own kernel and modules, one program, and the image.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use disk::packed::Header;
use sha2::{Digest as _, Sha256};

use super::{Error, Source, create, length};
use crate::contents::Contents;
use crate::initrd::cpio::{self, Entries, Entry};
use crate::progress::{Progress, Size, Stage};
use crate::secure_boot::authenticode;
use crate::sparse::CHUNK;
use crate::{initrd, make, uki};

/// Level of the image's compression: what is quick to make and quick to unpack.
const LEVEL: i32 = 3;
/// The words of the release's command line that an installer needs as well.
const KEPT: [&str; 3] = ["console=", "quiet", "panic="];

/// What an installer does without being asked, and what it brings along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unattended {
    /// Files of the machine's configuration by name: `user-data`, `meta-data`, `network-config`.
    pub config: BTreeMap<String, Vec<u8>>,
    /// Words for the installer, as on the kernel command line.
    pub words: Vec<String>,
}

/// Writes the packed disk.
pub(super) fn write_packed(
    source: &Source<'_>,
    path: &Path,
    progress: &Progress,
) -> Result<(), Error> {
    let stage = progress.stage("install");
    let mut file = create(path)?;
    let written = pack(&source.contents, &source.version, &mut file, &stage);
    written.map_err(|source| make::write_error(path, source))?;
    stage.finish(&Size(length(&file)).to_string());
    Ok(())
}

/// Writes kernel, initrd, and both as one UKI.
pub(super) fn write_pair(
    source: &Source<'_>,
    [kernel_path, initrd_path, uki_path]: [&Path; 3],
    progress: &Progress,
) -> Result<(), Error> {
    let initrd = make_initrd(source, progress)?;
    let kernel = uki::section(&source.uki, ".linux")?.unwrap_or_default();
    let uki = make_uki(source, &initrd, progress)?;
    for (path, bytes) in [(kernel_path, kernel), (initrd_path, &initrd), (uki_path, &uki)] {
        fs::write(path, bytes).map_err(|source| make::write_error(path, source))?;
    }
    Ok(())
}

/// The UKI of an installer, signed if there are keys.
pub(super) fn make_uki(
    source: &Source<'_>,
    initrd: &[u8],
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let stage = progress.stage("installer");
    let release = uki::parse(&source.uki)?;
    let cmdline = release.cmdline.unwrap_or_default();
    let kept = |word: &&str| KEPT.iter().any(|kept| word.starts_with(kept));
    let cmdline: Vec<&str> = cmdline.split_whitespace().filter(kept).collect();
    let payload = uki::Payload {
        os_release: &release.os_release.unwrap_or_default(),
        cmdline: &cmdline.join(" "),
        uname: &release.uname.unwrap_or_default(),
        linux: uki::section(&source.uki, ".linux")?.unwrap_or_default(),
        initrd,
    };
    let mut uki = uki::assemble(&uki::stub_of(&source.uki)?, &payload)?;
    if let Some(signer) = source.signer {
        uki = authenticode::sign(&uki, signer)?;
    }
    let how = if source.signer.is_some() { "signed" } else { "not signed" };
    stage.finish(&format!("{}, {how}", Size(uki.len() as u64)));
    Ok(uki)
}

/// The initrd of an installer: those of program and modules, and an archive of what it installs.
pub(super) fn make_initrd(source: &Source<'_>, progress: &Progress) -> Result<Vec<u8>, Error> {
    let stage = progress.stage("image");
    let packed = uki::section(&source.uki, ".initrd")?.ok_or(Error::Initrd)?;
    let archive = zstd::decode_all(packed).map_err(|_| Error::Initrd)?;
    let mut entries = cpio::read(&archive).ok_or(Error::Initrd)?;
    let program = fs::read(source.installer).map_err(|error| Error::Read {
        path: source.installer.to_owned(),
        hint: "; build it first: cargo build --release",
        source: error,
    })?;
    entries.insert("init".to_owned(), Entry::Program(program));
    let mut initrd = initrd::pack(&entries, None).map_err(|_| Error::Initrd)?;

    let mut image = io::Cursor::new(Vec::new());
    pack(&source.contents, &source.version, &mut image, &stage)
        .map_err(|source| make::write_error(Path::new("the image in memory"), source))?;
    let mut carried = Entries::from([("image".to_owned(), Entry::File(image.into_inner()))]);
    if !source.unattended.config.is_empty() {
        carried.insert("config".to_owned(), Entry::Directory);
        for (name, bytes) in &source.unattended.config {
            carried.insert(format!("config/{name}"), Entry::File(bytes.clone()));
        }
    }
    if !source.unattended.words.is_empty() {
        let words = source.unattended.words.join("\n") + "\n";
        carried.insert("words".to_owned(), Entry::File(words.into_bytes()));
    }
    // The kernel wants the next archive at a whole word.
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend_from_slice(&cpio::archive(&carried));
    stage.finish(&Size(initrd.len() as u64).to_string());
    Ok(initrd)
}

/// Packs a disk: header, and one zstd frame with all that is not empty.
fn pack<W: Write + Seek>(
    disk: &Contents,
    version: &str,
    out: &mut W,
    stage: &Stage<'_>,
) -> io::Result<()> {
    let runs = runs(disk)?;
    let mut header =
        Header { version: version.to_owned(), size: disk.size(), sha256: "0".repeat(64), runs };
    stage.expect(header.data());
    out.seek(SeekFrom::Start(0))?;
    out.write_all(header.to_text().as_bytes())?;
    let mut hasher = Sha256::new();
    let mut encoder = zstd::Encoder::new(&mut *out, LEVEL)?;
    let mut reader = disk.reader();
    let mut buffer = vec![0; CHUNK];
    for &(offset, length) in &header.runs {
        reader.seek(SeekFrom::Start(offset))?;
        let mut left = length;
        while left > 0 {
            let piece = &mut buffer[..left.min(CHUNK as u64) as usize];
            reader.read_exact(piece)?;
            hasher.update(&piece);
            encoder.write_all(piece)?;
            left -= piece.len() as u64;
            stage.advance(piece.len() as u64);
        }
    }
    encoder.finish()?;
    // As long as the placeholder was.
    header.sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    out.seek(SeekFrom::Start(0))?;
    out.write_all(header.to_text().as_bytes())?;
    out.seek(SeekFrom::End(0)).map(drop)
}

/// Where a disk is not empty.
fn runs(disk: &Contents) -> io::Result<Vec<(u64, u64)>> {
    let chunk = CHUNK as u64;
    let mut buffer = vec![0; CHUNK];
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in disk.occupied() {
        disk.read_chunk(number, &mut buffer)?;
        if crate::sparse::is_zero(&buffer) {
            continue;
        }
        let offset = number * chunk;
        let length = chunk.min(disk.size() - offset);
        match runs.last_mut() {
            Some(last) if last.0 + last.1 == offset => last.1 += length,
            _ => runs.push((offset, length)),
        }
    }
    Ok(runs)
}
