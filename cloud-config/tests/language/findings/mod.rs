//! What is wrong with configurations: every finding of each, as a console shows it.

mod entries;
mod keys;
mod services;
mod yaml;

use crate::support::findings;

/// A configuration, and its findings without the name of the source.
type Case = (&'static str, &'static [&'static str]);

#[track_caller]
fn check(cases: &[Case]) {
    for (text, want) in cases {
        assert_eq!(findings(text), *want, "\n{text}");
    }
}
