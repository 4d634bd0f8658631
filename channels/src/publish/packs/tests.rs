//! Packs made here and taken apart by what machines use.

use std::io::Read;
use std::process::Command;

use super::*;
use crate::payload::Decoder;

const TWO: NonZero<usize> = NonZero::new(2).unwrap();

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

fn image(bytes: &[u8], part: Part) -> Image {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Image::open(file, part).unwrap()
}

fn bytes_of(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn made(make: impl FnOnce(&mut File) -> io::Result<Packed>) -> (Index, Vec<u8>) {
    let mut file = tempfile::tempfile().unwrap();
    let index = make(&mut file).unwrap().index;
    let bytes = bytes_of(file);
    assert_eq!(bytes.len() as u64, index.pack_size());
    let info = index.info();
    let read = Index::parse(&bytes[..info.length as usize], &info).unwrap();
    assert_eq!(read, index);
    (index, bytes)
}

/// Takes a pack apart as a machine does.
fn unpacked(index: &Index, pack: &[u8], old: Option<&[u8]>) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut decoder = Decoder::new();
    for number in 0..index.len() {
        let segment = index.segment(number).unwrap();
        let record = &pack[segment.record.start as usize..segment.record.end as usize];
        let mut out = vec![0; (segment.place.end - segment.place.start) as usize];
        match old {
            Some(old) => decoder.patch(index, number, record, old, &mut out).unwrap(),
            None => decoder.frame(index, number, record, &mut out).unwrap(),
        }
        whole.extend(out);
    }
    whole
}

#[test]
fn frames_make_the_part_and_so_does_zstd() {
    for length in [1, SEGMENT, SEGMENT + 777] {
        let bytes: Vec<u8> = noise(100_000, 5).into_iter().cycle().take(length).collect();
        let new = image(&bytes, Part::Root);
        let (index, pack) = made(|out| frames(&new, TWO, out));
        assert_eq!(unpacked(&index, &pack, None), bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &pack).unwrap();
        let output = Command::new("zstd").arg("-dc").arg(file.path()).output();
        let output = output.expect("zstd, of the package zstd");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == bytes, "zstd made something else of {length} bytes");
    }
}

#[test]
fn a_patch_is_small_and_the_same_on_any_number_of_cores() {
    let old = noise(SEGMENT + 60_000, 7);
    // Something put in moves all behind it by bytes; then come blocks that the old part has.
    let mut new = old.clone();
    new.splice(SEGMENT - 30_000..SEGMENT - 30_000, noise(999, 8));
    new.resize(new.len().next_multiple_of(4096), 0);
    new.extend(&old[4096..40 * 4096]);
    new.extend(noise(100, 9));
    let (old_image, new_image) = (image(&old, Part::Root), image(&new, Part::Root));
    let make = |threads| {
        made(|out| patch(&old_image, [3; 32], &new_image, NonZero::new(threads).unwrap(), out))
    };
    let (index, pack) = make(2);
    assert_eq!(index.old(), Some((old.len() as u64, [3; 32])));
    assert_eq!(unpacked(&index, &pack, Some(&old)), new);
    assert!(pack.len() < 6000, "{}", pack.len());
    assert_eq!(make(1).1, pack);
}

#[test]
fn parts_with_nothing_in_common_make_a_patch_as_well() {
    let (old, new) = (noise(5000, 1), noise(SEGMENT / 2 + 1, 2));
    let (index, pack) =
        made(|out| patch(&image(&old, Part::Uki), [0; 32], &image(&new, Part::Uki), TWO, out));
    assert_eq!(unpacked(&index, &pack, Some(&old)), new);
    assert!(pack.len() < new.len() + 1000, "{}", pack.len());
    let (index, pack) =
        made(|out| patch(&image(&new, Part::Uki), [0; 32], &image(&old, Part::Uki), TWO, out));
    assert_eq!(unpacked(&index, &pack, Some(&new)), old);
}
