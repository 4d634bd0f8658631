//! The superblock of a verity partition: which data is hashed, and how.

use std::io::{self, Read};
use std::ops::Range;

use super::tree::MAX_DATA_BLOCKS;
use super::{BLOCK, RootHash, VerityError};
use crate::guid::Guid;

/// The longest salt that the superblock holds, in bytes.
pub const MAX_SALT: usize = 256;

/// Bytes that the superblock takes at the start of its block.
const SIZE: usize = 512;
const SECTORS_PER_BLOCK: u64 = BLOCK / 512;

const SIGNATURE: Range<usize> = 0..8;
const VERSION: Range<usize> = 8..12;
const HASH_TYPE: Range<usize> = 12..16;
const UUID: Range<usize> = 16..32;
const ALGORITHM: Range<usize> = 32..64;
const DATA_BLOCK_SIZE: Range<usize> = 64..68;
const HASH_BLOCK_SIZE: Range<usize> = 68..72;
const DATA_BLOCKS: Range<usize> = 72..80;
const SALT_SIZE: Range<usize> = 80..82;
const SALT_PADDING: Range<usize> = 82..88;
const SALT: Range<usize> = 88..344;
const PADDING: Range<usize> = 344..512;

/// What a verity tree is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Identifier of this tree; not part of what is hashed.
    pub uuid: Guid,
    /// Hashed before every block.
    pub salt: Vec<u8>,
    /// How many blocks of [`BLOCK`] bytes are protected.
    pub data_blocks: u64,
}

impl Superblock {
    /// A superblock over the first `data_blocks` blocks.
    pub fn new(uuid: Guid, salt: &[u8], data_blocks: u64) -> Result<Superblock, VerityError> {
        let superblock = Superblock { uuid, salt: salt.to_vec(), data_blocks };
        superblock.check()?;
        Ok(superblock)
    }

    /// Refuses what no verity partition can hold.
    pub(super) fn check(&self) -> Result<(), VerityError> {
        if self.salt.len() > MAX_SALT {
            return Err(VerityError::SaltTooLong { length: self.salt.len() });
        }
        if self.data_blocks == 0 || self.data_blocks > MAX_DATA_BLOCKS {
            return Err(VerityError::DataSize { blocks: self.data_blocks });
        }
        Ok(())
    }

