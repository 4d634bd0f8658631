//! A disk in memory that writes down everything that is done to it, and what is left of it after
//! a power cut.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use channels::payload::ReadAt;
use disk::entry::{Assessment, Entry};
use disk::gpt::Table;
use disk::layout::{self, Layout, Role, Sizes};
use disk::verity::{self, RootHash, Superblock};
use update_agent::device::{Device, Region};
use update_agent::esp::{Entries, Listed};
use update_agent::slots::Slots;

use super::Release;

const MIB: u64 = 1 << 20;

/// Something that was done.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Bytes were written; they may be lost until the next flush.
    Write(u64, Vec<u8>),
    /// What was written before is durable.
    Flush,
    /// A file was begun.
    Create(String),
    /// Bytes were added to a file; they may be lost until it is synced.
    Append(String, Vec<u8>),
    /// A file is durable.
    Sync(String),
    /// A file was renamed, durably.
    Rename(String, String),
    /// A file was removed, durably.
    Remove(String),
}

/// What is on a disk: its bytes, and the files beside the boot entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// A disk, and the log of what was done to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded(pub(crate) Arc<Mutex<(Content, Vec<Event>)>>);

pub(crate) fn sizes() -> Sizes {
    Sizes { esp: 34 * MIB, root: 8 * MIB, verity: MIB, state: MIB }
}

impl Recorded {
    /// A disk with a release in slot A that is known to be good.
    pub(crate) fn installed(release: &Release) -> Recorded {
        let layout = Layout::plan(&sizes(), b"seed", Some(&release.root_hash)).unwrap();
        let mut bytes = vec![0; layout.disk_size() as usize];
        let mut disk = Cursor::new(&mut bytes);
        Table::from_layout(&layout).unwrap().write(&mut disk).unwrap();
        for (role, content) in [
            (Role::Root(layout::Slot::A), &release.root),
            (Role::Verity(layout::Slot::A), &release.tree),
        ] {
            let at = layout.partition(role).offset() as usize;
            bytes[at..at + content.len()].copy_from_slice(content);
        }
        let name = format!("coreos_{}.efi", release.version);
        let files = BTreeMap::from([(name, release.uki.clone())]);
        Recorded::of(Content { bytes, files })
    }

    pub(crate) fn of(content: Content) -> Recorded {
        Recorded(Arc::new(Mutex::new((content, Vec::new()))))
    }

    pub(crate) fn content(&self) -> Content {
        self.0.lock().unwrap().0.clone()
    }

    pub(crate) fn log(&self) -> Vec<Event> {
        self.0.lock().unwrap().1.clone()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.0.lock().unwrap().0)
    }

    /// The slots, of which the one with `root` runs.
    pub(crate) fn slots(&self, root: &RootHash) -> Slots {
        let disk = Region::whole(Arc::new(self.clone()));
        let open = |_, place: Range<u64>, _| disk.part(place.start, place.end);
        Slots::find(&disk, root, &open).unwrap()
    }

    fn done(&self, event: Event) {
        let mut inner = self.0.lock().unwrap();
        apply(&mut inner.0, &event);
        inner.1.push(event);
    }
}

/// Does what was done.
pub(crate) fn apply(content: &mut Content, event: &Event) {
    match event {
        Event::Write(at, bytes) => {
            content.bytes[*at as usize..*at as usize + bytes.len()].copy_from_slice(bytes);
        }
        Event::Create(name) => drop(content.files.insert(name.clone(), Vec::new())),
        Event::Append(name, bytes) => {
            content.files.entry(name.clone()).or_default().extend(bytes);
        }
        Event::Rename(from, to) => {
            let file = content.files.remove(from).unwrap_or_default();
            content.files.insert(to.clone(), file);
        }
        Event::Remove(name) => drop(content.files.remove(name)),
        Event::Flush | Event::Sync(_) => {}
    }
}

