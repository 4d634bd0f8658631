//! Gives every inode and every block its place, then writes them in that order.

use super::compressed::Stored;
use super::directory::Directory;
use super::format::{
    CONFIGURATION_SIZE, DataLayout, Inode, NO_BLOCK, SUPERBLOCK_SIZE, Superblock, device_number,
    entry_type, mode_type, xattrs,
};
use super::{Error, Options};
use crate::tree::{Content, Kind, Node, Tree};
use disk::erofs::{BLOCK, INODE_SLOT, MAX_NAME, SUPERBLOCK_OFFSET};
use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::sync::Mutex;
use std::thread;

/// Longest target of a symbolic link, as the kernel has it.
const MAX_TARGET: usize = 4095;
/// Contents are copied in pieces of this many bytes, a multiple of the block size.
const PIECE: usize = 1 << 20;

/// A planned image: its metadata is in memory, the contents of files are read when it is written.
#[derive(Debug)]
pub struct Image<'a> {
    metadata: Vec<u8>,
    files: Vec<Placed<'a>>,
    blocks: u64,
}

/// A file whose contents have their place.
#[derive(Debug)]
struct Placed<'a> {
    path: &'a str,
    content: &'a Content,
    /// How it is compressed, if it is.
    stored: Option<Stored>,
}

impl Placed<'_> {
    fn blocks(&self) -> u64 {
        match &self.stored {
            Some(stored) => stored.blocks(),
            None => self.content.len().div_ceil(BLOCK),
        }
    }
}

/// An inode on its way to its place.
struct Draft<'a> {
    path: &'a str,
    inode: Inode,
    xattrs: Vec<u8>,
    data: Data<'a>,
    /// How a file's content is compressed, if it is.
    stored: Option<Stored>,
    /// Its first block then.
    first: u32,
    /// Byte offset of the inode in the image.
    offset: u64,
}

enum Data<'a> {
    None,
    File(&'a Content),
    Target(&'a str),
    Directory(Directory<'a>),
}

impl<'a> Image<'a> {
    /// Plans the image of a tree.
    pub fn plan(tree: &'a Tree, options: &Options<'_>) -> Result<Image<'a>, Error> {
        Image::plan_stored(tree, options, false)
    }

    /// Plans an image whose files are compressed with LZ4. Its contents are read now, and again
    /// when it is written.
    pub fn plan_compressed(tree: &'a Tree, options: &Options<'_>) -> Result<Image<'a>, Error> {
        Image::plan_stored(tree, options, true)
    }

    fn plan_stored(
        tree: &'a Tree,
        options: &Options<'_>,
        compressed: bool,
    ) -> Result<Image<'a>, Error> {
        if options.volume_name.len() > 16 {
            return Err(Error::VolumeName { name: options.volume_name.to_owned() });
        }
        let mut drafts = drafts(tree)?;
        let mut inodes_start = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE;
        if compressed {
            compress(&mut drafts)?;
            inodes_start += CONFIGURATION_SIZE;
        }
        let inodes_end = place_inodes(&mut drafts, inodes_start as u64);
        let metadata_blocks = place_metadata_blocks(&mut drafts, inodes_end.div_ceil(BLOCK));
        let order = order(&drafts, options.last);
        let blocks = place_files(&mut drafts, &order, metadata_blocks);
        let superblock = Superblock {
            root_inode: number(&drafts[0]) as u16,
            inodes: drafts.len() as u64,
            blocks: u32::try_from(blocks).map_err(|_| Error::TooLarge)?,
            epoch: options.epoch,
            uuid: options.uuid,
            volume_name: options.volume_name,
            compressed,
        };
        let mut metadata = vec![0; (metadata_blocks * BLOCK) as usize];
        for draft in &drafts {
            write_metadata(draft, &drafts, options.epoch, &mut metadata);
        }
        superblock.seal(&mut metadata[..BLOCK as usize]);
        let files = order.into_iter().filter_map(|index| {
            let draft = &mut drafts[index];
            let Data::File(content) = draft.data else { return None };
            Some(Placed { path: draft.path, content, stored: draft.stored.take() })
        });
        Ok(Image { files: files.collect(), metadata, blocks })
    }

    /// Number of 4 KiB blocks in the image.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Number of blocks at the front that hold metadata.
    #[must_use]
    pub fn metadata_blocks(&self) -> u64 {
        self.metadata.len() as u64 / BLOCK
    }

    /// Where each file's contents lie: its first name, its first block and its length in bytes,
    /// in the order of the blocks.
    pub fn extents(&self) -> impl Iterator<Item = (&'a str, u64, u64)> {
        self.files.iter().scan(self.metadata_blocks(), |next, file| {
            let first = *next;
            *next += file.blocks();
            Some((file.path, first, file.content.len()))
        })
    }

    /// Writes the image from front to back; returns the number of blocks written.
    pub fn write(&self, output: &mut impl Write) -> Result<u64, Error> {
        output.write_all(&self.metadata).map_err(Error::Write)?;
        let mut piece = vec![0; PIECE];
        for Placed { path, content, stored } in &self.files {
            if let Some(stored) = stored {
                stored.write(content, path, output)?;
                continue;
            }
            let mut position = 0;
            while position < content.len() {
                let filled = fill(content, position, &mut piece)
                    .map_err(|source| Error::Read { path: (*path).to_owned(), source })?;
                let padded = filled.next_multiple_of(BLOCK as usize);
                piece[filled..padded].fill(0);
                output.write_all(&piece[..padded]).map_err(Error::Write)?;
                position += filled as u64;
            }
        }
        output.flush().map_err(Error::Write)?;
        Ok(self.blocks)
    }
}

