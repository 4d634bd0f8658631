//! An error as one line.

use std::error::Error;

/// What failed and, after colons, what caused it, down to the root.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
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
    }
}
