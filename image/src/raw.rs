//! The disk as a plain file, with holes where it is empty.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::contents::Contents;
use crate::patch::Patch;
use crate::sparse::{CHUNK, is_zero};

/// Chunks that are read before they are written.
const BATCH: usize = 16;

/// Writes `contents` into `file`, over whatever is in it. `advance` is told the bytes of the disk
/// that are done.
pub fn write(contents: &Contents, file: &File, mut advance: impl FnMut(u64)) -> io::Result<()> {
    let patch = Patch::new(file)?;
    if file.metadata()?.len() == 0 {
        // Most of it is one hole.
        file.set_len(contents.size())?;
    }
    let mut written = Vec::new();
    let mut buffer = vec![0; BATCH * CHUNK];
    for batch in contents.occupied().chunks(BATCH) {
        // Chunks that follow each other are written together.
        for run in batch.chunk_by(|a, b| a + 1 == *b) {
            let buffer = &mut buffer[..run.len() * CHUNK];
            for (&number, part) in run.iter().zip(buffer.chunks_mut(CHUNK)) {
                contents.read_chunk(number, part)?;
            }
            write_run(&patch, run[0] * CHUNK as u64, buffer, contents.size(), &mut written)?;
        }
        advance((batch.len() * CHUNK) as u64);
    }
    patch.clear_but(written)?;
    patch.finish(contents.size())
}

/// Writes all of a run that is not zero and not past the end, and adds where that was to
/// `written`.
fn write_run(
    patch: &Patch<'_>,
    start: u64,
    run: &[u8],
    size: u64,
    written: &mut Vec<(u64, u64)>,
) -> io::Result<()> {
    let run = &run[..run.len().min((size - start) as usize)];
    let parts: Vec<&[u8]> = run.chunks(CHUNK).collect();
    let mut offset = start;
    for group in parts.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
        let length: usize = group.iter().map(|part| part.len()).sum();
        if !is_zero(group[0]) {
            let from = (offset - start) as usize;
            patch.write_all_at(&run[from..from + length], offset)?;
            written.push((offset, offset + length as u64));
        }
        offset += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::Sparse;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_file_reads_as_the_disk_and_has_its_holes() {
        let size = 200 * CHUNK as u64 + 512;
        let mut small = Sparse::new(size);
        assert!(small.write_at(7, b"table"));
        assert!(small.write_at(size - 6, b"backup"));
        let mut contents = Contents::new(small);
        let mut part = vec![5; 40 * CHUNK];
        part[3 * CHUNK..30 * CHUNK].fill(0);
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(&part).expect("written");
        contents.place(50 * CHUNK as u64, file).expect("fits");

        let mut want = vec![0; size as usize];
        want[7..12].copy_from_slice(b"table");
        want[size as usize - 6..].copy_from_slice(b"backup");
        want[50 * CHUNK..90 * CHUNK].copy_from_slice(&part);
        // Into an empty file, and over one that is longer or shorter.
        for before in [0, 10, 230] {
            let mut raw = tempfile::tempfile().expect("temporary file");
            raw.write_all(&vec![3; before * CHUNK]).expect("written");
            let mut done = 0;
            write(&contents, &raw, |bytes| done += bytes).expect("written");
            assert_eq!(done, 42 * CHUNK as u64);
            let mut read = Vec::new();
            raw.rewind().and_then(|()| raw.read_to_end(&mut read)).expect("readable");
            assert!(read == want, "over {before} chunks");
            let allocated = raw.metadata().expect("metadata").blocks() * 512;
            assert!(allocated <= 20 * CHUNK as u64, "{allocated} over {before} chunks");
        }
    }
}
