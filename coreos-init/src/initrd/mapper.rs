//! The device mapper, as far as opening a verity device needs it: create, load, resume.
//!
//! Speaks the kernel's ioctl interface (`include/uapi/linux/dm-ioctl.h`, version 4.0.0, which
//! every later kernel accepts) on `/dev/mapper/control`.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::libc;

const CREATE: u32 = 3;
const SUSPEND_OR_RESUME: u32 = 6;
const LOAD_TABLE: u32 = 9;

const HEADER: usize = 312;
const TARGET: usize = 40;
const READ_ONLY: u32 = 1;

/// A single-target, read-only mapping.
#[derive(Debug)]
pub(super) struct Mapping<'a> {
    /// Name of the device, as under `/dev/mapper`.
    pub(super) name: &'a str,
    /// Its device-mapper UUID; tools find out from it what the device is for.
    pub(super) uuid: &'a str,
    /// Kind of target, such as `verity`.
    pub(super) target: &'a str,
    /// Length in sectors of 512 bytes.
    pub(super) sectors: u64,
    /// The target's parameters.
    pub(super) parameters: &'a str,
}

/// Creates the mapping and returns its node, `/dev/dm-N`.
///
/// # Errors
///
/// What the kernel answers to any of the three steps; the kernel log has its reason.
pub(super) fn create(mapping: &Mapping<'_>) -> io::Result<PathBuf> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/mapper/control")?;
    let mut request = Header { name: mapping.name, uuid: mapping.uuid, flags: 0 }.encode(HEADER);
    call(&control, CREATE, &mut request)?;
    let device = u64::from_ne_bytes(field(&request, 40));

    // From here on the device is known by its name alone: a request with both is refused.
    let named = Header { name: mapping.name, uuid: "", flags: READ_ONLY };
    call(&control, LOAD_TABLE, &mut named.encode_table(mapping))?;
    call(&control, SUSPEND_OR_RESUME, &mut Header { flags: 0, ..named }.encode(HEADER))?;

    let link = fs::read_link(format!("/sys/dev/block/{}:{}", major(device), minor(device)))?;
    let name = link.file_name().ok_or(io::ErrorKind::NotFound)?;
    Ok(PathBuf::from("/dev").join(name))
}

/// The kernel's `huge_encode_dev`.
fn major(device: u64) -> u64 {
    device >> 8 & 0xfff
}

fn minor(device: u64) -> u64 {
    device & 0xff | device >> 12 & 0xfff00
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

#[derive(Debug, Clone, Copy)]
struct Header<'a> {
    name: &'a str,
    uuid: &'a str,
    flags: u32,
}

impl Header<'_> {
    /// `struct dm_ioctl`, `size` bytes with whatever follows it.
    fn encode(&self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &4u32.to_ne_bytes()); // version 4.0.0
        put(12, &(size as u32).to_ne_bytes()); // data_size
        put(16, &(HEADER as u32).to_ne_bytes()); // data_start
        put(28, &self.flags.to_ne_bytes());
        put(48, &self.name.as_bytes()[..self.name.len().min(127)]);
        put(176, &self.uuid.as_bytes()[..self.uuid.len().min(128)]);
        bytes
    }

    /// `struct dm_ioctl` followed by one `struct dm_target_spec` and its parameters.
    fn encode_table(&self, mapping: &Mapping<'_>) -> Vec<u8> {
        let spec = (TARGET + mapping.parameters.len() + 1).next_multiple_of(8);
        let mut bytes = self.encode(HEADER + spec);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(20, &1u32.to_ne_bytes()); // target_count
        put(HEADER + 8, &mapping.sectors.to_ne_bytes());
        put(HEADER + 20, &(spec as u32).to_ne_bytes()); // next
        put(HEADER + 24, &mapping.target.as_bytes()[..mapping.target.len().min(15)]);
        put(HEADER + TARGET, mapping.parameters.as_bytes());
        bytes
    }
}

/// `_IOWR(0xfd, command, struct dm_ioctl)` with a request as long as its `data_size` says.
fn call(control: &File, command: u32, request: &mut [u8]) -> io::Result<()> {
    let code = 3 << 30 | (HEADER as u64) << 16 | 0xfd << 8 | u64::from(command);
    // SAFETY: the kernel reads and writes at most `data_size` bytes, which `encode` set to the
    // length of this buffer.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), code as _, request.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_request_has_the_layout_of_the_kernel_header() {
        let mapping = Mapping {
            name: "root",
            uuid: "CRYPT-VERITY-x-root",
            target: "verity",
            sectors: 800,
            parameters: "1 /dev/a /dev/b",
        };
        let bytes = Header { name: "root", uuid: "", flags: READ_ONLY }.encode_table(&mapping);
        assert_eq!(bytes.len(), 312 + 56);
        assert_eq!(u32::from_ne_bytes(field(&bytes, 12)) as usize, bytes.len());
        assert_eq!(&bytes[48..53], b"root\0");
        assert_eq!(u64::from_ne_bytes(field(&bytes, 312)), 0);
        assert_eq!(u64::from_ne_bytes(field(&bytes, 320)), 800);
        assert_eq!(&bytes[336..343], b"verity\0");
        assert_eq!(&bytes[352..368], b"1 /dev/a /dev/b\0");
    }

    #[test]
    fn device_numbers_beyond_eight_bits_are_decoded() {
        assert_eq!((major(0xfd00), minor(0xfd00)), (0xfd, 0));
        assert_eq!((major(0x0010_fd01), minor(0x0010_fd01)), (0xfd, 0x101));
    }
}
