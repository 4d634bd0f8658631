//! The syntax of single values: plain functions from text to a value or a [`Mistake`].
//!
//! [`Mistake`]: crate::finding::Mistake

pub(crate) mod check;
pub(crate) mod content;
pub(crate) mod date;
pub(crate) mod directives;
pub(crate) mod name;
pub(crate) mod password;
pub(crate) mod path;
pub(crate) mod pem;
pub(crate) mod permissions;
pub(crate) mod ssh_key;
pub(crate) mod sudoers;
pub(crate) mod unit_name;
pub(crate) mod url;
