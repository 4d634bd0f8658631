//! Damaged discs: whatever is on them, an operation ends, and takes no more
//! memory than the disc has bytes.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::sync::LazyLock;

use crate::discs::{self, Names, USER_DATA, fat, iso};
use disk::disc::{self, Disc, DiscError};
use proptest::prelude::*;
use proptest::sample::Index;

const LIMIT: u64 = 1024 * 1024;

/// The most that any operation may read: its allowance, and the length of a
/// file of [`LIMIT`] bytes twice.
const MOST_READ: u64 = 34 * 1024 * 1024;
/// The most that may be allocated at once: a file of [`LIMIT`] bytes, grown by
/// doubling.
const MOST_ALLOCATED: usize = 2 * LIMIT as usize + 128 * 1024;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// Remembers the largest piece of memory that a thread asked for.
struct Watching;

// SAFETY: hands everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// A disc with some bytes changed and its end cut off, which counts what is
/// read of it.
#[derive(Clone)]
struct Damaged<'a> {
    sound: &'a [u8],
    changes: BTreeMap<usize, u8>,
    length: usize,
    position: usize,
    read: Rc<Cell<u64>>,
}

impl<'a> Damaged<'a> {
    fn new(sound: &'a [u8]) -> Self {
        let (changes, read) = (BTreeMap::new(), Rc::default());
        Damaged { sound, changes, length: sound.len(), position: 0, read }
    }

    fn change(&mut self, at: usize, bytes: &[u8]) {
        self.changes.extend((at..).zip(bytes.iter().copied()));
    }
}

impl Read for Damaged<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let rest = &self.sound[self.position.min(self.length)..self.length];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        for (&at, &byte) in self.changes.range(self.position..self.position + count) {
            out[at - self.position] = byte;
        }
        self.position += count;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

impl Seek for Damaged<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(at) => at as usize,
            SeekFrom::End(by) => self.length.saturating_add_signed(by as isize),
            SeekFrom::Current(by) => self.position.saturating_add_signed(by as isize),
        };
        Ok(self.position as u64)
    }
}

/// Does everything that can be done with a disc, and checks what it costs.
/// Gives what was read where the user data should be.
fn exercise(damaged: &Damaged) -> Result<Option<Vec<u8>>, DiscError> {
    LARGEST.set(0);
    let within_bounds = |what: &str| {
        let read = damaged.read.take();
        assert!(read <= MOST_READ, "{what} read {read} bytes");
        let largest = LARGEST.get();
        assert!(largest <= MOST_ALLOCATED, "{what} allocated {largest} bytes");
    };
    let opened = disc::open(damaged.clone());
    within_bounds("open");
    let mut disc: Disc<_> = opened?;
    let listed = disc.list();
    within_bounds("list");
    let mut paths = vec!["user-data".to_string(), "meta-data".to_string(), "loop".to_string()];
    paths.extend(listed.into_iter().flatten().map(|(path, _)| path).take(40));
    for path in paths {
        if let Ok(Some(contents)) = disc.read(&path, LIMIT) {
            assert!(contents.len() as u64 <= LIMIT, "{path}");
        }
        within_bounds("read");
    }
    let contents = disc.read("openstack/latest/user_data", LIMIT);
    within_bounds("read");
    contents
}

/// A disc before it is damaged.
struct Sound {
    name: &'static str,
    bytes: Vec<u8>,
    /// The bytes that are not zero.
    places: Vec<usize>,
}

const PLAIN_ISO: usize = 3;
const FAT12: usize = 4;

/// One disc of each kind.
static DISCS: LazyLock<Vec<Sound>> = LazyLock::new(|| {
    let plain = tempfile::tempdir().unwrap();
    discs::config_drive(plain.path());
    let rich = tempfile::tempdir().unwrap();
    discs::config_drive(rich.path());
    discs::rock_ridge_extras(rich.path());
    [
        ("Rock Ridge and Joliet", iso(rich.path(), "config-2", Names::RockRidgeAndJoliet)),
        ("Rock Ridge", iso(rich.path(), "config-2", Names::RockRidge)),
        ("Joliet", iso(plain.path(), "config-2", Names::Joliet)),
        ("plain", iso(plain.path(), "config-2", Names::PlainShort)),
        ("FAT12", fat(plain.path(), "CONFIG-2", "12", 360)),
        ("FAT16", fat(plain.path(), "CONFIG-2", "16", 4400)),
        ("FAT32", fat(plain.path(), "CONFIG-2", "32", 34 * 1024)),
    ]
    .into_iter()
    .map(|(name, bytes)| {
        let places = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
        Sound { name, bytes, places }
    })
    .collect()
});

#[test]
fn sound_discs_stay_within_the_bounds_by_far() {
    for Sound { name, bytes, .. } in DISCS.iter() {
        let sound = Damaged::new(bytes);
        assert_eq!(exercise(&sound).unwrap().unwrap(), USER_DATA, "{name}");
        sound.read.take();
        let mut disc = disc::open(sound.clone()).unwrap();
        disc.list().unwrap();
        let read = sound.read.take();
        assert!(read < MOST_READ / 30, "{name}: {read} bytes to open and list");
    }
}

#[test]
fn a_truncated_disc_never_gives_half_a_file() {
    for Sound { name, bytes, places } in DISCS.iter() {
        let used = places.last().unwrap() + 1;
        for length in (0..60).map(|step| used * step / 60).chain([used - 1, used / 2 + 7]) {
            let mut truncated = Damaged::new(bytes);
            truncated.length = length;
            if let Ok(Some(contents)) = exercise(&truncated) {
                assert_eq!(contents, USER_DATA, "{name} cut to {length} bytes");
            }
        }
    }
}

