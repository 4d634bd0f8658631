//! Writes that happen only if nothing changed.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, ResponseHeader, TxnOp,
    TxnOpResponse, TxnResponse,
};

use crate::entry::Entry;
use crate::error::{Error, Result};

/// The most demands, writes or reads of one transaction, as etcd has it unless it is told
/// otherwise (`--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;

/// What is demanded, what is written if it is so, and what is read if it is not.
///
/// All of it happens in one revision or not at all. A key may be written only once.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    demands: Vec<Compare>,
    writes: Vec<TxnOp>,
    reads: Vec<TxnOp>,
    lease: i64,
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whether what was demanded was so, and the writes were made.
    pub done: bool,
    /// The store's revision after it.
    pub revision: i64,
    /// If it was not done: what [`Txn::or_get`] and [`Txn::or_list`] asked for, one for one.
    pub found: Vec<Vec<Entry>>,
}

impl Txn {
    /// Demands nothing, does nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Demands that there is no `key`.
    #[must_use]
    pub fn absent(self, key: &str) -> Self {
        self.demand(Compare::create_revision(key, CompareOp::Equal, 0))
    }

    /// Demands that there is a `key`.
    #[must_use]
    pub fn present(self, key: &str) -> Self {
        self.demand(Compare::create_revision(key, CompareOp::Greater, 0))
    }

    /// Demands that `entry` is as it was read.
    #[must_use]
    pub fn unchanged(self, entry: &Entry) -> Self {
        self.demand(Compare::mod_revision(&*entry.key, CompareOp::Equal, entry.mod_revision))
    }

    /// Demands that `key` is still the one that came into being in this revision.
    #[must_use]
    pub fn created_in(self, key: &str, revision: i64) -> Self {
        self.demand(Compare::create_revision(key, CompareOp::Equal, revision))
    }

    /// Demands that `key` is `value`.
    #[must_use]
    pub fn equal(self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.demand(Compare::value(key, CompareOp::Equal, value))
    }

    /// Demands that no key begins with `prefix`.
    #[must_use]
    pub fn none_below(self, prefix: &str) -> Self {
        self.demand(below(Compare::create_revision(prefix, CompareOp::Equal, 0), prefix))
    }

    /// Demands that no key that begins with `prefix` was set after `revision`. Deletions are not
    /// seen by it.
    #[must_use]
    pub fn none_set_below(self, prefix: &str, revision: i64) -> Self {
        let next = revision.saturating_add(1);
        self.demand(below(Compare::mod_revision(prefix, CompareOp::Less, next), prefix))
    }

    fn demand(mut self, compare: Compare) -> Self {
        self.demands.push(compare);
        self
    }

    /// Sets `key`.
    #[must_use]
    pub fn put(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.writes.push(TxnOp::put(key, value, None));
        self
    }

    /// Sets `key` for as long as `lease` lasts.
    #[must_use]
    pub fn put_leased(mut self, key: &str, value: impl Into<Vec<u8>>, lease: i64) -> Self {
        self.lease = lease;
        let options = PutOptions::new().with_lease(lease);
        self.writes.push(TxnOp::put(key, value, Some(options)));
        self
    }

    /// Deletes `key`.
    #[must_use]
    pub fn delete(mut self, key: &str) -> Self {
        self.writes.push(TxnOp::delete(key, None));
        self
    }

    /// Deletes every key that begins with `prefix`.
    #[must_use]
    pub fn delete_below(mut self, prefix: &str) -> Self {
        let options = DeleteOptions::new().with_range(prefix_end(prefix));
        self.writes.push(TxnOp::delete(prefix, Some(options)));
        self
    }

    /// Reads `key` if the demands are not met.
    #[must_use]
    pub fn or_get(mut self, key: &str) -> Self {
        self.reads.push(TxnOp::get(key, None));
        self
    }

    /// Reads all keys that begin with `prefix` if the demands are not met.
    #[must_use]
    pub fn or_list(mut self, prefix: &str) -> Self {
        let options = GetOptions::new().with_range(prefix_end(prefix));
        self.reads.push(TxnOp::get(prefix, Some(options)));
        self
    }

    /// How many writes it has so far: see [`MAX_OPERATIONS`].
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// As etcd wants it, and a lease that it hangs something on.
    pub(crate) fn request(&self) -> Result<(etcd_client::Txn, i64)> {
        let operations = self.demands.len().max(self.writes.len()).max(self.reads.len());
        if operations > MAX_OPERATIONS {
            return Err(Error::TooManyOperations { operations, limit: MAX_OPERATIONS });
        }
        let request = etcd_client::Txn::new()
            .when(self.demands.clone())
            .and_then(self.writes.clone())
            .or_else(self.reads.clone());
        Ok((request, self.lease))
    }
}

impl From<TxnResponse> for Committed {
    fn from(answer: TxnResponse) -> Self {
        let revision = answer.header().map_or(0, ResponseHeader::revision);
        let done = answer.succeeded();
        let found = match done {
            true => Vec::new(),
            false => answer.op_responses().into_iter().map(entries).collect(),
        };
        Self { done, revision, found }
    }
}

fn entries(answer: TxnOpResponse) -> Vec<Entry> {
    match answer {
        TxnOpResponse::Get(mut answer) => answer.take_kvs().into_iter().map(Entry::from).collect(),
        _ => Vec::new(),
    }
}

fn below(compare: Compare, prefix: &str) -> Compare {
    compare.with_range(prefix_end(prefix))
}

/// The first key after all that begin with `prefix`; `\0` means that there is none.
pub(crate) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_after_everything_in_it() {
        assert_eq!(prefix_end("/a/"), b"/a0");
        assert_eq!(prefix_end("a"), b"b");
        assert_eq!(prefix_end(""), b"\0");
        assert!(prefix_end("/ü") > "/ü\u{10ffff}".as_bytes().to_vec());
    }

    #[test]
    fn what_etcd_would_refuse_is_refused_before_it_is_sent() {
        let mut txn = Txn::new();
        for n in 0..MAX_OPERATIONS {
            txn = txn.put(&format!("/{n}"), "");
        }
        assert!(txn.request().is_ok());
        let error = txn.put("/more", "").request().unwrap_err();
        assert_eq!(
            error.to_string(),
            "129 operations are too many for one transaction: etcd takes 128"
        );
    }
}
