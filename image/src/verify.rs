//! Whether two builds are the same, and where they are not.
//!
//! Files are compared byte by byte. Of a disk, what differs is told by partition; of other files,
//! by range.

use crate::inspect::drive;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much is compared at a time.
const CHUNK: usize = 1 << 20;
/// Differences that are closer than this are told as one.
const JOIN: u64 = 4096;
/// Ranges of a file that are told.
const MAX_RANGES: usize = 8;

/// What differs between two files of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Their name.
    pub file: String,
    /// Their sizes, if those differ; none where a file is missing.
    pub sizes: Option<(Option<u64>, Option<u64>)>,
    /// Where their bytes differ, the first few.
    pub ranges: Vec<Range>,
    /// How many ranges there are.
    pub count: usize,
}

/// Bytes that differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub size: u64,
    /// The partition they are in, and where in it they begin.
    pub partition: Option<(String, u64)>,
}

/// Compares files of two directories; what is the same is left out.
pub fn compare(names: &[String], one: &Path, two: &Path) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for name in names {
        let difference = compare_file(name, &one.join(name), &two.join(name))?;
        differences.extend(difference);
    }
    Ok(differences)
}

fn compare_file(name: &str, one: &Path, two: &Path) -> io::Result<Option<Difference>> {
    let open = |path: &Path| match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let (a, b) = (open(one)?, open(two)?);
    let size = |file: &Option<File>| {
        file.as_ref().map(|file| file.metadata().map(|data| data.len())).transpose()
    };
    let sizes: (Option<u64>, Option<u64>) = (size(&a)?, size(&b)?);
    let mut difference = Difference {
        file: name.to_owned(),
        sizes: (sizes.0 != sizes.1).then_some(sizes),
        ranges: Vec::new(),
        count: 0,
    };
    if let ((Some(a), Some(length)), (Some(b), Some(other))) = ((a, sizes.0), (b, sizes.1)) {
        let ranges = ranges(&a, &b, length.min(other))?;
        difference.count = ranges.len();
        let areas = if ranges.is_empty() { Vec::new() } else { drive::areas(&a) };
        let placed = ranges.into_iter().take(MAX_RANGES).map(|(offset, size)| {
            let area =
                areas.iter().find(|area| (area.offset..area.offset + area.size).contains(&offset));
            let partition = area.map(|area| (area.label.clone(), offset - area.offset));
            Range { offset, size, partition }
        });
        difference.ranges = placed.collect();
    }
    let same = difference.sizes.is_none() && difference.count == 0;
    Ok((!same).then_some(difference))
}

/// Begin and length of every range that differs, in the first `length` bytes.
fn ranges(a: &File, b: &File, length: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    while at < length {
        let count = CHUNK.min(usize::try_from(length - at).unwrap_or(CHUNK));
        a.read_exact_at(&mut left[..count], at)?;
        b.read_exact_at(&mut right[..count], at)?;
        if left[..count] != right[..count] {
            for (index, _) in (0..count).zip(left.iter().zip(&right)).filter(|(_, (a, b))| a != b) {
                let place = at + index as u64;
                match ranges.last_mut() {
                    Some((start, size)) if place < *start + *size + JOIN => {
                        *size = place + 1 - *start;
                    }
                    _ => ranges.push((place, 1)),
                }
            }
        }
        at += count as u64;
    }
    Ok(ranges)
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { file, sizes, ranges, count } = self;
        match sizes {
            Some((None, _)) => return write!(formatter, "{file}: is missing"),
            Some((_, None)) => return write!(formatter, "{file}: is not built any more"),
            Some((Some(one), Some(two))) => {
                write!(formatter, "{file}: has {one} bytes, rebuilt {two}")?;
            }
            None => write!(formatter, "{file}: differs")?,
        }
        for Range { offset, size, partition } in ranges {
            write!(formatter, "\n  {size} bytes from {offset:#x}")?;
            if let Some((label, inside)) = partition {
                write!(formatter, ", in {label} from {inside:#x}")?;
            }
        }
        match count - ranges.len() {
            0 => Ok(()),
            more => write!(formatter, "\n  and {more} more ranges"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_differs_is_told_by_range() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut bytes = vec![7; 3 << 20];
        fs::write(one.path().join("disk"), &bytes).unwrap();
        for place in [100, 4000, 2_000_000] {
            bytes[place] = 8;
        }
        fs::write(two.path().join("disk"), &bytes).unwrap();
        for directory in [&one, &two] {
            fs::write(directory.path().join("same"), "same").unwrap();
        }
        fs::write(one.path().join("short"), "abc").unwrap();
        fs::write(two.path().join("short"), "abcd").unwrap();
        fs::write(one.path().join("old"), "").unwrap();
        let names = ["disk", "same", "short", "old"].map(str::to_owned);
        let found = compare(&names, one.path(), two.path()).unwrap();
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "disk: differs\n  3901 bytes from 0x64\n  1 bytes from 0x1e8480",
                "short: has 3 bytes, rebuilt 4",
                "old: is not built any more",
            ]
        );
    }
}