    /// Reads the superblock from the start of a verity partition.
    pub fn read(partition: &mut impl Read) -> Result<Superblock, VerityError> {
        let mut bytes = [0; SIZE];
        partition.read_exact(&mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => VerityError::NoSuperblock,
            _ => VerityError::ReadSuperblock { source },
        })?;
        Superblock::parse(&bytes)
    }

    /// Takes the superblock apart. Every byte counts: unused ones must be
    /// zero.
    pub fn parse(bytes: &[u8; SIZE]) -> Result<Superblock, VerityError> {
        if &bytes[SIGNATURE] != b"verity\0\0" {
            return Err(VerityError::NoSuperblock);
        }
        expect("version", number(&bytes[VERSION]), 1, "1")?;
        expect("hash type", number(&bytes[HASH_TYPE]), 1, "1")?;
        let algorithm = bytes[ALGORITHM].escape_ascii().to_string();
        let algorithm = algorithm.trim_end_matches("\\x00");
        if algorithm != "sha256" {
            return Err(unsupported("hash algorithm", format!("`{algorithm}`"), "`sha256`"));
        }
        expect("data block size", number(&bytes[DATA_BLOCK_SIZE]), BLOCK, "4096")?;
        expect("hash block size", number(&bytes[HASH_BLOCK_SIZE]), BLOCK, "4096")?;
        let salt_size = number(&bytes[SALT_SIZE]) as usize;
        let salt = &bytes[SALT];
        let (salt, unused) = salt
            .split_at_checked(salt_size)
            .ok_or(VerityError::SaltTooLong { length: salt_size })?;
        for (field, bytes) in [
            ("padding after the salt's size", &bytes[SALT_PADDING]),
            ("padding after the salt", unused),
            ("padding at the end", &bytes[PADDING]),
        ] {
            if bytes.iter().any(|&byte| byte != 0) {
                return Err(unsupported(field, "that is in use".to_string(), "zeros"));
            }
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[UUID]);
        Superblock::new(Guid::from_bytes(uuid), salt, number(&bytes[DATA_BLOCKS]))
    }

    /// The superblock as block 0 of a verity partition.
    pub fn to_block(&self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        let mut put = |field: Range<usize>, bytes: &[u8]| {
            block[field.start..field.start + bytes.len()].copy_from_slice(bytes);
        };
        put(SIGNATURE, b"verity\0\0");
        put(VERSION, &1u32.to_le_bytes());
        put(HASH_TYPE, &1u32.to_le_bytes());
        put(UUID, self.uuid.as_bytes());
        put(ALGORITHM, b"sha256");
        put(DATA_BLOCK_SIZE, &(BLOCK as u32).to_le_bytes());
        put(HASH_BLOCK_SIZE, &(BLOCK as u32).to_le_bytes());
        put(DATA_BLOCKS, &self.data_blocks.to_le_bytes());
        put(SALT_SIZE, &(self.salt.len() as u16).to_le_bytes());
        put(SALT, &self.salt);
        block
    }

    /// Length of the protected data in bytes.
    pub fn data_size(&self) -> u64 {
        self.data_blocks * BLOCK
    }

    /// Length of the mapped device in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.data_blocks * SECTORS_PER_BLOCK
    }

    /// The parameters of the kernel's `verity` target for a root on
    /// `data_device` whose superblock and tree are on `hash_device`.
    pub fn dm_table(&self, data_device: &str, hash_device: &str, root: &RootHash) -> String {
        let blocks = self.data_blocks;
        let salt = match self.salt.as_slice() {
            [] => "-".to_string(),
            salt => salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        format!(
            "1 {data_device} {hash_device} {BLOCK} {BLOCK} {blocks} {first} sha256 {root} {salt}",
            first = super::tree::FIRST_BLOCK
        )
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn expect(
    field: &'static str,
    found: u64,
    wanted: u64,
    expected: &'static str,
) -> Result<(), VerityError> {
    if found == wanted { Ok(()) } else { Err(unsupported(field, found.to_string(), expected)) }
}

fn unsupported(field: &'static str, found: String, expected: &'static str) -> VerityError {
    VerityError::Unsupported { field, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Superblock {
        let uuid = "01234567-89ab-cdef-fedc-ba9876543210".parse().unwrap();
        Superblock::new(uuid, &[0xa5; 32], 1000).unwrap()
    }

    fn bytes(superblock: &Superblock) -> [u8; SIZE] {
        superblock.to_block()[..SIZE].try_into().unwrap()
    }

    #[test]
    fn a_superblock_reads_back_as_written() {
        for salt in [&[][..], &[1], &[7; 32], &[255; 256]] {
            let superblock = Superblock { salt: salt.to_vec(), ..example() };
            assert_eq!(Superblock::parse(&bytes(&superblock)).unwrap(), superblock);
            let block = superblock.to_block();
            assert_eq!(Superblock::read(&mut block.as_slice()).unwrap(), superblock);
        }
    }

    #[test]
    fn the_kernel_gets_the_parameters_in_its_order() {
        let root = RootHash([0x11; 32]);
        assert_eq!(
            example().dm_table("/dev/vda2", "/dev/vda3", &root),
            format!(
                "1 /dev/vda2 /dev/vda3 4096 4096 1000 1 sha256 {} {}",
                "11".repeat(32),
                "a5".repeat(32)
            )
        );
        let unsalted = Superblock { salt: Vec::new(), ..example() };
        assert!(unsalted.dm_table("a", "b", &root).ends_with(" -"));
        assert_eq!(example().sectors(), 8000);
    }

    #[test]
    fn what_this_system_does_not_write_is_refused_by_name() {
        for (at, value, complaint) in [
            (0, b'V', "no verity superblock"),
            (8, 2, "version 2, expected 1"),
            (12, 0, "hash type 0, expected 1"),
            (35, b'5', "hash algorithm `sha556`"),
            (38, b'x', "hash algorithm `sha256x`"),
            (65, 2, "data block size 512, expected 4096"),
            (69, 8, "hash block size 2048, expected 4096"),
            (79, 1, "is not possible"),
            (81, 255, "salt of 65312 bytes is too long"),
            (83, 1, "padding after the salt's size"),
            (88 + 32, 1, "padding after the salt that"),
            (511, 1, "padding at the end"),
        ] {
            let mut bytes = bytes(&example());
            bytes[at] = value;
            let error = Superblock::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(complaint), "byte {at}: {error}");
        }
        let mut none = bytes(&example());
        none[DATA_BLOCKS].fill(0);
        assert!(matches!(Superblock::parse(&none), Err(VerityError::DataSize { blocks: 0 })));
    }

    #[test]
    fn a_short_partition_has_no_superblock() {
        assert!(matches!(Superblock::read(&mut &[0; 100][..]), Err(VerityError::NoSuperblock)));
    }

    proptest! {
        /// Nothing is silently dropped: what parses, writes the same bytes.
        #[test]
        fn a_flipped_byte_is_refused_or_kept(at in 0..SIZE, flip in 1u8..) {
            let mut bytes = bytes(&example());
            bytes[at] ^= flip;
            if let Ok(superblock) = Superblock::parse(&bytes) {
                prop_assert!(
                    UUID.contains(&at) || DATA_BLOCKS.contains(&at) || SALT.contains(&at)
                        || SALT_SIZE.contains(&at)
                );
                prop_assert_eq!(super::tests::bytes(&superblock), bytes);
            }
        }
    }
}