/// Reads until the piece is full or the content at its end.
pub(super) fn fill(content: &Content, position: u64, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match content.read_at(&mut piece[filled..], position + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// One inode for every node that is not just another name, in path order; the root is first.
fn drafts(tree: &Tree) -> Result<Vec<Draft<'_>>, Error> {
    let mut indexes: HashMap<&str, usize> = HashMap::new();
    let mut links: HashMap<&str, u32> = HashMap::new();
    for (path, node) in tree.iter() {
        if path.rsplit('/').next().is_some_and(|name| name.len() > MAX_NAME) {
            return Err(Error::NameTooLong { path: path.to_owned() });
        }
        match &node.kind {
            Kind::HardLink(first) => *links.entry(first).or_insert(1) += 1,
            kind => {
                indexes.insert(path, indexes.len());
                if let (Kind::Directory, Some((parent, _))) = (kind, split(path)) {
                    *links.entry(parent).or_insert(2) += 1;
                }
            }
        }
    }
    tree.iter()
        .filter(|(_, node)| !matches!(node.kind, Kind::HardLink(_)))
        .map(|(path, node)| {
            let own_links = if node.is_directory() { 2 } else { 1 };
            draft(tree, &indexes, path, node, links.get(path).copied().unwrap_or(own_links))
        })
        .collect()
}

fn draft<'a>(
    tree: &'a Tree,
    indexes: &HashMap<&str, usize>,
    path: &'a str,
    node: &'a Node,
    links: u32,
) -> Result<Draft<'a>, Error> {
    let xattrs = xattrs(&node.xattrs)
        .map_err(|name| Error::Xattr { path: path.to_owned(), name: name.to_owned() })?;
    let data = match &node.kind {
        Kind::Directory => {
            let parent = split(path).map_or("", |(parent, _)| parent);
            let entries: Result<Vec<_>, Error> = tree
                .children(path)
                .map(|(name, node)| {
                    let mut path = join(path, name);
                    let mut kind = &node.kind;
                    if let Kind::HardLink(first) = kind {
                        let broken = || Error::HardLink { path: path.clone() };
                        kind = &tree.get(first).ok_or_else(broken)?.kind;
                        first.clone_into(&mut path);
                    }
                    let index = indexes.get(path.as_str()).ok_or(Error::HardLink { path })?;
                    Ok((name, *index, entry_type(kind)))
                })
                .collect();
            let entries = entries?.into_iter();
            Data::Directory(Directory::new(indexes[path], indexes[parent], entries))
        }
        Kind::File(content) => Data::File(content),
        Kind::Symlink(target) if (1..=MAX_TARGET).contains(&target.len()) => Data::Target(target),
        Kind::Symlink(_) => return Err(Error::LinkTarget { path: path.to_owned() }),
        _ => Data::None,
    };
    let size = match &data {
        Data::None => 0,
        Data::File(content) => content.len(),
        Data::Target(target) => target.len() as u64,
        Data::Directory(directory) => directory.size(),
    };
    let inode = Inode {
        number: indexes[path] as u32 + 1,
        mode: mode_type(&node.kind) | (node.mode & 0o7777) as u16,
        uid: node.uid,
        gid: node.gid,
        links,
        size,
        layout: DataLayout::Plain,
        place: device_number(node),
        xattr_size: xattrs.len(),
    };
    Ok(Draft { path, inode, xattrs, data, stored: None, first: 0, offset: 0 })
}

