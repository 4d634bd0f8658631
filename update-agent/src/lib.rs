//! The machine's side of updates: check, download, write the other slot, boot it, keep it or go
//! back.
//!
//! ```text
//! settings, record → check (trusted metadata → policy) → install (slot, tree, table, UKI)
//!     → reboot (strategy, windows, lock) → trial → kept, or back to the old slot
//! ```
//!
//! What may be decided without touching anything is decided by plain functions; the disk, the
//! boot partition, the net and the clock are arguments. The rules of what a machine may take are
//! the publisher's own, in `channels::policy`.

pub mod record; // what must never be forgotten
pub mod settings; // update.conf
pub mod window; // when a machine may reboot

pub mod check; // what is offered, and what of it may be taken
pub mod source; // where releases come from

pub mod device; // disks, with every flush explicit
pub mod esp; // boot entries
pub mod slots; // the running slot and the other one

pub mod blocks; // filling the slot, block by block
pub mod install; // the whole of it, in order
pub mod patched; // filling it by a patch
pub mod payload; // what is fetched for a segment
pub mod plan; // which block comes from where
mod segments; // several at a time
pub mod tree; // the judge of every block

pub mod etcd_gate; // the slots that a group has in etcd
pub mod gate; // whom to ask before a reboot
pub mod health; // whether it is good
pub mod reboot; // when to
pub mod trial; // what became of it

pub mod bus; // the same on D-Bus
pub mod error; // what can go wrong
pub mod facts; // the machine
pub mod history; // what happened to it
pub mod live; // what happens right now
pub mod lock; // one agent at a time
pub mod metrics; // the same as figures
pub mod status; // all of it in one document
pub mod system; // what is asked of the running system

pub mod agent; // all of it, for one machine
pub mod service; // day and night

pub mod cli; // the commands
