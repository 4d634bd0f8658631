//! One segment → its record.

use std::io;
use std::ops::Range;

use zstd::zstd_safe::{CCtx, CParameter, Strategy, compress_bound, get_error_name};

use super::Image;
use super::copies::{Copy, OldBlocks};
use super::dictionary;
use super::extents::predecessors;
use crate::payload::{BLOCK, MAX_RECORD, ReadAt, SEGMENT, write_varint};

/// The window that has room for dictionary and segment: 16 MiB.
const WINDOW_LOG: u32 = 24;
/// How hard frames are compressed. Beyond this, minutes of the publisher's time save a percent.
const FRAME_LEVEL: i32 = 15;

/// What all segments of a patch have in common.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    pub(super) old: &'a Image,
    pub(super) new: &'a Image,
    pub(super) blocks: OldBlocks,
    /// The old extent of each new one.
    pub(super) before: Vec<Option<usize>>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(old: &'a Image, new: &'a Image, blocks: OldBlocks) -> Encoder<'a> {
        let before = predecessors(&old.extents, &new.extents);
        Encoder { old, new, blocks, before }
    }

    /// The record of a segment with these bytes.
    pub(super) fn record(&self, segment: usize, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let start = segment as u64 * SEGMENT as u64;
        let copies = self.blocks.copies(bytes, |at| self.likely(start + at * BLOCK as u64));
        let literals = literals(&copies, bytes.len());
        let mut record = Vec::new();
        write_varint(&mut record, copies.len() as u64);
        let (mut at, mut expected) = (0, 0);
        for copy in &copies {
            write_varint(&mut record, copy.at - at);
            write_run(&mut record, &mut expected, copy.source..copy.source + copy.count);
            at = copy.at + copy.count;
        }
        if literals.is_empty() {
            write_varint(&mut record, 0);
            return Ok(record);
        }
        let mut content = Vec::new();
        literals.iter().for_each(|range| content.extend(&bytes[range.clone()]));
        let places: Vec<_> = literals
            .iter()
            .map(|range| start + range.start as u64..start + range.end as u64)
            .collect();
        let runs = dictionary::choose(&places, &self.old.extents, &self.new.extents, &self.before);
        let dictionary = self.read(&runs)?;
        // What is compressed already, such as a kernel, gains nothing of a dictionary. A quick
        // look saves the long search for it, and machines the reading.
        let quick = compress(&content, &dictionary, Effort::Quick)?;
        let (runs, frame) = match quick.len() < content.len() / 8 * 7 {
            true => (runs, compress(&content, &dictionary, Effort::Thorough)?),
            false => (Vec::new(), frame(&content)?),
        };
        write_varint(&mut record, runs.len() as u64);
        let mut expected = 0;
        runs.into_iter().for_each(|run| write_run(&mut record, &mut expected, run));
        record.extend(frame);
        if record.len() > MAX_RECORD {
            return Err(io::Error::other("a record would be longer than the format allows"));
        }
        Ok(record)
    }

    /// The old block that the file before has where a file of the new image has this one.
    fn likely(&self, place: u64) -> Option<u64> {
        let extents = &self.new.extents;
        let index = extents.partition_point(|extent| extent.end() <= place);
        let extent = extents.get(index).filter(|extent| extent.start <= place)?;
        let old = &self.old.extents[self.before[index]?];
        Some((old.start + (place - extent.start)) / BLOCK as u64)
    }

    /// The bytes of some runs of old blocks.
    fn read(&self, runs: &[Range<u64>]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for run in runs {
            let start = run.start * BLOCK as u64;
            let end = self.old.size.min(run.end * BLOCK as u64);
            let at = bytes.len();
            bytes.resize(at + (end - start) as usize, 0);
            self.old.file.read_exact_at(start, &mut bytes[at..])?;
        }
        Ok(bytes)
    }
}

/// What is not copied, in bytes of the segment.
fn literals(copies: &[Copy], length: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for copy in copies {
        let start = copy.at as usize * BLOCK;
        found.push(at..start);
        at = start + copy.count as usize * BLOCK;
    }
    found.push(at..length);
    found.retain(|range| !range.is_empty());
    found
}

/// Appends a run as it is told by where the one before ended.
fn write_run(record: &mut Vec<u8>, expected: &mut u64, run: Range<u64>) {
    let distance = run.start as i64 - *expected as i64;
    // The lowest bit is the sign.
    write_varint(record, ((distance << 1) ^ (distance >> 63)) as u64);
    write_varint(record, run.end - run.start);
    *expected = run.end;
}

/// A segment as one frame without a dictionary.
pub(super) fn frame(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(FRAME_LEVEL)).map_err(told)?;
    finish(&mut context, bytes)
}

/// How long the compressor searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    Quick,
    Thorough,
}

/// Compresses with a dictionary of plain bytes.
fn compress(bytes: &[u8], dictionary: &[u8], effort: Effort) -> io::Result<Vec<u8>> {
    let mut context = CCtx::create();
    let quick: &[CParameter] = &[
        CParameter::CompressionLevel(3),
        CParameter::WindowLog(WINDOW_LOG),
        // Room for every place of the dictionary: it is forgotten otherwise.
        CParameter::ChainLog(23),
        CParameter::HashLog(23),
    ];
    let thorough: &[CParameter] = &[
        CParameter::CompressionLevel(19),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ChainLog(WINDOW_LOG),
        CParameter::HashLog(22),
        CParameter::SearchLog(9),
        CParameter::MinMatch(3),
        CParameter::TargetLength(999),
        CParameter::Strategy(Strategy::ZSTD_btultra2),
    ];
    for parameter in if effort == Effort::Quick { quick } else { thorough } {
        context.set_parameter(*parameter).map_err(told)?;
    }
    if !dictionary.is_empty() {
        context.ref_prefix(dictionary).map_err(told)?;
    }
    finish(&mut context, bytes)
}

fn finish(context: &mut CCtx<'_>, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(compress_bound(bytes.len()));
    context.compress2(&mut frame, bytes).map_err(told)?;
    frame.shrink_to_fit();
    Ok(frame)
}

fn told(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}
