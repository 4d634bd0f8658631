//! The verity tree of a release: fetched first, checked up to the signed root hash, and from then
//! on the judge of every block that is written.
//!
//! It is kept in a file on the state partition, so that memory does not grow with the image; a
//! run that was cut off finds it there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use channels::client::Target;
use channels::fetch::FetchError;
use channels::metadata::Hasher;
use disk::verity::{self, BLOCK, BlockHasher, Hash, RootHash, Superblock, VerityError};

use crate::device::Region;
use crate::source::{PIECE, Source};

/// A verity tree that was checked up to its root hash.
#[derive(Debug)]
pub struct VerifiedTree {
    file: File,
    path: PathBuf,
    /// What it is over.
    pub superblock: Superblock,
    /// Bytes of superblock and tree.
    pub size: u64,
    hasher: BlockHasher,
    leaves: u64,
    root: RootHash,
}

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is not what is signed.
    #[error("the verity tree of the release is not the one that is signed")]
    Wrong,
    /// It is no verity tree of ours.
    #[error("the verity tree of the release cannot be used")]
    Malformed(#[source] VerityError),
    /// It cannot be kept.
    #[error("cannot keep the verity tree in {path}", path = path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Fetches a target in pieces, giving each to `take` once it came; the last one only after size
/// and hash of the whole were found right.
pub fn fetch_whole(
    source: &Source,
    target: &Target,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), FetchWholeError> {
    let address = target.address().ok_or(FetchWholeError::Wrong)?;
    let mut hasher: Hasher = target.file.hashes.hasher();
    let length = target.file.length;
    let mut start = 0;
    while start < length {
        let end = length.min(start + PIECE);
        let piece = source.range(&address, &(start..end))?;
        hasher.update(&piece);
        start = end;
        if start == length
            && !target
                .file
                .hashes
                .matches(std::mem::replace(&mut hasher, target.file.hashes.hasher()))
        {
            return Err(FetchWholeError::Wrong);
        }
        take(&piece).map_err(FetchWholeError::Take)?;
    }
    Ok(())
}

/// Why a target did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchWholeError {
    /// A piece could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is not what is signed.
    #[error("not the file that is signed")]
    Wrong,
    /// The pieces could not be taken.
    #[error("cannot keep it")]
    Take(#[source] io::Error),
}

impl VerifiedTree {
    /// The tree that `target` is, kept as `path`; what is there already is used if it is right.
    pub fn obtain(
        source: &Source,
        target: &Target,
        root: &RootHash,
        path: &Path,
    ) -> Result<VerifiedTree, TreeError> {
        if let Ok(tree) = VerifiedTree::open(path, root)
            && tree.size == target.file.length
        {
            return Ok(tree);
        }
        let keep = |source| TreeError::Keep { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(keep)?;
        fetch_whole(source, target, |piece| file.write_all(piece)).map_err(
            |error| match error {
                FetchWholeError::Fetch(error) => TreeError::Fetch(error),
                FetchWholeError::Wrong => TreeError::Wrong,
                FetchWholeError::Take(source) => keep(source),
            },
        )?;
        file.sync_all().map_err(keep)?;
        drop(file);
        VerifiedTree::open(path, root)
    }

    /// Opens a tree in a file and checks all of it.
    pub fn open(path: &Path, root: &RootHash) -> Result<VerifiedTree, TreeError> {
        let keep = |source| TreeError::Keep { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(keep)?;
        let size = file.metadata().map_err(keep)?.len();
        let superblock = Superblock::read(&mut file).map_err(TreeError::Malformed)?;
        if size != verity::partition_size(superblock.data_blocks) {
            return Err(TreeError::Wrong);
        }
        if !verity::check_tree(&superblock, root, &mut file).map_err(TreeError::Malformed)? {
            return Err(TreeError::Wrong);
        }
        let hasher = BlockHasher::new(&superblock);
        let leaves = verity::leaves(superblock.data_blocks).start;
        Ok(VerifiedTree {
            file,
            path: path.to_owned(),
            superblock,
            size,
            hasher,
            leaves,
            root: *root,
        })
    }

    /// Blocks below it.
    pub fn blocks(&self) -> u64 {
        self.superblock.data_blocks
    }

    /// Hashes blocks as it does.
    pub fn hasher(&self) -> &BlockHasher {
        &self.hasher
    }

    /// The root hash that it was checked against.
    pub fn root(&self) -> &RootHash {
        &self.root
    }

    /// The hashes that the blocks from `first` on must have.
    pub fn hashes(&self, first: u64, count: usize) -> io::Result<Vec<Hash>> {
        if self.superblock.data_blocks == 1 {
            return Ok(vec![self.root.0; count]);
        }
        let mut bytes = vec![0; count * 32];
        self.file.read_exact_at(&mut bytes, self.leaves + first * 32)?;
        Ok(bytes.chunks_exact(32).map(|hash| hash.try_into().expect("32 bytes")).collect())
    }

    /// Bytes of superblock and tree, as they go on the verity partition.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Forgets the file.
    pub fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// The tree of the running slot: where which block is. It is only a hint: what is found by it is
/// hashed before it is used.
#[derive(Debug, Default)]
pub struct Index {
    /// The first eight bytes of a block's hash, and its number; sorted.
    places: Vec<(u64, u32)>,
}

/// The most blocks that an index knows: 16 MB of memory, for 4 GiB of image. Blocks beyond are
/// fetched instead of copied.
const MOST_BLOCKS: u64 = 1 << 20;

impl Index {
    /// Reads the tree on a verity partition.
    pub fn read(verity: &Region) -> Result<(Index, Superblock), VerityError> {
        let superblock = Superblock::read(&mut verity.cursor())?;
        let blocks = superblock.data_blocks.min(MOST_BLOCKS);
        let mut places = Vec::with_capacity(blocks as usize);
        let start = verity::leaves(superblock.data_blocks).start;
        let mut chunk = vec![0; 128 << 10];
        let mut next = 0;
        while next < blocks && superblock.data_blocks > 1 {
            let count = (blocks - next).min(chunk.len() as u64 / 32);
            let bytes = &mut chunk[..count as usize * 32];
            verity
                .read_at(bytes, start + next * 32)
                .map_err(|source| VerityError::ReadTree { block: start / BLOCK, source })?;
            for (number, hash) in (next as u32..).zip(bytes.chunks_exact(32)) {
                places.push((key(hash), number));
            }
            next += count;
        }
        places.sort_unstable();
        places.dedup_by_key(|(key, _)| *key);
        Ok((Index { places }, superblock))
    }

    /// The block that should have a hash.
    pub fn find(&self, hash: &Hash) -> Option<u64> {
        let key = key(hash);
        let at = self.places.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(u64::from(self.places[at].1))
    }
}

fn key(hash: &[u8]) -> u64 {
    u64::from_be_bytes(hash[..8].try_into().expect("a hash has more than eight bytes"))
}
