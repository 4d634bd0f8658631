//! Names of units.

use std::fmt;

/// What a name without a type becomes.
pub const DEFAULT_TYPE: &str = ".service";
/// The longest name in bytes, systemd's limit.
const MAX: usize = 256;
const TYPES: [&str; 13] = [
    "automount",
    "busname",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "snapshot",
    "socket",
    "swap",
    "target",
    "timer",
];
const TEMPLATE_TYPES: [&str; 5] = ["path", "service", "socket", "target", "timer"];

/// A unit's name that fleet and systemd accept: `web.service`, `web@.service` (a template),
/// `web@1.service` (an instance of it).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is none.
    #[error("unit name cannot be empty")]
    Empty,
    /// Longer than systemd allows.
    #[error("unit name exceeds maximum length ({MAX})")]
    TooLong,
    /// No type.
    #[error("unit name `{0}` must end in a type, such as .service")]
    NoType(String),
    /// A type that systemd does not have.
    #[error("unit name `{name}` has the unknown type `{kind}`")]
    Type {
        /// The name.
        name: String,
        /// What stands behind its last dot.
        kind: String,
    },
    /// A template of a type that has none.
    #[error("unit name `{name}`: a {kind} cannot be a template")]
    TemplateType {
        /// The name.
        name: String,
        /// Its type.
        kind: String,
    },
    /// A character that must be escaped.
    #[error("unit name `{name}` has the invalid character {character:?}")]
    Character {
        /// The name.
        name: String,
        /// The first such character.
        character: char,
    },
    /// An instance of nothing.
    #[error("unit name `{0}` cannot start with @")]
    NoPrefix(String),
}

impl UnitName {
    /// Checks a name by the rules of fleet's API.
    pub fn parse(name: &str) -> Result<UnitName, NameError> {
        let owned = || name.to_string();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX {
            return Err(NameError::TooLong);
        }
        let Some((stem, kind)) = name.rsplit_once('.') else {
            return Err(NameError::NoType(owned()));
        };
        if kind.is_empty() || stem.is_empty() {
            return Err(NameError::NoType(owned()));
        }
        if !TYPES.contains(&kind) {
            return Err(NameError::Type { name: owned(), kind: kind.to_string() });
        }
        if let Some(character) =
            stem.chars().find(|c| !c.is_ascii_alphanumeric() && !":-_.\\@".contains(*c))
        {
            return Err(NameError::Character { name: owned(), character });
        }
        if name.contains('@') && !TEMPLATE_TYPES.contains(&kind) {
            return Err(NameError::TemplateType { name: owned(), kind: kind.to_string() });
        }
        if name.starts_with('@') {
            return Err(NameError::NoPrefix(owned()));
        }
        Ok(UnitName(owned()))
    }

    /// The same, for a name as a person types it: without a type it is a service.
    pub fn parse_typed(name: &str) -> Result<UnitName, NameError> {
        match UnitName::parse(name) {
            Err(NameError::NoType(_) | NameError::Type { .. }) => {
                UnitName::parse(&format!("{name}{DEFAULT_TYPE}"))
            }
            other => other,
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts that specifiers stand for.
    pub fn parts(&self) -> Parts<'_> {
        // A checked name has a type.
        Parts::of(&self.0).unwrap_or(Parts {
            full: &self.0,
            stem: &self.0,
            prefix: &self.0,
            instance: None,
        })
    }

    /// Whether it is a template: `web@.service`.
    pub fn is_template(&self) -> bool {
        self.parts().instance == Some("")
    }

    /// The template that an instance comes from; `None` for everything else.
    pub fn template(&self) -> Option<UnitName> {
        let parts = self.parts();
        match parts.instance {
            Some(instance) if !instance.is_empty() => {
                let kind = &self.0[parts.stem.len()..];
                Some(UnitName(format!("{}@{kind}", parts.prefix)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// `%n`: all of it.
    pub full: &'a str,
    /// `%N`: without its type.
    pub stem: &'a str,
    /// `%p`: what stands before the first `@`, or the stem.
    pub prefix: &'a str,
    /// `%i`: what stands between the first `@` and the type; empty for a template, `None` if
    /// there is no `@`.
    pub instance: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Takes any text apart; `None` if it has no type, in which case fleet replaces nothing.
    pub fn of(name: &'a str) -> Option<Parts<'a>> {
        let (stem, _) = name.rsplit_once('.')?;
        let (prefix, instance) = match stem.split_once('@') {
            Some((prefix, instance)) => (prefix, Some(instance)),
            None => (stem, None),
        };
        Some(Parts { full: name, stem, prefix, instance })
    }

    /// Replaces `%n`, `%N`, `%p` and `%i`, one after the other as fleet did.
    pub fn expand(&self, value: &str) -> String {
        if !value.contains('%') {
            return value.to_string();
        }
        value
            .replace("%n", self.full)
            .replace("%N", self.stem)
            .replace("%p", self.prefix)
            .replace("%i", self.instance.unwrap_or_default())
    }
}

/// What an instance and its siblings have in common: the template's name, or the unit's own.
pub(crate) fn group(name: &str) -> String {
    match Parts::of(name) {
        Some(Parts { prefix, instance: Some(_), stem, .. }) => {
            format!("{prefix}@{}", &name[stem.len()..])
        }
        _ => name.to_string(),
    }
}
