//! `verify`, `status` and `diff`: what there is, and whether it is right.

use channels::publish::PublishError;
use channels::publish::audit::audit;
use channels::publish::ceremony::Staged;
use channels::publish::diff::diff as compare;
use channels::publish::overview::{Overview, format_size};
use serde::Serialize;

use super::context::Context;

/// Checks the whole repository; `false` if something must be repaired.
pub(super) fn verify(context: &Context) -> Result<bool, PublishError> {
    context.state()?;
    let audit = audit(&context.repository, context.now)?;
    for error in &audit.errors {
        println!("error: {error}");
    }
    for warning in &audit.warnings {
        println!("warning: {warning}");
    }
    let (files, size) = (audit.files, format_size(audit.bytes));
    if audit.errors.is_empty() {
        println!("good: metadata, rules and {files} files ({size})");
    }
    Ok(audit.errors.is_empty())
}

/// Shows roles, channels and releases.
pub(super) fn status(context: &Context, json: bool) -> Result<(), PublishError> {
    let state = context.state()?;
    let overview = Overview::of(&state, context.now);
    if json {
        print_json(&overview);
        return Ok(());
    }
    print!("{overview}");
    if let Some(staged) = Staged::load(&context.keys)?
        && staged.root().version > state.root.version
    {
        println!(
            "\nversion {} of the root waits for signatures: `channels root status`",
            staged.root().version
        );
    }
    Ok(())
}

/// Shows what changes from one release to another.
pub(super) fn diff(
    context: &Context,
    from: &str,
    to: &str,
    json: bool,
) -> Result<(), PublishError> {
    let difference = compare(&context.repository, &context.state()?, from, to)?;
    if json {
        print_json(&difference);
    } else {
        print!("{difference}");
    }
    Ok(())
}

fn print_json(value: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(value).expect("only strings for names"));
}
