//! The keys of a mapping. One table says what is known at a place, what each key does, and so
//! what a wrong one may have meant.

use crate::finding::Severity;
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
    /// It has an effect.
    Applied(R),
    /// It has an effect where it does not belong, and is not suggested.
    Tolerated(R),
    /// It is known and has none: a warning that ends in these words.
    Ignored(&'static str, Option<&'static str>),
    /// It is known, and to go on without it would do harm: an error that ends in these words.
    Refused(&'static str, Option<&'static str>),
}

const NOT_APPLIED: &str = "is recognised but not applied by this release";

pub(crate) const fn applied<R>(name: &'static str, rule: R) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Applied(rule) }
}

pub(crate) const fn ignored<R>(name: &'static str) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Ignored(NOT_APPLIED, None) }
}

pub(crate) const fn ignored_for<R>(name: &'static str, instead: &'static str) -> KnownKey<R> {
    KnownKey { name, rule: Rule::Ignored(NOT_APPLIED, Some(instead)) }
}

impl<R> Table<R> {
    pub(crate) fn find(&self, name: &str) -> Option<&KnownKey<R>> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// What may have been meant by a key that is not in the table.
    pub(crate) fn advice(&self, name: &str, written: &str) -> String {
        let spelled = |key: &str| match written.contains('-') && !written.contains('_') {
            true => key.replace('_', "-"),
            false => key.to_owned(),
        };
        let applied = self.keys.iter().filter(|key| matches!(key.rule, Rule::Applied(_)));
        let rest = self
            .keys
            .iter()
            .filter(|key| matches!(key.rule, Rule::Ignored(..) | Rule::Refused(..)));
        let names = applied.clone().chain(rest).map(|key| key.name);
        if let Some(place) = (self.elsewhere)(name) {
            return format!("it belongs {place}");
        }
        match nearest(name, names) {
            Some(key) => format!("did you mean `{}`?", spelled(key)),
            None => {
                let all: Vec<_> = applied.map(|key| spelled(key.name)).collect();
                format!("known are {}", all.join(", "))
            }
        }
    }
}

pub(crate) fn nowhere(_: &str) -> Option<&'static str> {
    None
}
