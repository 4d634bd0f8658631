//! Our own packs: made by the publisher's code, applied by the machine's.

use std::fs::File;
use std::io::Write;
use std::num::NonZero;
use std::path::Path;

use channels::offer::Part;
use channels::payload::{Decoder, Index, ReadAt};
use channels::publish::packs::{self, Image};

use crate::measure::{AnyError, Cost, run, same, size, text};

fn open(part: &str, path: &Path) -> Result<Image, AnyError> {
    let part = if part == "root" { Part::Root } else { Part::Uki };
    Ok(Image::open(File::open(path)?, part)?)
}

fn threads() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

pub(crate) fn frames(part: &str, new: &Path, out: &Path) -> Result<(), AnyError> {
    packs::frames(&open(part, new)?, threads(), &mut File::create(out)?)?;
    Ok(())
}

pub(crate) fn patch(part: &str, old: &Path, new: &Path, out: &Path) -> Result<(), AnyError> {
    let (old, new) = (open(part, old)?, open(part, new)?);
    packs::patch(&old, [1; 32], &new, threads(), &mut File::create(out)?)?;
    Ok(())
}

/// What a machine does: record by record, checked and written.
pub(crate) fn apply(old: &Path, pack: &Path, out: &Path) -> Result<(), AnyError> {
    let (old, pack, mut out) = (File::open(old)?, File::open(pack)?, File::create(out)?);
    let mut length = [0; 8];
    pack.read_exact_at(0, &mut length)?;
    let length = u32::from_le_bytes([length[4], length[5], length[6], length[7]]) as usize + 8;
    let mut index = vec![0; length];
    pack.read_exact_at(0, &mut index)?;
    let index = Index::from_bytes(&index)?;
    let mut decoder = Decoder::new();
    let (mut record, mut bytes) = (Vec::new(), Vec::new());
    for number in 0..index.len() {
        let segment = index.segment(number)?;
        record.resize((segment.record.end - segment.record.start) as usize, 0);
        pack.read_exact_at(segment.record.start, &mut record)?;
        bytes.resize((segment.place.end - segment.place.start) as usize, 0);
        match index.old() {
            Some(_) => decoder.patch(&index, number, &record, &old, &mut bytes)?,
            None => decoder.frame(&index, number, &record, &mut bytes)?,
        }
        out.write_all(&bytes)?;
    }
    out.sync_all()?;
    Ok(())
}

/// Runs this program with other arguments.
fn myself(arguments: &[&str]) -> Result<(f64, u64), AnyError> {
    let program = std::env::current_exe()?;
    run(text(&program)?, arguments)
}

pub(crate) fn made_frames(part: &str, new: &Path, place: &Path) -> Result<Cost, AnyError> {
    let (pack, out) = (place.join("frames"), place.join("out"));
    let (make, _) = myself(&["frames", part, text(new)?, text(&pack)?])?;
    let (apply, memory) = myself(&["apply", "/dev/null", text(&pack)?, text(&out)?])?;
    same(&out, new)?;
    Ok(Cost { bytes: size(&pack)?, make, apply, memory })
}

pub(crate) fn made_patch(
    part: &str,
    old: &Path,
    new: &Path,
    place: &Path,
) -> Result<Cost, AnyError> {
    let (pack, out) = (place.join("patch"), place.join("out"));
    let (make, _) = myself(&["patch", part, text(old)?, text(new)?, text(&pack)?])?;
    let (apply, memory) = myself(&["apply", text(old)?, text(&pack)?, text(&out)?])?;
    same(&out, new)?;
    Ok(Cost { bytes: size(&pack)?, make, apply, memory })
}