/// Where `needle` begins on a disc, every time it does.
fn places_of(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    let first = |&(_, &byte): &(usize, &u8)| byte == needle[0];
    let candidates = bytes.iter().enumerate().filter(first).map(|(at, _)| at);
    candidates.filter(|&at| bytes[at..].starts_with(needle)).collect()
}

/// A number as ISO 9660 stores it: in both byte orders.
fn both(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Where an ISO 9660 directory record begins, by the name in it.
fn records(bytes: &[u8], name: &[u8]) -> Vec<usize> {
    let mut needle = vec![name.len() as u8];
    needle.extend(name);
    places_of(bytes, &needle).into_iter().map(|at| at - 32).collect()
}

#[test]
fn a_length_that_no_disc_holds_costs_no_memory() {
    let iso = &DISCS[PLAIN_ISO].bytes;
    let fat = &DISCS[FAT12].bytes;
    let mut long_on_iso = Damaged::new(iso);
    let record = records(iso, b"USER_DAT.;1")[0];
    long_on_iso.change(record + 10, &both(2 << 30));
    let mut long_on_fat = Damaged::new(fat);
    let entry = places_of(fat, b"USER_D~1")[0];
    long_on_fat.change(entry + 28, &(2u32 << 30).to_le_bytes());
    for damaged in [long_on_iso, long_on_fat] {
        let error = exercise(&damaged).unwrap_err();
        assert!(matches!(error, DiscError::TooLarge { size: 0x8000_0000, .. }), "{error}");
        LARGEST.set(0);
        let mut disc = disc::open(damaged).unwrap();
        let error = disc.read("openstack/latest/user_data", u64::MAX).unwrap_err();
        assert!(matches!(error, DiscError::Damaged { .. }), "{error}");
        assert!(LARGEST.get() <= 2 * iso.len(), "{} bytes", LARGEST.get());
    }
}

#[test]
fn a_directory_that_contains_itself_is_listed_once() {
    let iso = &DISCS[PLAIN_ISO].bytes;
    let root = u32::from_le_bytes(iso[32768 + 158..][..4].try_into().unwrap());
    let mut looped = Damaged::new(iso);
    for record in records(iso, b"LATEST") {
        looped.change(record + 2, &both(root));
    }
    let files = disc::open(looped.clone()).unwrap().list().unwrap();
    assert_eq!(files.len(), 20);
    assert_eq!(exercise(&looped).unwrap(), None);

    let fat = &DISCS[FAT12].bytes;
    let openstack = places_of(fat, b"OPENST~1")[0];
    let cluster = u16::from_le_bytes([fat[openstack + 26], fat[openstack + 27]]);
    let latest = places_of(fat, b"LATEST  ")[0];
    let mut looped = Damaged::new(fat);
    looped.change(latest + 26, &cluster.to_le_bytes());
    let files = disc::open(looped.clone()).unwrap().list().unwrap();
    assert_eq!(files.len(), 20);
    assert_eq!(exercise(&looped).unwrap(), None);
}

#[test]
fn a_disc_made_to_waste_time_uses_up_its_allowance() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..4000 {
        std::fs::write(directory.path().join(format!("F{number}")), "").unwrap();
    }
    let bytes = iso(directory.path(), "config-2", Names::PlainShort);
    let mut versions = Damaged::new(&bytes);
    // With more than one version of a file, every name is looked for among all.
    for record in places_of(&bytes, b".;1") {
        versions.change(record + 2, b"2");
    }
    let mut disc = disc::open(versions.clone()).unwrap();
    versions.read.take();
    assert!(matches!(disc.list(), Err(DiscError::Excessive)));
    assert!(versions.read.get() <= MOST_READ);
}

#[test]
fn garbage_after_a_sound_start_is_not_taken_for_files() {
    for Sound { name, bytes, .. } in DISCS.iter() {
        let start = if bytes[32769..32774] == *b"CD001" { 18 * 2048 } else { 512 };
        let mut garbage = bytes[..start].to_vec();
        garbage.extend((start..bytes.len()).map(|at| (at * at / 3 + at) as u8));
        let mut result = disc::open(Cursor::new(&garbage)).map(|mut disc| disc.list());
        if let Ok(Ok(files)) = &mut result {
            files.retain(|(path, _)| path.contains("user_data"));
            assert!(files.is_empty(), "{name}: {files:?}");
        }
    }
}

/// A change that is likelier to hurt than one of a single bit.
fn changes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![0u16, 1, 2, 512, 2048, 0x7fff, 0x8000, 0xfff7, 0xffff])
            .prop_map(|number| number.to_le_bytes().to_vec()),
        prop::sample::select(vec![0u32, 1, 2, 16, 18, 19, 0x0fff_fff7, 0x7fff_ffff, u32::MAX])
            .prop_map(|number| number.to_le_bytes().to_vec()),
        prop::sample::select(vec![0u32, 1, 2, 16, 18, 19, 2048, 0x7fff_ffff, u32::MAX])
            .prop_map(|number| both(number).to_vec()),
        prop::collection::vec(any::<u8>(), 1..64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn random_damage_is_survived(
        kind: Index,
        damage in prop::collection::vec((any::<Index>(), 0usize..16, changes()), 1..24),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let Sound { bytes, places, .. } = kind.get(&DISCS);
        let mut damaged = Damaged::new(bytes);
        for (place, beside, change) in damage {
            damaged.change(place.get(places) + beside, &change);
        }
        if let Some(cut) = cut {
            damaged.length = cut.index(bytes.len());
        }
        let _ = exercise(&damaged);
    }
}
