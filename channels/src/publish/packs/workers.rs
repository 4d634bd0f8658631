//! All segments on all cores, and their results in order.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use sha2::{Digest, Sha256};

use crate::payload::Entry;

/// A record, and the segment that it makes.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) record: Vec<u8>,
    pub(super) segment: Vec<u8>,
}

impl Made {
    /// What the index is to say.
    pub(super) fn entry(&self) -> Entry {
        Entry {
            length: self.record.len() as u32,
            record: Sha256::digest(&self.record).into(),
            segment: Sha256::digest(&self.segment).into(),
        }
    }
}

/// Calls `make` for 0 to `count` on several threads, and `take` with the results in order. Ends
/// with the first error.
pub(super) fn in_order<T: Send>(
    count: usize,
    threads: NonZero<usize>,
    make: impl Fn(usize) -> io::Result<T> + Sync,
    mut take: impl FnMut(T) -> io::Result<()>,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(threads.get());
        for _ in 0..threads.get().min(count) {
            let (sender, next, stop, make) = (sender.clone(), &next, &stop, &make);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    // Who takes the results may have given up.
                    if index >= count || sender.send((index, make(index))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut taken = 0;
        let mut done = Ok(());
        for (index, result) in receiver {
            waiting.insert(index, result);
            while done.is_ok()
                && let Some(result) = waiting.remove(&taken)
            {
                done = result.and_then(&mut take);
                taken += 1;
            }
            if done.is_err() {
                stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        done
    })
}

/// Fills a list by parts: `make` gets the range of each, and the parts come back in order.
pub(super) fn by_parts<T: Send>(
    parts: usize,
    threads: NonZero<usize>,
    make: impl Fn(usize) -> io::Result<Vec<T>> + Sync,
) -> io::Result<Vec<T>> {
    let all = Mutex::new(Vec::new());
    in_order(parts, threads, make, |part| {
        all.lock().expect("no thread dies with it").extend(part);
        Ok(())
    })?;
    Ok(all.into_inner().expect("no thread dies with it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_the_first_error_ends_it() {
        for threads in [1, 2, 7] {
            let threads = NonZero::new(threads).unwrap();
            for count in [0, 1, 50] {
                let mut taken = Vec::new();
                in_order(count, threads, Ok, |index| {
                    taken.push(index);
                    Ok(())
                })
                .unwrap();
                assert_eq!(taken, (0..count).collect::<Vec<_>>());
            }
            let fail = |index| match index {
                20 => Err(io::Error::other("twenty")),
                _ => Ok(index),
            };
            let mut taken = 0;
            let count = |_| {
                taken += 1;
                Ok(())
            };
            let error = in_order(50, threads, fail, count).unwrap_err();
            assert_eq!((error.to_string().as_str(), taken), ("twenty", 20));
        }
        let parts = by_parts(5, NonZero::new(2).unwrap(), |part| Ok(vec![part; part])).unwrap();
        assert_eq!(parts, [1, 2, 2, 3, 3, 3, 4, 4, 4, 4]);
    }
}
