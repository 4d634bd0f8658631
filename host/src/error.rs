//! An error as one line, or as the lines that a program ends with.

use std::error::Error;
use std::iter::successors;

/// What caused an error, down to the root.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |cause| (**cause).source())
}

/// What failed and, after colons, what caused it, down to the root.
pub fn chain(error: &dyn Error) -> String {
    causes(error).fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// What failed, and every cause on a line of its own.
pub fn report(error: &dyn Error) -> String {
    let first = format!("error: {error}");
    causes(error).fold(first, |text, cause| format!("{text}\n  caused by: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_what_they_caused() {
        assert_eq!(chain(&std::fmt::Error), std::fmt::Error.to_string());
        assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
        let outer = Outer(std::io::Error::other("inner"));
        assert_eq!(report(&outer), "error: outer\n  caused by: inner");
    }
}
