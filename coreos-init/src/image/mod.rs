//! A machine's disk as a file, looked at without root and without a mount.
//!
//! ```text
//! image → partitions → the boot entry that would boot → the slot with its release
//!       → ImageRoot: that slot's EROFS, the state's ext4 over it, as a boot would lay them
//! ```
//!
//! Nothing is written, and nothing in an image is believed: rubbish gives an error that names
//! what is wrong. Of the root nothing is read that its verity tree does not answer for, as on the
//! machine. Only plain images are read; those of other formats are told by name.

mod root; // the root as a boot would lay it
mod state; // the writable file system

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use disk::disc::{self, DiscError};
use disk::entry::{Assessment, DIRECTORY, Entry};
use disk::erofs::ReadError;
use disk::gpt::{GptError, Partition, Table};
use disk::layout::{self, Role, Slot};
use disk::verity::{Checked, VerityError};
use disk::version::Version;
use disk::window::Window;

pub use root::ImageRoot;
pub use state::StateError;

use crate::apply::View;

/// A slot's root, with its tree.
type Protected = Checked<Window<Rc<File>>, Window<Rc<File>>>;

/// The most that a release's description has.
const OS_RELEASE_LIMIT: u64 = 64 << 10;

/// Formats of disk images that are not read, by what they begin with, and what makes them plain.
const FORMATS: [(&[u8], &str, &str); 7] = [
    (b"QFI\xfb", "a qcow2 image", "qemu-img convert -O raw"),
    (b"KDMV", "a VMDK image", "qemu-img convert -O raw"),
    (b"# Disk DescriptorFile", "the description of a VMDK image", "qemu-img convert -O raw"),
    (b"conectix", "a VHD image", "qemu-img convert -O raw"),
    (b"vhdxfile", "a VHDX image", "qemu-img convert -O raw"),
    (b"\x1f\x8b", "packed by gzip", "gzip -cd"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "zstd -d"),
];

/// Why an image cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImageError {
    /// The file itself.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It has to be unpacked first.
    #[error("{} is {format}; only plain (raw) disk images are read: use `{program}` first", path.display())]
    Format { path: PathBuf, format: &'static str, program: &'static str },
    /// No disk at all.
    #[error("{} is no disk image", path.display())]
    Table { path: PathBuf, source: GptError },
    /// A disk of something else.
    #[error("{} is no disk of this system: partition {number} is not its {label}", path.display())]
    Foreign { path: PathBuf, number: u32, label: &'static str },
    /// The boot entries.
    #[error("the ESP of {} cannot be read", path.display())]
    Esp { path: PathBuf, source: DiscError },
    /// Nothing would boot.
    #[error("{} would not boot: its ESP has no entry in {DIRECTORY}", path.display())]
    NoEntry { path: PathBuf },
    /// Every release was given up.
    #[error("{} would not boot: every release on it was tried in vain", path.display())]
    GivenUp { path: PathBuf },
    /// An entry without its root.
    #[error("{} would boot {entry}, but no slot holds that release (a: {a}, b: {b})", path.display())]
    NoSlot { path: PathBuf, entry: String, a: String, b: String },
    /// The root.
    #[error("slot {slot} of {} cannot be read", path.display())]
    Root { path: PathBuf, slot: Slot, source: ReadError },
    /// What the root is checked against.
    #[error("slot {slot} of {} cannot be checked", path.display())]
    Tree { path: PathBuf, slot: Slot, source: VerityError },
    /// The state.
    #[error("the state of {} cannot be read", path.display())]
    State { path: PathBuf, source: StateError },
}

/// A machine's disk.
#[derive(Debug)]
pub struct DiskImage {
    /// The slot that would boot.
    pub slot: Slot,
    /// The release in it.
    pub version: Version,
    /// Its root, the state laid over it.
    pub root: ImageRoot,
    /// The same root without the state.
    pub original: ImageRoot,
}

impl DiskImage {
    /// Opens the image of a disk and finds what it would boot.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open(path: &Path) -> Result<DiskImage, ImageError> {
        let read = |source| ImageError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        refuse_format(path, &mut file)?;
        let end = file.seek(SeekFrom::End(0)).map_err(read)?;
        let file = Rc::new(file);
        let table = Table::read(&mut Window::new(Rc::clone(&file), 0..end))
            .map_err(|source| ImageError::Table { path: path.to_owned(), source })?;
        let partitions = table.partitions();
        let window = |role: Role| {
            let partition = of_role(&partitions, role).ok_or_else(|| ImageError::Foreign {
                path: path.to_owned(),
                number: role.number(),
                label: role.label(),
            })?;
            Ok(Window::new(Rc::clone(&file), table.byte_range(partition)))
        };

