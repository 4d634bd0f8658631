//! Which old blocks help to compress what is new in a segment: those of the files before, around
//! the same places, as many as there is room for.

use std::ops::Range;

use super::extents::Extent;
use crate::payload::{BLOCK, MAX_DICTIONARY};

const MOST: u64 = (MAX_DICTIONARY / BLOCK) as u64;

/// A part of an old file that a new part may be like: bytes of the old image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Like {
    /// The nearest bytes.
    near: Range<u64>,
    /// The whole old file.
    file: Range<u64>,
}

/// The runs of old blocks, in order and apart from each other, for these new bytes. `old` and
/// `new` are the extents of the images, `before` the old extent of each new one.
pub(super) fn choose(
    literals: &[Range<u64>],
    old: &[Extent],
    new: &[Extent],
    before: &[Option<usize>],
) -> Vec<Range<u64>> {
    let like = likes(literals, old, new, before);
    // The widest margin around the nearest bytes for which there is room.
    let (mut fits, mut too_wide) = (0, MAX_DICTIONARY as u64 + 1);
    if total(&blocks(&like, too_wide)) <= MOST {
        return blocks(&like, too_wide);
    }
    while too_wide - fits > BLOCK as u64 {
        let middle = fits.midpoint(too_wide);
        if total(&blocks(&like, middle)) <= MOST { fits = middle } else { too_wide = middle }
    }
    let mut runs = blocks(&like, fits);
    // Files that have shrunk may be too much even without a margin.
    let mut room = MOST;
    for run in &mut runs {
        run.end = run.end.min(run.start + room);
        room -= run.end - run.start;
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn total(runs: &[Range<u64>]) -> u64 {
    runs.iter().map(|run| run.end - run.start).sum()
}

fn likes(
    literals: &[Range<u64>],
    old: &[Extent],
    new: &[Extent],
    before: &[Option<usize>],
) -> Vec<Like> {
    let mut like = Vec::new();
    for literal in literals {
        let first = new.partition_point(|extent| extent.end() <= literal.start);
        let overlapping = new[first..].iter().zip(&before[first..]);
        for (extent, before) in overlapping.take_while(|(extent, _)| extent.start < literal.end) {
            let Some(old) = before.map(|index| &old[index]) else { continue };
            let part = literal.start.max(extent.start)..literal.end.min(extent.end());
            let place = |at: u64| {
                // Both where it would be if all before it were the same, and where it would be
                // if the file had grown evenly.
                let at = at - extent.start;
                let scaled = u128::from(at) * u128::from(old.length) / u128::from(extent.length);
                (at.min(old.length), scaled as u64)
            };
            let ((from, from_scaled), (to, to_scaled)) = (place(part.start), place(part.end));
            let near = from.min(from_scaled)..to.max(to_scaled);
            let near = old.start + near.start..old.start + near.end;
            like.push(Like { near, file: old.start..old.end() });
        }
    }
    like
}

/// The blocks of all these with a margin, in bytes, on both sides.
fn blocks(like: &[Like], margin: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = like
        .iter()
        .map(|Like { near, file }| {
            let start = near.start.saturating_sub(margin).max(file.start);
            let end = (near.end + margin).min(file.end);
            start / BLOCK as u64..end.div_ceil(BLOCK as u64)
        })
        .filter(|run| !run.is_empty())
        .collect();
    runs.sort_by_key(|run| run.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for run in runs {
        match merged.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => merged.push(run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::extents::predecessors;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn extents(files: &[(&str, u64)]) -> Vec<Extent> {
        let mut start = 0;
        let place = |&(name, length): &(&str, u64)| {
            let extent = Extent { name: name.to_owned(), start, length };
            start = extent.end().next_multiple_of(BLOCK as u64);
            extent
        };
        files.iter().map(place).collect()
    }

    fn chosen(literal: Range<u64>, old: &[Extent], new: &[Extent]) -> Vec<Range<u64>> {
        choose(&[literal], old, new, &predecessors(old, new))
    }

    #[test]
    fn small_files_are_taken_whole_and_large_ones_around_the_place() {
        let old = extents(&[("a", 5000), ("b", 100), ("c", 40 * MIB), ("d", 9)]);
        let new = extents(&[("b", 3000), ("new", 8000), ("a", 6000), ("c", 40 * MIB)]);
        let one = |run: Range<u64>| vec![run];
        assert_eq!(chosen(0..2000, &old, &new), one(2..3));
        assert_eq!(chosen(0..new[2].end(), &old, &new), one(0..3));
        assert!(chosen(new[1].start..new[1].end(), &old, &new).is_empty());
        let middle = new[3].start + 20 * MIB;
        let around = chosen(middle..middle + 4 * MIB, &old, &new);
        assert_eq!(around.len(), 1);
        assert!((MOST - 3..=MOST).contains(&total(&around)), "{around:?}");
        let centre = around[0].start.midpoint(around[0].end) * BLOCK as u64;
        assert!(centre.abs_diff(old[2].start + 22 * MIB) < MIB, "{around:?}");
    }

    #[test]
    fn never_more_than_there_is_room_for() {
        let old = extents(&[("a", 400 * MIB)]);
        let new = extents(&[("a", 4 * MIB)]);
        assert_eq!(total(&chosen(0..4 * MIB, &old, &new)), MOST);
        let pieces: Vec<_> = (0..500).map(|at| at * 8000..at * 8000 + 10).collect();
        let runs = choose(&pieces, &old, &new, &[Some(0)]);
        assert!(total(&runs) <= MOST && !runs.is_empty());
        assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}
