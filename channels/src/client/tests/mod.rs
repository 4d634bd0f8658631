//! The workflow of the specification, step by step, each against a repository that breaks it.

mod delegations;
mod memory;
mod roots;
mod top_level;

use super::*;
use std::error::Error;

/// An error with its causes, in one line.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The error of an update or a search that must fail.
fn refusal<T>(result: Result<T, ClientError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => told(&error),
    }
}
