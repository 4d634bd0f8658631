//! Makes a segment of its record, and of the old file if it is a patch.

use zstd::zstd_safe::DCtx;

use super::record::{self, Record};
use super::{BLOCK, Index, PayloadError, ReadAt};

/// Makes segments. It keeps its dictionary's memory from one to the next, at most
/// [`super::MAX_DICTIONARY`] bytes; what it makes goes into memory of the caller.
#[derive(Debug, Default)]
pub struct Decoder {
    dictionary: Vec<u8>,
}

impl Decoder {
    /// A decoder that has no memory yet.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Makes a segment of its record in a pack of frames. Record and result are checked against
    /// the index; `out` has exactly the length of the segment, and what is in it means nothing
    /// if this fails.
    pub fn frame(
        &mut self,
        index: &Index,
        segment: usize,
        record: &[u8],
        out: &mut [u8],
    ) -> Result<(), PayloadError> {
        check(index, segment, record, out)?;
        inflate(record, &[], out).map_err(|reason| PayloadError::Record { segment, reason })?;
        index.check_segment(segment, out)
    }

    /// Makes a segment of its record in a patch and of the old file, like [`Self::frame`].
    pub fn patch(
        &mut self,
        index: &Index,
        segment: usize,
        record: &[u8],
        old: &(impl ReadAt + ?Sized),
        out: &mut [u8],
    ) -> Result<(), PayloadError> {
        check(index, segment, record, out)?;
        let (old_size, _) = index.old().ok_or_else(|| PayloadError::Record {
            segment,
            reason: "it is in a pack of frames".to_owned(),
        })?;
        let record = record::parse(record, out.len(), old_size)
            .map_err(|reason| PayloadError::Record { segment, reason })?;
        self.apply(segment, &record, old, old_size, out)?;
        index.check_segment(segment, out)
    }

    /// Makes a segment of a record that is in no pack yet; who makes packs tries each.
    #[cfg(feature = "publisher")]
    pub(crate) fn try_patch(
        &mut self,
        segment: usize,
        record: &[u8],
        old: &(impl ReadAt + ?Sized),
        old_size: u64,
        out: &mut [u8],
    ) -> Result<(), PayloadError> {
        let record = record::parse(record, out.len(), old_size)
            .map_err(|reason| PayloadError::Record { segment, reason })?;
        self.apply(segment, &record, old, old_size, out)
    }

    fn apply(
        &mut self,
        segment: usize,
        record: &Record<'_>,
        old: &(impl ReadAt + ?Sized),
        old_size: u64,
        out: &mut [u8],
    ) -> Result<(), PayloadError> {
        let unread = |source| PayloadError::Old { segment, source };
        self.dictionary.clear();
        // Grown step by step it would have twice the memory that it needs.
        let blocks: u64 = record.dictionary.iter().map(|run| run.count).sum();
        self.dictionary.reserve_exact(blocks as usize * BLOCK);
        for run in &record.dictionary {
            let start = run.start * BLOCK as u64;
            let end = old_size.min(start + run.count * BLOCK as u64);
            let at = self.dictionary.len();
            // The record was refused if this were too much.
            self.dictionary.resize(at + (end - start) as usize, 0);
            old.read_exact_at(start, &mut self.dictionary[at..]).map_err(unread)?;
        }
        // What is not copied goes to the end first, and from there to its place: the copies
        // before it are never more than what lies between.
        let mut literal = out.len() - record.literal;
        inflate(record.frame, &self.dictionary, &mut out[literal..])
            .map_err(|reason| PayloadError::Record { segment, reason })?;
        let mut at = 0;
        for copy in &record.copies {
            let skipped = copy.skip as usize * BLOCK;
            out.copy_within(literal..literal + skipped, at);
            (at, literal) = (at + skipped, literal + skipped);
            let length = copy.source.count as usize * BLOCK;
            let source = copy.source.start * BLOCK as u64;
            old.read_exact_at(source, &mut out[at..at + length]).map_err(unread)?;
            at += length;
        }
        Ok(())
    }
}

fn check(index: &Index, segment: usize, record: &[u8], out: &[u8]) -> Result<(), PayloadError> {
    let place = index.segment(segment)?.place;
    if out.len() as u64 != place.end - place.start {
        let reason = "the memory for it has another length".to_owned();
        return Err(PayloadError::Record { segment, reason });
    }
    index.check_record(segment, record)
}

