//! The signed repository that machines update from: TUF metadata, its client, its publisher.
//!
//! ```text
//! machine:  files on a mirror → metadata → client → View → Offer → policy → what to install
//! builder:  release directory → policy → Draft → signed Plan → files that any web server serves
//! ```
//!
//! The client side is small and is all that a machine needs; the rest is behind the feature
//! `publisher`. Follows version 1.0 of the TUF specification; what of it is left out stands at
//! [`metadata`]. The layout of a repository and our own fields in it are specified in
//! `docs/repository.md`.

pub mod time; // moments and spans

pub mod metadata; // bytes → what was signed, and by whom

pub mod fetch; // where files come from: the net or a directory
pub mod store; // where a client keeps what it trusts

pub mod client; // a trusted root → a trusted view of the repository

pub mod policy; // which release may go where; touches nothing

pub mod payload; // packs of segments: frames and patches, decoded and checked

pub mod offer; // releases, as a channel's targets

#[cfg(feature = "publisher")]
pub mod publish; // keys, drafts, plans, and the checks of a whole repository

#[cfg(feature = "publisher")]
pub mod serve; // a small web server with a page

#[cfg(test)]
mod fixture;