impl Device for Recorded {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().0.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.0.lock().unwrap();
        let at = offset as usize;
        buffer.copy_from_slice(&inner.0.bytes[at..at + buffer.len()]);
        Ok(())
    }

    fn read_medium_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        assert_eq!(buffer.as_ptr().align_offset(4096), 0, "reads past the cache are aligned");
        self.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.done(Event::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.done(Event::Flush);
        Ok(())
    }
}

struct InMemory(Vec<u8>);

impl ReadAt for InMemory {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0[..].read_exact_at(offset, buffer)
    }
}

struct Appending<'a>(&'a Recorded, String);

impl Write for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.done(Event::Append(self.1.clone(), bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Entries for Recorded {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let inner = self.0.lock().unwrap();
        let files = inner.0.files.iter();
        Ok(files
            .map(|(name, file)| Listed { name: name.clone(), size: file.len() as u64 })
            .collect())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(32 * MIB)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Write + '_>> {
        self.done(Event::Create(name.to_owned()));
        Ok(Box::new(Appending(self, name.to_owned())))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.done(Event::Sync(name.to_owned()));
        Ok(())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let inner = self.0.lock().unwrap();
        let file = inner.0.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(file.clone())))
    }

    fn open_at(&self, name: &str) -> io::Result<Box<dyn ReadAt + '_>> {
        let inner = self.0.lock().unwrap();
        let file = inner.0.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(InMemory(file.clone())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.done(Event::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.done(Event::Remove(name.to_owned()));
        Ok(())
    }
}

/// Switches a machine on until something comes up or nothing will: the boot loader takes the
/// entry that it prefers and counts the try, the kernel wants every block to be what the root
/// hash of its boot entry says. Returns the version that came up. The blocks of the versions in
/// `whole` are known to be right.
pub(crate) fn boot(
    content: &Content,
    releases: &[&Release],
    whole: &[&str],
) -> Result<String, String> {
    let mut entries: Vec<_> =
        content.files.iter().filter_map(|(name, file)| Some((Entry::parse(name)?, file))).collect();
    for _ in 0..20 {
        entries.sort_by(|a, b| a.0.preference(&b.0));
        let Some((entry, file)) = entries.first_mut() else { return Err("no entry".into()) };
        if let Some(counted) = entry.after_try() {
            *entry = counted;
        } else if entry.assessment() == Assessment::Bad {
            return Err("every entry was given up".into());
        }
        match comes_up(content, file, releases, whole) {
            Ok(version) if version == entry.version.as_str() => return Ok(version),
            Ok(version) => return Err(format!("{entry} boots {version}")),
            Err(reason) if entry.tries.is_none() => {
                return Err(format!("{entry} is kept and does not boot: {reason}"));
            }
            Err(_) => {}
        }
    }
    Err("it never comes to an end".into())
}

/// Whether a boot entry's system is whole.
pub(crate) fn comes_up(
    content: &Content,
    uki: &[u8],
    releases: &[&Release],
    whole: &[&str],
) -> Result<String, String> {
    let release = releases.iter().find(|release| release.uki == uki).ok_or("half a kernel")?;
    let mut disk = Cursor::new(&content.bytes);
    let table = Table::read(&mut disk).map_err(|error| error.to_string())?;
    let slot = layout::slot_of(&table.partitions(), &release.root_hash).ok_or("no slot")?;
    if whole.contains(&&*release.version) {
        return Ok(release.version.clone());
    }
    let part = |role: Role| {
        let place = table.byte_range(&table.partition(role.number()).unwrap());
        &content.bytes[place.start as usize..place.end as usize]
    };
    let (root, tree) = (part(Role::Root(slot)), part(Role::Verity(slot)));
    let superblock = Superblock::read(&mut &tree[..]).map_err(|error| error.to_string())?;
    if !verity::check_tree(&superblock, &release.root_hash, &mut Cursor::new(tree))
        .map_err(|error| error.to_string())?
    {
        return Err("wrong tree".into());
    }
    if root[..release.root.len()] != release.root[..] {
        return Err("wrong blocks".into());
    }
    Ok(release.version.clone())
}
