//! What a scenario found wrong, all of it.

use std::error::Error;
use std::fmt::{Debug, Display};

/// How a scenario ends.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Collects what is wrong, so that one boot tells everything.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    wrong: Vec<String>,
}

impl Checks {
    /// `what` must be so; `seen` is shown if it is not.
    pub(crate) fn holds(&mut self, what: &str, so: bool, seen: impl Display) {
        if !so {
            self.wrong.push(format!("not so: {what}; seen: {seen}"));
        }
    }

    /// `got` must be `want`. An error in getting it is a failure like another.
    pub(crate) fn equal<T: PartialEq + Debug>(
        &mut self,
        what: &str,
        got: qemu_tests::Result<T>,
        want: impl Into<T>,
    ) {
        let want = want.into();
        match got {
            Ok(got) if got == want => {}
            Ok(got) => self.wrong.push(format!("{what}: {got:?} instead of {want:?}")),
            Err(error) => self.wrong.push(format!("{what}: {}", told(&error))),
        }
    }

    /// `got` must contain `part`.
    pub(crate) fn contains(&mut self, what: &str, got: qemu_tests::Result<String>, part: &str) {
        match got {
            Ok(got) if got.contains(part) => {}
            Ok(got) => self.wrong.push(format!("{what}: no `{part}` in {got:?}")),
            Err(error) => self.wrong.push(format!("{what}: {}", told(&error))),
        }
    }

    /// An error with all that is wrong, or none.
    pub(crate) fn finish(self) -> Outcome {
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("\n").into()) }
    }
}

/// An error and what caused it.
pub(crate) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  caused by: {error}"));
        cause = error.source();
    }
    text
}
