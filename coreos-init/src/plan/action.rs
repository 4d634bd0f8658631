//! What a plan is made of.

use std::fmt;

use cloud_config::{Finding, Span};

use crate::extension::merged::Expected;
use crate::ledger::{Ledger, Place, Trace};
use crate::verbs::UnitJob;

/// Everything that will be done to a root, decided and rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to write and remove, in order; no two at one path.
    pub actions: Vec<Action>,
    /// Mistakes that only this machine could tell, with their place in the configuration.
    pub findings: Vec<Finding>,
    /// What the operator should know that has no place in the configuration.
    pub notes: Vec<String>,
    /// What the service manager is asked for once it runs, in order.
    pub jobs: Vec<UnitJob>,
    /// Scripts that it is to run, in order: absolute paths.
    pub scripts: Vec<String>,
    /// Extensions that are to be merged when it runs.
    pub extensions: Vec<Expected>,
    /// What the configuration owns when this is done.
    pub owned: Ledger,
    /// What the last configuration owned.
    pub previous: Ledger,
}

/// One change at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Absolute path in the root, without `.` and `..`.
    pub path: String,
    /// The home directory that `path` lies in. Its owner can put anything there, so below it no
    /// symbolic link is followed.
    pub home: Option<String>,
    /// Why it is done.
    pub origin: Origin,
    /// What is done.
    pub effect: Effect,
}

/// Why something is done: the part of the configuration and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Such as `write_files` or `metadata`.
    pub section: &'static str,
    /// Where in the user data, if it is from there.
    pub span: Option<Span>,
    /// All of the entry that stands there: the variables in it are those it depends on.
    pub entry: Option<Span>,
}

/// What is done at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A file with this content, mode and owner.
    File {
        /// All of it.
        content: Content,
        /// Mode bits.
        mode: u32,
        /// Owner.
        owner: Owner,
        /// The whole file is the configuration's and goes when it is no longer named. Not so
        /// for files that others write too.
        owned: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
    /// A directory with this mode and owner.
    Directory {
        /// Mode bits.
        mode: u32,
        /// Owner.
        owner: Owner,
    },
    /// A home directory, filled from the skeleton. One that exists is left as it is.
    Home {
        /// Owner of it and of all in it.
        owner: Owner,
        /// What it starts with.
        skeleton: Vec<Skeleton>,
    },
    /// What an earlier configuration put there goes, if it still has one of these forms.
    Remove {
        /// The forms it was given.
        forms: Vec<Trace>,
        /// What the image has at this path: put back instead of leaving nothing.
        original: Option<Original>,
    },
}

/// A file's bytes. Shown as their number: they may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

/// User and group, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// The owner of everything that nobody else was named for.
    pub const ROOT: Owner = Owner { uid: 0, gid: 0 };
}

/// Mode of a home directory.
pub const HOME_MODE: u32 = 0o700;

/// An entry of the directory that new homes are copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    /// Path below the home.
    pub path: String,
    /// Mode bits.
    pub mode: u32,
    /// A file's content; none for a directory.
    pub content: Option<Content>,
}

/// A file as the image has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// All of it.
    pub content: Content,
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
}

impl Action {
    /// The directory that this action puts something into.
    pub fn parent(&self) -> Place {
        Place { path: parent(&self.path).to_string(), home: self.home.clone() }
    }
}

/// The directory a path lies in.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

/// The last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span {
            Some(span) => {
                write!(f, "{}, {}:{}", self.section, span.start.line, span.start.column)
            }
            None => f.write_str(self.section),
        }
    }
}

/// One line, without the content: what `--dry-run` prints.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.effect {
            Effect::File { content, mode, owner: Owner { uid, gid }, .. } => {
                let size = content.0.len();
                write!(f, "file {path} {mode:04o} {uid}:{gid} {size} bytes")?;
            }
            Effect::Link { target } => write!(f, "link {path} -> {target}")?,
            Effect::Directory { mode, owner: Owner { uid, gid } } => {
                write!(f, "directory {path} {mode:04o} {uid}:{gid}")?;
            }
            Effect::Home { owner: Owner { uid, gid }, skeleton } => {
                let entries = skeleton.len();
                write!(f, "home {path} {HOME_MODE:04o} {uid}:{gid} {entries} entries")?;
            }
            Effect::Remove { original: None, .. } => write!(f, "remove {path}")?,
            Effect::Remove { original: Some(_), .. } => write!(f, "restore {path}")?,
        }
        write!(f, " ({})", self.origin)
    }
}
