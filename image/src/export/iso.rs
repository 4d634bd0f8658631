//! The disc that installs the system: an EFI partition with one program on it, in an ISO 9660
//! volume that starts from a CD drive and from a USB stick.
//!
//! The installer is one UKI, so one signature covers all that runs and all that is installed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hadris_fat::{FatKind, FatOptions, VolumeLabel};
use hadris_fs::host;
use hadris_fs::{Content, Node, Tree};
use hadris_io::{Error as DeviceError, ErrorKind, ErrorType};
use hadris_iso::{AppendedPartition, BootEntry, ElTorito, Hybrid, IsoId, IsoOptions};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

use super::{Error, Source, create, installer, length};
use crate::make;
use crate::progress::{Progress, Size};
use crate::sparse::{CHUNK, Sparse};

/// Bytes of a sector of the disc.
const SECTOR: u32 = 2048;
/// The label, in the letters that ISO 9660 has.
const LABEL: &str = "COREOS_INSTALL";
/// Room for the tables of the EFI partition's file system.
const RESERVE: u64 = 4 << 20;
const README: &str =
    "This disc installs the system on a disk of the machine that starts from it.\n";

/// Writes the disc; `directory` is for what is needed meanwhile.
pub(super) fn write(
    source: &Source<'_>,
    path: &Path,
    directory: &Path,
    progress: &Progress,
) -> Result<(), Error> {
    let initrd = installer::make_initrd(source, progress)?;
    let uki = installer::make_uki(source, &initrd, progress)?;
    drop(initrd);
    let stage = progress.stage("iso");
    let esp_path = directory.join(".coreos.iso.esp");
    let file_system = |source| Error::FileSystem(source);
    let esp = file_system_of(&uki).map_err(file_system)?;
    let seed = seed(&uki);
    drop(uki);
    let written = save(&esp, &esp_path).map_err(|source| make::write_error(&esp_path, source));
    drop(esp);
    let done = written.map_err(Error::from).and_then(|()| {
        let mut tree = Tree::new();
        let readme = Node::file(Content::bytes(README));
        tree.insert("README.TXT", readme).map_err(file_system)?;
        let esp = host::file(&esp_path).map_err(file_system)?;
        // Of one sector: firmware then takes all up to the end of the volume, as an image of more
        // than 32 MiB cannot say its length.
        let entry = BootEntry::uefi_appended(0).with_load_size(1);
        let options = IsoOptions::new()
            .with_id(IsoId::Volume, LABEL)
            .with_id(IsoId::Application, "")
            .with_seed(seed)
            .with_el_torito(ElTorito::new().with_entry(entry))
            .with_hybrid(Hybrid::gpt().with_appended(AppendedPartition::esp(esp)));
        let size = hadris_iso::plan(&tree, &options).map_err(file_system)?.size();
        let file = create(path)?;
        file.set_len(size).map_err(|source| make::write_error(path, source))?;
        let mut disc = Disc { file, size };
        hadris_iso::sync::write(&mut disc, &tree, &options).map_err(file_system)?;
        stage.finish(&Size(length(&disc.file)).to_string());
        Ok(())
    });
    // Only the disc is wanted.
    let _ = fs::remove_file(&esp_path);
    done
}

/// What identifiers of the disc are made from.
fn seed(uki: &[u8]) -> u64 {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(uki);
    u64::from_be_bytes(*digest.first_chunk().expect("32 bytes"))
}

/// The EFI partition, with the one program that firmware looks for.
fn file_system_of(uki: &[u8]) -> Result<Sparse, hadris_fs::PathError> {
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(Content::bytes(uki)))?;
    // FAT32 wants 65 525 clusters at least.
    let size = (uki.len() as u64 + RESERVE).max(64 << 20).next_multiple_of(1 << 20);
    let label = VolumeLabel::new("INSTALL").expect("seven plain letters");
    let options =
        FatOptions::new().with_kind(FatKind::Fat32).with_label(label).with_seed(seed(uki));
    let mut disk = Sparse::new(size);
    hadris_fat::sync::write(&mut disk, &tree, &options)?;
    Ok(disk)
}

fn save(disk: &Sparse, path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(disk.size())?;
    for (number, bytes) in disk.chunks() {
        let offset = number * CHUNK as u64;
        let length = (disk.size() - offset).min(CHUNK as u64) as usize;
        file.write_all_at(&bytes[..length], offset)?;
    }
    Ok(())
}

/// A disc in a file.
struct Disc {
    file: File,
    size: u64,
}

impl ErrorType for Disc {
    type Error = io::Error;
}

impl BlockDevice for Disc {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(SECTOR).expect("not zero")
    }

    fn block_count(&self) -> u64 {
        self.size / u64::from(SECTOR)
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_blocks(
        &mut self,
        first: BlockIndex,
        buffer: &mut [u8],
    ) -> Result<(), DeviceError<io::Error>> {
        let read = self.file.read_exact_at(buffer, first.get() * u64::from(SECTOR));
        read.map_err(|error| DeviceError::device(error, "cannot read the disc"))
    }

    fn write_blocks(
        &mut self,
        first: BlockIndex,
        bytes: &[u8],
    ) -> Result<(), DeviceError<io::Error>> {
        let at = first.get() * u64::from(SECTOR);
        if at + bytes.len() as u64 > self.size {
            return Err(DeviceError::new(ErrorKind::NoSpace, "write past the end of the disc"));
        }
        let written = self.file.write_all_at(bytes, at);
        written.map_err(|error| DeviceError::device(error, "cannot write the disc"))
    }
}
