//! The command line: arguments → one operation on the repository → one line about it.

mod arguments;
mod ceremony;
mod context;
mod inspect;
mod keys;
mod passphrase;
mod releases;

pub(crate) use arguments::Arguments;

use std::net::TcpListener;

use channels::publish::PublishError;
use channels::time::Time;

use arguments::{Command, KeysCommand, RootCommand, ServeArguments};
use context::Context;

/// Does what was asked for; `false` if that found something wrong.
pub(crate) fn run(arguments: Arguments, now: fn() -> Time) -> Result<bool, PublishError> {
    let context = Context::new(&arguments, now());
    match arguments.command {
        Command::Init(init) => ceremony::init(&context, &init)?,
        Command::Keys(KeysCommand::New(new)) => keys::new(&context, &new)?,
        Command::Keys(KeysCommand::Rotate(rotate)) => keys::rotate(&context, &rotate)?,
        Command::Keys(KeysCommand::Add(add)) => keys::add(&context, &add)?,
        Command::Keys(KeysCommand::Remove { role, key }) => keys::remove(&context, &role, &key)?,
        Command::Keys(KeysCommand::Threshold { role, threshold }) => {
            keys::threshold(&context, &role, threshold)?;
        }
        Command::Keys(KeysCommand::List) => keys::list(&context)?,
        Command::Root(RootCommand::Renew) => ceremony::renew(&context)?,
        Command::Root(RootCommand::Threshold { threshold }) => {
            ceremony::threshold(&context, threshold)?;
        }
        Command::Root(RootCommand::Add { key }) => ceremony::add(&context, &key)?,
        Command::Root(RootCommand::Remove { key }) => ceremony::remove(&context, &key)?,
        Command::Root(RootCommand::Export { file }) => ceremony::export(&context, &file)?,
        Command::Root(RootCommand::Sign { file, key }) => ceremony::sign(&context, &file, &key)?,
        Command::Root(RootCommand::Import { file }) => ceremony::import(&context, &file)?,
        Command::Root(RootCommand::Status) => ceremony::status(&context)?,
        Command::Publish(publish) => releases::publish(&context, publish)?,
        Command::Promote(promote) => releases::promote(&context, &promote)?,
        Command::Rollout(rollout) => releases::rollout(&context, &rollout)?,
        Command::Halt(halt) => releases::halt(&context, &halt)?,
        Command::Retire(retire) => releases::retire(&context, &retire)?,
        Command::Prune { after } => releases::prune(&context, after)?,
        Command::Refresh { all } => releases::refresh(&context, all)?,
        Command::Verify => return inspect::verify(&context),
        Command::Status { json } => inspect::status(&context, json)?,
        Command::Diff { from, to, json } => inspect::diff(&context, &from, &to, json)?,
        Command::Serve(serve) => self::serve(&serve, now)?,
    }
    Ok(true)
}

fn serve(arguments: &ServeArguments, now: fn() -> Time) -> Result<(), PublishError> {
    let ServeArguments { directory, listen } = arguments;
    if !channels::publish::Repository::at(directory).exists() {
        return Err(PublishError::NoRepository { path: directory.clone() });
    }
    let failed = |source| PublishError::File { action: "serve", path: directory.clone(), source };
    let listener = TcpListener::bind(listen).map_err(|error| PublishError::Nonsense {
        reason: format!("cannot listen on {listen}: {error}"),
    })?;
    let address = listener.local_addr().map_err(failed)?;
    println!("serving {} on http://{address}/", directory.display());
    match channels::serve::serve(&listener, directory, now) {
        Ok(never) => match never {},
        Err(error) => Err(failed(error)),
    }
}