        let entry = first_entry(path, window(Role::Esp)?)?;
        let mut slots = Vec::new();
        for slot in Slot::ALL {
            let held = match layout::root_hash(&partitions, slot) {
                Some(hash) => {
                    let (data, tree) = (window(Role::Root(slot))?, window(Role::Verity(slot))?);
                    let checked = Checked::new(data, tree, hash).map_err(|source| {
                        ImageError::Tree { path: path.to_owned(), slot, source }
                    })?;
                    Some(held(path, slot, checked)?)
                }
                None => None,
            };
            slots.push((slot, held));
        }
        let told = |wanted: Slot| {
            let held = slots.iter().find(|(slot, _)| *slot == wanted);
            let held = held.and_then(|(_, held)| held.as_ref());
            held.map_or("empty".to_owned(), |(version, _)| version.clone())
        };
        let (a, b) = (told(Slot::A), told(Slot::B));
        let booted = slots.into_iter().find_map(|(slot, held)| {
            let (version, root) = held?;
            (version.parse().ok().as_ref() == Some(&entry.version)).then_some((slot, root))
        });
        let (slot, original) = booted.ok_or_else(|| ImageError::NoSlot {
            path: path.to_owned(),
            entry: entry.to_string(),
            a,
            b,
        })?;
        let state = of_role(&partitions, Role::State);
        let fresh = state.is_some_and(|state| state.attributes & layout::FRESH != 0);
        let state = match fresh {
            true => None,
            false => state::open(window(Role::State)?)
                .map_err(|source| ImageError::State { path: path.to_owned(), source })?,
        };
        Ok(DiskImage { slot, version: entry.version, root: original.with(state), original })
    }

    /// Whether the machine has booted and has a state.
    pub fn has_state(&self) -> bool {
        self.root.has_state()
    }
}

fn of_role(partitions: &[Partition], role: Role) -> Option<&Partition> {
    partitions.iter().find(|partition| {
        partition.number == role.number() && partition.type_guid == role.type_guid()
    })
}

/// Names the format of an image that is not plain.
fn refuse_format(path: &Path, file: &mut File) -> Result<(), ImageError> {
    let mut beginning = Vec::new();
    let read = file.take(64).read_to_end(&mut beginning);
    read.map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    for (magic, format, program) in FORMATS {
        if beginning.starts_with(magic) {
            return Err(ImageError::Format { path: path.to_owned(), format, program });
        }
    }
    Ok(())
}

/// The entry that the boot loader would take.
fn first_entry(path: &Path, esp: Window<Rc<File>>) -> Result<Entry, ImageError> {
    let failed = |source| ImageError::Esp { path: path.to_owned(), source };
    let files = disc::open(esp).and_then(|mut volume| volume.list()).map_err(failed)?;
    let entries = files.iter().filter_map(|(file, _)| {
        let (directory, name) = file.rsplit_once('/')?;
        directory.eq_ignore_ascii_case(DIRECTORY).then(|| Entry::parse(name))?
    });
    match entries.min_by(Entry::preference) {
        None => Err(ImageError::NoEntry { path: path.to_owned() }),
        Some(entry) if entry.assessment() == Assessment::Bad => {
            Err(ImageError::GivenUp { path: path.to_owned() })
        }
        Some(entry) => Ok(entry),
    }
}

/// The release that a slot says it holds, as it is written there, and its root.
fn held(path: &Path, slot: Slot, checked: Protected) -> Result<(String, ImageRoot), ImageError> {
    let failed = |source| ImageError::Root { path: path.to_owned(), slot, source };
    let root = ImageRoot::open(checked).map_err(failed)?;
    let text = root.read("/usr/lib/os-release", OS_RELEASE_LIMIT);
    let text = text.map_err(|source| failed(ReadError::Io(source)))?;
    let text = text.map_or_else(String::new, |(bytes, _)| String::from_utf8_lossy(&bytes).into());
    let version = text.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="));
    let version = version.unwrap_or("no release").trim_matches(['"', '\'']).to_owned();
    Ok((version, root))
}
