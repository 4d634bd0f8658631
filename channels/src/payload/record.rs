//! The record of one segment in a patch: bytes → what is to be copied, what the dictionary is
//! made of, and the frame with the rest.

use super::{BLOCK, MAX_DICTIONARY};

/// Some blocks of the old file in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block.
    pub(super) start: u64,
    /// How many.
    pub(super) count: u64,
}

/// Old blocks that the new segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    /// Blocks of the segment before this copy, from the end of the copy before, that are in the
    /// frame.
    pub(super) skip: u64,
    /// The old blocks.
    pub(super) source: Run,
}

/// A record taken apart and found possible for the segment and the old file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) copies: Vec<Copy>,
    pub(super) dictionary: Vec<Run>,
    /// A zstd frame of all that is not copied, in order; empty if all is.
    pub(super) frame: &'a [u8],
    /// Bytes that the frame must have.
    pub(super) literal: usize,
}

/// Takes a record apart.
///
/// `length` is that of the segment and `old_size` that of the old file, in bytes.
pub(super) fn parse(record: &[u8], length: usize, old_size: u64) -> Result<Record<'_>, String> {
    let mut input = Input { rest: record };
    let blocks = length.div_ceil(BLOCK) as u64;
    let whole_blocks = (length / BLOCK) as u64;
    let old_whole = old_size / BLOCK as u64;
    let old_blocks = old_size.div_ceil(BLOCK as u64);

    let count = input.number()?;
    if count > blocks {
        return Err("more copies than blocks".to_owned());
    }
    let (mut copies, mut at, mut copied, mut expected) = (Vec::new(), 0_u64, 0, 0_u64);
    for _ in 0..count {
        let skip = input.number()?;
        let source = input.run(expected)?;
        at = at.checked_add(skip).and_then(|at| at.checked_add(source.count)).unwrap_or(u64::MAX);
        if at > whole_blocks {
            return Err("a copy beyond the segment".to_owned());
        }
        expected = source.within(old_whole)?;
        copied += source.count;
        copies.push(Copy { skip, source });
    }

    let count = input.number()?;
    let most = (MAX_DICTIONARY / BLOCK) as u64;
    if count > most {
        return Err("too many parts of a dictionary".to_owned());
    }
    let (mut dictionary, mut size, mut expected) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let run = input.run(expected)?;
        expected = run.within(old_blocks)?;
        size += run.count;
        if size > most {
            return Err("too large a dictionary".to_owned());
        }
        dictionary.push(run);
    }
    let literal = length - copied as usize * BLOCK;
    if (literal == 0) != input.rest.is_empty() {
        return Err("a frame for nothing, or none for something".to_owned());
    }
    Ok(Record { copies, dictionary, frame: input.rest, literal })
}

impl Run {
    /// Where the run ends, if it is not empty and within this many blocks.
    fn within(self, blocks: u64) -> Result<u64, String> {
        match self.start.checked_add(self.count) {
            Some(end) if self.count > 0 && end <= blocks => Ok(end),
            _ => Err("blocks that the old file does not have".to_owned()),
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    /// A number of seven bits a byte, the lowest first; the shortest form only.
    fn number(&mut self) -> Result<u64, String> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or("cut off")?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) || (byte == 0 && shift > 0) {
                return Err("a number that is too large or too long".to_owned());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// A run: how far it is from where the one before ended, and how long.
    fn run(&mut self, expected: u64) -> Result<Run, String> {
        let distance = self.number()?;
        // The lowest bit is the sign.
        let distance = (distance >> 1) as i64 ^ -((distance & 1) as i64);
        let start = expected.checked_add_signed(distance);
        let start = start.ok_or("blocks that the old file does not have")?;
        Ok(Run { start, count: self.number()? })
    }
}

/// Appends a number as [`Input::number`] reads it.
#[cfg(any(test, feature = "publisher"))]
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(numbers: &[u64], frame: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        numbers.iter().for_each(|&number| write_varint(&mut out, number));
        out.extend(frame);
        out
    }

    #[test]
    fn copies_and_dictionary_are_found() {
        // Two copies: old 5..7 to 1..3, old 4..5 (distance -3, written 5) to 3..4; old 0..1.
        let record = bytes(&[2, 1, 10, 2, 0, 5, 1, 1, 0, 1], b"frame");
        let parsed = parse(&record, 5 * BLOCK + 7, 8 * BLOCK as u64).unwrap();
        let copy = |skip, start, count| Copy { skip, source: Run { start, count } };
        assert_eq!(parsed.copies, [copy(1, 5, 2), copy(0, 4, 1)]);
        assert_eq!(parsed.dictionary, [Run { start: 0, count: 1 }]);
        assert_eq!((parsed.frame, parsed.literal), (&b"frame"[..], 2 * BLOCK + 7));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let frame = b"f";
        let cases: [(Vec<u8>, &str); 11] = [
            (vec![], "cut off"),
            (bytes(&[1, 0], b""), "cut off"),
            (bytes(&[3], b""), "more copies than blocks"),
            (bytes(&[1, 0, 0, 3, 0], b""), "beyond the segment"),
            (bytes(&[1, u64::MAX, 0, 3, 0], b""), "beyond the segment"),
            (bytes(&[1, 0, 16, 1, 0], frame), "does not have"),
            (bytes(&[1, 0, 1, 1, 0], frame), "does not have"),
            (bytes(&[1, 0, 0, 0, 0], frame), "does not have"),
            (bytes(&[0, 1, 0, 2049], frame), "does not have"),
            (bytes(&[0, 0], b""), "none for something"),
            (bytes(&[1, 0, 0, 2, 0], frame), "a frame for nothing"),
        ];
        for (record, message) in cases {
            let error = parse(&record, 2 * BLOCK, 8 * BLOCK as u64).unwrap_err();
            assert!(error.contains(message), "{record:?}: {error}");
        }
        let large = bytes(&[0, 1, 0, 2049], frame);
        assert!(parse(&large, 1, 1 << 40).unwrap_err().contains("too large a dictionary"));
        assert!(parse(&bytes(&[0, 5000], frame), 1, 1 << 40).unwrap_err().contains("too many"));
        for number in [&[0x80, 0][..], &[0xff; 11], &[0x80; 9]] {
            assert!(parse(number, BLOCK, 0).is_err());
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_an_error_or_possible(
            record in prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..60),
            length in 1..20 * BLOCK,
            old_size in 0..20 * BLOCK as u64,
        ) {
            if let Ok(record) = parse(&record, length, old_size) {
                let copied: u64 = record.copies.iter().map(|copy| copy.source.count).sum();
                prop_assert_eq!(record.literal + copied as usize * BLOCK, length);
                for Run { start, count } in record.copies.iter().map(|copy| copy.source) {
                    prop_assert!((start + count) * BLOCK as u64 <= old_size);
                }
            }
        }
    }
}
