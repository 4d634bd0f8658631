//! Config discs made by `xorriso`, `mkfs.fat` and `mcopy`, sound and damaged.

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod discs;
mod reading;
