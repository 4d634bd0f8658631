//! The writable file system of a disk image. The format is `ext4-view`'s, which also replays, in
//! memory, the journal of a machine that was not shut down.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use disk::window::Window;
use ext4_view::{Ext4, Ext4Error, Ext4Read};

use crate::initrd::state::{Content, PROBED, classify};

/// Why there is no state to look at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StateError {
    /// The image failed.
    #[error("cannot read the partition")]
    Read(#[source] io::Error),
    /// Something that a boot would leave alone.
    #[error("it holds something that is no ext4 file system; a boot would leave it as it is")]
    Foreign,
    /// It is damaged.
    #[error("its ext4 file system is damaged")]
    Damaged(#[source] Ext4Error),
}

/// What the file system is read from.
struct Source(Window<Rc<File>>);

impl Ext4Read for Source {
    fn read(
        &mut self,
        start: u64,
        into: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.seek(SeekFrom::Start(start))?;
        Ok(self.0.read_exact(into)?)
    }
}

/// Opens the state; none on a partition that nothing was ever written to.
pub(super) fn open(mut partition: Window<Rc<File>>) -> Result<Option<Ext4>, StateError> {
    let mut start = Vec::new();
    partition.by_ref().take(PROBED).read_to_end(&mut start).map_err(StateError::Read)?;
    match classify(&start) {
        Content::Blank => Ok(None),
        Content::Foreign => Err(StateError::Foreign),
        Content::Ext4 { .. } => {
            Ext4::load(Box::new(Source(partition))).map(Some).map_err(StateError::Damaged)
        }
    }
}

/// An error as the kernel would give it.
pub(super) fn into_io(error: Ext4Error) -> io::Error {
    match error {
        Ext4Error::NotFound => io::ErrorKind::NotFound.into(),
        Ext4Error::NotADirectory => io::ErrorKind::NotADirectory.into(),
        error => io::Error::other(format!("the state is damaged: {error}")),
    }
}
