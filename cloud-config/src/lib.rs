//! The cloud-config language: bytes → [`Config`], or every mistake with its place.
//!
//! bytes → [`Bundle::read`] → texts, each parsed into a tree → [`Bundle::decode`] → [`Config`]
//!
//! It is the language of coreos-cloudinit, every key of it and `-` the same as `_`, and what of
//! cloud-init makes sense on this system. A key that has no effect is told, never passed over
//! in silence. Addresses that only the machine knows are variables (`$private_ipv4`), replaced
//! in the values of the parsed tree, so that places stay exact and a value cannot become
//! syntax. Nothing here does I/O.
//!
//! ```
//! use cloud_config::{Bundle, Values};
//!
//! let bundle = Bundle::local("user-data", b"#cloud-config\nhostnme: node-1\n");
//! let (_config, findings) = bundle.decode(&Values::Unknown);
//! assert_eq!(
//!     bundle.line(&findings[0]),
//!     "user-data:2:1: warning: unknown key `hostnme`; did you mean `hostname`?"
//! );
//! ```
//!
//! Left out: templates, boothooks, part handlers and archives of cloud-init, and JSON of
//! Ignition, are refused.

// Bytes → what kind of user-data they are, and the texts in it.
mod bundle;
mod include;
mod mime;
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
mod outline;
mod suggest;
mod syntax;
mod table;
mod variable;

// All of it in order, and what comes out.
mod address;
pub mod config;
mod document;
pub mod finding;
mod redact;

// The other language: network-config, version 2.
pub mod network;

pub use address::{Address, NotAnAddress, config_static_addresses};
pub use bundle::{Bundle, Fetch};
pub use config::{
    CaCerts, Command, Config, DropIn, Extension, ExtensionSource, File, Group, KeyForm, KeySource,
    Mount, Ntp, Password, Remote, Script, Secret, ServiceSettings, Spanned, Swap, Unit, UnitKind,
    Update, User,
};
pub use document::Document;
pub use finding::{Finding, Position, Severity, Span, has_errors};
pub use include::Include;
pub use keys::{OTHER_FORMATS, PEERS};
pub use outline::{KeyOutline, Outline, Shape, outline};
pub use redact::redacted;
pub use table::OtherKey;
pub use user_data::MAX_USER_DATA;
pub use variable::{Values, Variable, VariableUse};
