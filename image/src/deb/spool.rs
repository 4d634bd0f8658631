//! One file that takes the contents of many, written from several threads at once.

use crate::tree::Content;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is read and written at a time.
const CHUNK: usize = 1 << 18;

/// A file that only grows. Each content gets its own range of it before its first byte is there.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    end: AtomicU64,
}

/// How taking in a content failed.
#[derive(Debug)]
pub enum SpoolError {
    /// The bytes could not be read.
    Read(io::Error),
    /// The spool could not be written.
    Write(io::Error),
}

impl Spool {
    /// A spool over an empty file.
    #[must_use]
    pub fn new(file: File) -> Spool {
        Spool { file: Arc::new(file), end: AtomicU64::new(0) }
    }

    /// Takes in exactly `size` bytes of `from`.
    pub fn take(&self, from: &mut dyn Read, size: u64) -> Result<Content, SpoolError> {
        let offset = self.end.fetch_add(size, Ordering::Relaxed);
        let mut buffer = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK))];
        let mut done = 0;
        while done < size {
            let wanted = buffer.len().min(usize::try_from(size - done).unwrap_or(usize::MAX));
            from.read_exact(&mut buffer[..wanted]).map_err(SpoolError::Read)?;
            self.file.write_all_at(&buffer[..wanted], offset + done).map_err(SpoolError::Write)?;
            done += wanted as u64;
        }
        Ok(Content::Slice { file: Arc::clone(&self.file), offset, len: size })
    }

    /// Takes in bytes that are in memory.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Content> {
        let len = bytes.len() as u64;
        let offset = self.end.fetch_add(len, Ordering::Relaxed);
        self.file.write_all_at(bytes, offset)?;
        Ok(Content::Slice { file: Arc::clone(&self.file), offset, len })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_of_several_threads_do_not_touch() {
        let spool = Spool::new(tempfile::tempfile().unwrap());
        let all: Vec<(u8, Content)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u8)
                .map(|number| {
                    let spool = &spool;
                    scope.spawn(move || {
                        let size = 300_000 + u64::from(number);
                        let content = spool.take(&mut io::repeat(number).take(size), size);
                        (number, content.unwrap())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (number, content) in all {
            let bytes = content.to_vec().unwrap();
            assert_eq!(bytes.len(), 300_000 + usize::from(number));
            assert!(bytes.iter().all(|byte| *byte == number));
        }
        let short = spool.take(&mut &b"ab"[..], 3).unwrap_err();
        assert!(matches!(short, SpoolError::Read(_)));
    }
}