/// Finds which files are smaller when they are compressed, on every core.
fn compress(drafts: &mut [Draft<'_>]) -> Result<(), Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(drafts.iter_mut());
    thread::scope(|scope| {
        let work = || {
            loop {
                let Some(draft) = next.lock().expect("no thread panics").next() else {
                    return Ok(());
                };
                let Data::File(content) = draft.data else { continue };
                draft.stored = Stored::of(content)
                    .map_err(|source| Error::Read { path: draft.path.to_owned(), source })?;
                if draft.stored.is_some() {
                    draft.inode.layout = DataLayout::Compressed;
                }
            }
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        done.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Places the inodes one behind the other, with the tails that lie behind them; returns where
/// they end. What fits into a block does not cross into the next.
fn place_inodes(drafts: &mut [Draft<'_>], mut offset: u64) -> u64 {
    for draft in drafts {
        let head = draft.inode.len() + draft.xattrs.len() as u64;
        let tail = draft.inode.size % BLOCK;
        let can_inline = matches!(draft.data, Data::Target(_) | Data::Directory(_));
        let mut size = head;
        if can_inline && tail > 0 && head + tail <= BLOCK {
            draft.inode.layout = DataLayout::Inline;
            size += tail;
        }
        // Inodes begin where an index entry may, too: what is filled up is always the same.
        size += draft.stored.as_ref().map_or(0, |stored| stored.index_size(head));
        if size <= BLOCK && offset % BLOCK + size > BLOCK {
            offset = offset.next_multiple_of(BLOCK);
        }
        draft.offset = offset;
        offset = (offset + size).next_multiple_of(INODE_SLOT);
    }
    offset
}

/// Places the whole blocks of directories and links; returns the block behind them.
fn place_metadata_blocks(drafts: &mut [Draft<'_>], mut block: u64) -> u64 {
    for draft in drafts {
        if matches!(draft.data, Data::Target(_) | Data::Directory(_)) {
            let count = match draft.inode.layout {
                DataLayout::Plain | DataLayout::Compressed => draft.inode.size.div_ceil(BLOCK),
                DataLayout::Inline => draft.inode.size / BLOCK,
            };
            draft.inode.place = place(block, count);
            block += count;
        }
    }
    block
}

/// Which files' contents follow each other: by path, the `last` ones behind all others.
fn order(drafts: &[Draft<'_>], last: &BTreeSet<String>) -> Vec<usize> {
    let files = (0..drafts.len()).filter(|index| matches!(drafts[*index].data, Data::File(_)));
    let (behind, mut all): (Vec<_>, Vec<_>) =
        files.partition(|index| last.contains(drafts[*index].path));
    all.extend(behind);
    all
}

/// Places the contents of files; returns the number of blocks of the image.
fn place_files(drafts: &mut [Draft<'_>], order: &[usize], mut block: u64) -> u64 {
    for index in order {
        let draft = &mut drafts[*index];
        if let Data::File(content) = draft.data {
            let count = match &draft.stored {
                Some(stored) => stored.blocks(),
                None => content.len().div_ceil(BLOCK),
            };
            draft.first = block as u32;
            draft.inode.place = match draft.stored {
                Some(_) => count as u32,
                None => place(block, count),
            };
            block += count;
        }
    }
    block
}

/// The block address of data; whether all addresses fit is checked with the size of the image.
fn place(block: u64, count: u64) -> u32 {
    if count == 0 { NO_BLOCK } else { block as u32 }
}

/// Writes an inode, its attributes and what it has of data in the metadata.
fn write_metadata(draft: &Draft<'_>, drafts: &[Draft<'_>], epoch: u64, metadata: &mut [u8]) {
    let data = match &draft.data {
        Data::None | Data::File(_) => Vec::new(),
        Data::Target(target) => target.as_bytes().to_vec(),
        Data::Directory(directory) => directory.to_bytes(|inode| number(&drafts[inode])),
    };
    let in_blocks = match draft.inode.layout {
        DataLayout::Plain | DataLayout::Compressed => data.len(),
        DataLayout::Inline => data.len() / BLOCK as usize * BLOCK as usize,
    };
    let (whole, tail) = data.split_at(in_blocks);
    let mut offset = draft.offset as usize;
    let head = draft.inode.len() + draft.xattrs.len() as u64;
    let index = draft.stored.as_ref().map(|stored| stored.index(head, draft.first));
    let index = index.unwrap_or_default();
    for part in [&draft.inode.to_bytes(epoch), &draft.xattrs, tail, &index] {
        metadata[offset..offset + part.len()].copy_from_slice(part);
        offset += part.len();
    }
    if !whole.is_empty() {
        let start = draft.inode.place as usize * BLOCK as usize;
        metadata[start..start + whole.len()].copy_from_slice(whole);
    }
}

/// The number by which directories name an inode.
fn number(draft: &Draft<'_>) -> u64 {
    draft.offset / INODE_SLOT
}

/// The parent of a path; the root has none.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.is_empty() { None } else { Some(path.rsplit_once('/').unwrap_or(("", path))) }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options<'static> =
        Options { uuid: [7; 16], volume_name: "test", epoch: 1, last: &BTreeSet::new() };

    fn image(tree: &Tree) -> Vec<u8> {
        let plan = Image::plan(tree, &OPTIONS).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(plan.write(&mut bytes).unwrap(), plan.blocks());
        assert_eq!(bytes.len() as u64, plan.blocks() * BLOCK);
        bytes
    }

    #[test]
    fn contents_begin_on_their_own_blocks_behind_all_metadata() {
        let mut tree = Tree::new();
        tree.insert("b", Node::file(0o644, vec![2; 5000])).unwrap();
        tree.insert("a/x", Node::file(0o644, vec![1; 1])).unwrap();
        tree.insert("c", Node::file(0o644, vec![3; 4096])).unwrap();
        let bytes = image(&tree);
        let plan = Image::plan(&tree, &OPTIONS).unwrap();
        assert_eq!(plan.metadata_blocks(), 1);
        assert_eq!(
            plan.extents().collect::<Vec<_>>(),
            [("a/x", 1, 1), ("b", 2, 5000), ("c", 4, 4096)]
        );
        let firsts: Vec<u8> = bytes.chunks(4096).skip(1).map(|block| block[0]).collect();
        assert_eq!(firsts, [1, 2, 2, 3]);
        assert!(bytes[4097..8192].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_changed_file_of_the_same_length_changes_only_its_blocks() {
        let mut tree = Tree::new();
        for name in ["a", "b", "c"] {
            tree.insert(name, Node::file(0o644, vec![name.as_bytes()[0]; 9000])).unwrap();
        }
        let before = image(&tree);
        tree.insert("b", Node::file(0o644, vec![0; 9000])).unwrap();
        let after = image(&tree);
        let differing: Vec<usize> = before
            .chunks(4096)
            .zip(after.chunks(4096))
            .enumerate()
            .filter_map(|(block, (before, after))| (before != after).then_some(block))
            .collect();
        assert_eq!(differing, [4, 5, 6]);
    }

    #[test]
    fn what_comes_last_may_grow_and_moves_nothing_else() {
        let last = BTreeSet::from(["a".to_owned(), "m/b".to_owned()]);
        let places = |size: usize| {
            let mut tree = Tree::new();
            tree.insert("a", Node::file(0o644, vec![1; size])).unwrap();
            for path in ["m/b", "m/c", "z"] {
                tree.insert(path, Node::file(0o644, "x")).unwrap();
            }
            let options = Options { last: &last, ..OPTIONS };
            let plan = Image::plan(&tree, &options).unwrap();
            plan.extents().map(|(path, block, _)| format!("{path} {block}")).collect::<Vec<_>>()
        };
        assert_eq!(places(10), ["m/c 1", "z 2", "a 3", "m/b 4"]);
        assert_eq!(places(9000), ["m/c 1", "z 2", "a 3", "m/b 6"]);
    }

    #[test]
    fn another_epoch_changes_only_the_first_block() {
        let mut tree = Tree::new();
        for number in 0..1000 {
            tree.insert(&format!("directory/{number}"), Node::file(0o644, "x")).unwrap();
        }
        let before = image(&tree);
        let later = Options { epoch: 2, ..OPTIONS };
        let mut after = Vec::new();
        Image::plan(&tree, &later).unwrap().write(&mut after).unwrap();
        assert_ne!(before[..4096], after[..4096]);
        assert_eq!(before[4096..], after[4096..]);
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused_by_name() {
        let refusal = |path: &str, node: Node| {
            let mut tree = Tree::new();
            tree.insert(path, node).unwrap();
            Image::plan(&tree, &OPTIONS).map(|_| ()).unwrap_err().to_string()
        };
        let long = "n".repeat(256);
        assert!(refusal(&long, Node::directory(0o755)).starts_with(&long));
        assert!(refusal("link", Node::symlink("t".repeat(4096))).starts_with("link: "));
        let mut odd = Node::file(0o644, "");
        odd.xattrs.insert("other.name".into(), Vec::new());
        assert!(refusal("odd", odd).contains("other.name"));
    }

    #[test]
    fn contents_that_cannot_be_read_are_named() {
        let mut tree = Tree::new();
        let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
        let gone = Content::Slice { file, offset: 0, len: 10 };
        tree.insert("dir/gone", Node::file(0o644, gone)).unwrap();
        let error = Image::plan(&tree, &OPTIONS).unwrap().write(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the contents of dir/gone");
    }
}
