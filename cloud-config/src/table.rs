//! The keys of a mapping. One table says what is known at a place, what each key does, what its
//! value looks like, and so what a wrong one may have meant.

use crate::finding::Severity;
use crate::keys::PEERS;
use crate::outline::{KeyOutline, Outline, Shape};
use crate::suggest::nearest;

/// The keys that a mapping may have, and what to do with each: `R`.
#[derive(Debug)]
pub(crate) struct Table<R: 'static> {
    /// The mapping's name in messages; nothing for the whole configuration.
    pub(crate) place: &'static str,
    /// How bad an unknown key is.
    pub(crate) unknown: Severity,
    pub(crate) keys: &'static [KnownKey<R>],
    /// Where a key belongs that is unknown here but known there, as a phrase.
    pub(crate) elsewhere: fn(&str) -> Option<&'static str>,
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct KnownKey<R> {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule<R>,
}

/// What a key leads to.
#[derive(Debug)]
pub(crate) enum Rule<R> {
    /// It has an effect; what its value looks like and what it does are known to editors.
    Described(R, Shape, &'static str),
    /// It has an effect where it does not belong, and is not suggested.
    Tolerated(R),
    /// It is known and has none: a warning that ends in these words.
    Ignored(&'static str, Option<&'static str>),
    /// What it asks for is the case anyway.
    Idle(Shape, &'static str),
}

impl<R> Rule<R> {
    /// What is to be done, if it has an effect.
    pub(crate) fn effect(&self) -> Option<&R> {
        match self {
            Self::Described(rule, ..) | Self::Tolerated(rule) => Some(rule),
            Self::Ignored(..) | Self::Idle(..) => None,
        }
    }

    /// Whether the key is one to write.
    fn is_known(&self) -> bool {
        matches!(self, Self::Described(..) | Self::Idle(..))
    }
}

/// A key of another system: of cloud-init, of Ignition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherKey {
    /// Its name, with `_`.
    pub name: &'static str,
    /// Whose it is.
    pub system: &'static str,
    /// What to use instead.
    pub instead: &'static str,
}

const NOT_APPLIED: &str = "is recognised but not applied by this release";

/// A key that has an effect where it does not belong.
pub(crate) const fn tolerated<R>(name: &'static str, rule: R) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Tolerated(rule) }
}

pub(crate) const fn key<R>(
    name: &'static str,
    shape: Shape,
    about: &'static str,
    rule: R,
) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Described(rule, shape, about) }
}

/// A key that asks for what is the case anyway.
pub(crate) const fn idle<R>(name: &'static str, shape: Shape, about: &'static str) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Idle(shape, about) }
}

pub(crate) const fn ignored<R>(name: &'static str) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Ignored(NOT_APPLIED, None) }
}

/// A key that is known and has no effect.
pub(crate) const fn without<R>(
    name: &'static str,
    why: &'static str,
    instead: Option<&'static str>,
) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Ignored(why, instead) }
}

impl<R> Table<R> {
    pub(crate) fn find(&self, name: &str) -> Option<&KnownKey<R>> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Other systems' keys turn up where a configuration begins.
    pub(crate) fn other(&self, name: &str) -> Option<&'static OtherKey> {
        self.others().iter().find(|key| key.name == name)
    }

    fn others(&self) -> &'static [OtherKey] {
        if self.place.is_empty() { PEERS } else { &[] }
    }

    /// What may have been meant by a key that is not in the table.
    pub(crate) fn advice(&self, name: &str, written: &str) -> String {
        let spelled = |key: &str| match written.contains('-') && !written.contains('_') {
            true => key.replace('_', "-"),
            false => key.to_owned(),
        };
        let applied = self.keys.iter().filter(|key| key.rule.is_known());
        let rest = self.keys.iter().filter(|key| matches!(key.rule, Rule::Ignored(..)));
        let names = applied.clone().chain(rest).map(|key| key.name);
        let names = names.chain(self.others().iter().map(|key| key.name));
        if let Some(place) = (self.elsewhere)(name) {
            return format!("it belongs {place}");
        }
        match nearest(name, names) {
            Some(key) => format!("did you mean `{}`?", spelled(key)),
            None => {
                let all: Vec<_> = applied.map(|key| spelled(key.name)).collect();
                match all.len() {
                    0..=14 => format!("known are {}", all.join(", ")),
                    _ => "docs/cloud-config.md has all that are known".to_owned(),
                }
            }
        }
    }

    /// The keys to write, for a schema.
    pub(crate) fn outline(&self, required: &[&str]) -> Outline {
        let described = |key: &KnownKey<R>| match key.rule {
            Rule::Described(_, shape, about) | Rule::Idle(shape, about) => Some((shape, about)),
            Rule::Tolerated(_) | Rule::Ignored(..) => None,
        };
        let keys = self.keys.iter().filter_map(|key| {
            let (shape, about) = described(key)?;
            Some(KeyOutline {
                name: key.name,
                about,
                shape,
                required: required.contains(&key.name),
            })
        });
        Outline { keys: keys.collect() }
    }
}

pub(crate) fn nowhere(_: &str) -> Option<&'static str> {
    None
}