/// Decompresses one frame, with a dictionary of plain bytes, to exactly `out`. In one go there is
/// no window, so the frame cannot ask for memory.
fn inflate(frame: &[u8], dictionary: &[u8], out: &mut [u8]) -> Result<(), String> {
    if out.is_empty() {
        return Ok(());
    }
    let told = |code| zstd::zstd_safe::get_error_name(code).to_owned();
    let mut context = DCtx::create();
    if !dictionary.is_empty() {
        context.ref_prefix(dictionary).map_err(told)?;
    }
    match context.decompress(out, frame).map_err(told)? {
        length if length == out.len() => Ok(()),
        length => Err(format!("its frame has {length} bytes, not {}", out.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::write_varint;
    use super::super::{Entry, SEGMENT};
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};
    use zstd::zstd_safe::CCtx;

    /// A pack of one segment, with this record for it.
    fn index(record: &[u8], segment: &[u8], old: Option<u64>) -> Index {
        let entry = Entry {
            length: record.len() as u32,
            record: Sha256::digest(record).into(),
            segment: Sha256::digest(segment).into(),
        };
        let old = old.map(|size| (size, [1; 32]));
        Index::new(segment.len() as u64, old, vec![entry]).unwrap()
    }

    fn deflate(bytes: &[u8], dictionary: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()));
        let mut context = CCtx::create();
        if !dictionary.is_empty() {
            context.ref_prefix(dictionary).unwrap();
        }
        context.compress2(&mut out, bytes).unwrap();
        out
    }

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(step).collect()
    }

    /// Old blocks 0 1 2 3 → new: changed 0, 2, 3, changed 1, and a tail.
    fn example() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let old = noise(4 * BLOCK + 100, 1);
        let mut changed = [&old[..BLOCK], &old[BLOCK..2 * BLOCK], b"tail"].concat();
        changed[10] ^= 1;
        let new =
            [&changed[..BLOCK], &old[2 * BLOCK..4 * BLOCK], &changed[BLOCK..2 * BLOCK], b"tail"]
                .concat();
        let mut record = Vec::new();
        // One copy: after one block, old 2..4. Dictionary: the last, partial block, then 0..2.
        for number in [1, 1, 4, 2, 2, 8, 1, 9, 2] {
            write_varint(&mut record, number);
        }
        let dictionary = [&old[4 * BLOCK..], &old[..2 * BLOCK]].concat();
        record.extend(deflate(&changed, &dictionary));
        (old, new, record)
    }

    #[test]
    fn a_patch_makes_the_new_of_the_old() {
        let (old, new, record) = example();
        assert!(record.len() < 200, "{}", record.len());
        let index = index(&record, &new, Some(old.len() as u64));
        let mut out = vec![0; new.len()];
        let mut decoder = Decoder::new();
        decoder.patch(&index, 0, &record, &old[..], &mut out).unwrap();
        assert_eq!(out, new);
        // Again: nothing is left over from the first time.
        decoder.patch(&index, 0, &record, &old[..], &mut out).unwrap();
        assert_eq!(out, new);
    }

    #[test]
    fn what_is_not_signed_or_does_not_fit_is_an_error() {
        let (old, new, record) = example();
        let index = index(&record, &new, Some(old.len() as u64));
        let mut out = vec![0; new.len()];
        let mut decoder = Decoder::new();
        let mut changed = record.clone();
        changed[3] ^= 1;
        let error = decoder.patch(&index, 0, &changed, &old[..], &mut out).unwrap_err();
        assert!(matches!(error, PayloadError::RecordHash { segment: 0 }), "{error}");
        let mut rotten = old.clone();
        rotten[2 * BLOCK] ^= 1;
        let error = decoder.patch(&index, 0, &record, &rotten[..], &mut out).unwrap_err();
        assert!(matches!(error, PayloadError::SegmentHash { .. }), "{error}");
        let error = decoder.patch(&index, 0, &record, &old[..BLOCK], &mut out).unwrap_err();
        assert!(matches!(error, PayloadError::Old { .. }), "{error}");
        let error = decoder.patch(&index, 0, &record, &old[..], &mut out[1..]).unwrap_err();
        assert!(error.to_string().contains("another length"), "{error}");
        let error = decoder.frame(&index, 0, &record, &mut out).unwrap_err();
        assert!(matches!(error, PayloadError::Record { .. }), "{error}");
    }

    #[test]
    fn frames_are_decoded_and_bombs_are_not() {
        let new = noise(BLOCK + 5, 2);
        let mut out = vec![0; new.len()];
        let mut decoder = Decoder::new();
        let frame = deflate(&new, &[]);
        decoder.frame(&index(&frame, &new, None), 0, &frame, &mut out).unwrap();
        assert_eq!(out, new);
        let bomb = deflate(&vec![0; 64 << 20], &[]);
        let error = decoder.frame(&index(&bomb, &new, None), 0, &bomb, &mut out).unwrap_err();
        assert!(matches!(error, PayloadError::Record { .. }), "{error}");
        let short = deflate(&new[1..], &[]);
        let error = decoder.frame(&index(&short, &new, None), 0, &short, &mut out).unwrap_err();
        assert!(error.to_string().contains("4100 bytes, not 4101"), "{error}");
        let cut = &frame[..frame.len() - 1];
        assert!(decoder.frame(&index(cut, &new, None), 0, cut, &mut out).is_err());
        let error = decoder.patch(&index(cut, &new, None), 0, cut, &new[..], &mut out);
        assert!(error.unwrap_err().to_string().contains("a pack of frames"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Even a signed record that is rubbish only fails.
        #[test]
        fn a_signed_record_of_rubbish_is_an_error(
            at in 0usize..60, byte: u8, cut in 0usize..80,
        ) {
            let (old, new, mut record) = example();
            let at = at.min(record.len() - 1);
            prop_assume!(record[at] != byte);
            record[at] = byte;
            record.truncate(record.len() - cut.min(record.len() - 1));
            let index = index(&record, &new, Some(old.len() as u64));
            let mut out = vec![0; new.len()];
            let done = Decoder::new().patch(&index, 0, &record, &old[..], &mut out);
            prop_assert!(done.is_err() || out == new);
        }
    }

    #[test]
    fn a_whole_segment_of_copies_has_no_frame() {
        let old = noise(SEGMENT, 3);
        let mut record = Vec::new();
        for number in [1, 0, 0, 1024, 0] {
            write_varint(&mut record, number);
        }
        let index = index(&record, &old, Some(old.len() as u64));
        let mut out = vec![0; SEGMENT];
        Decoder::new().patch(&index, 0, &record, &old[..], &mut out).unwrap();
        assert_eq!(out, old);
    }
}
