//! The cloud-config language: bytes → [`Config`], or every mistake with its place.
//!
//! bytes → [`recognise`] → text → [`Document::parse`] → tree → [`Document::decode`] → [`Config`]
//!
//! It is the language of coreos-cloudinit, every key of it and `-` the same as `_`, and what of
//! cloud-init makes sense on this system. A key that has no effect is told, never passed over
//! in silence. Addresses that only the machine knows are variables (`$private_ipv4`), replaced
//! in the values of the parsed tree, so that places stay exact and a value cannot become
//! syntax. Nothing here does I/O.
//!
//! ```
//! use cloud_config::{Document, UserData, Values, recognise};
//!
//! let bytes = b"#cloud-config\nhostnme: node-1\n";
//! let Ok(UserData::CloudConfig(text)) = recognise(bytes) else { panic!("no configuration") };
//! let (_config, findings) = Document::parse(&text).decode(&Values::Unknown);
//! assert_eq!(
//!     findings[0].line("user-data"),
//!     "user-data:2:1: warning: unknown key `hostnme`; did you mean `hostname`?"
//! );
//! ```
//!
//! Left out: scripts are recognised and not looked into; MIME messages, includes, templates and
//! other formats of cloud-init are refused.

// Bytes → what kind of user-data they are.
mod user_data;

// Text → tree, with everything that is wrong with it as YAML.
mod parse;
mod repair;
mod source;
mod syntax_error;
mod tree;

// Tree → values, with everything that is wrong with them.
mod decoder;
mod keys;
mod suggest;
mod syntax;
mod table;
mod variable;

// All of it in order, and what comes out.
mod address;
pub mod config;
mod document;
pub mod finding;

// The other language: network-config, version 2.
pub mod network;

pub use address::{Address, NotAnAddress, config_static_addresses};
pub use config::{
    Command, Config, DropIn, File, ServiceSettings, Spanned, Unit, UnitKind, Update, User,
};
pub use document::Document;
pub use finding::{Finding, Position, Severity, Span, has_errors};
pub use user_data::{MAX_USER_DATA, UserData, recognise};
pub use variable::{Values, Variable, VariableUse};
