//! `publish`, `promote`, `rollout`, `halt` and `refresh`: what happens to releases.

use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use channels::client::Target;
use channels::offer::Part;
use channels::policy::{Channel, Halt};
use channels::publish::operations::{self, PublishOptions};
use channels::publish::overview::format_size;
use channels::publish::packing::{BuiltPack, Packing, PatchFrom, Source};
use channels::publish::payload::Payload;
use channels::publish::retire::{self, Pruned};
use channels::publish::{Draft, PublishError, Repository, State};
use disk::version::Version;

use super::arguments::{
    HaltArguments, PackArguments, PromoteArguments, PublishArguments, RetireArguments,
    RolloutArguments,
};
use super::context::Context;

/// Turns the state of the repository into a draft, signs and publishes that.
fn operate(
    context: &Context,
    operation: impl for<'s> FnOnce(&'s State) -> Result<Draft<'s>, PublishError>,
) -> Result<State, PublishError> {
    let _lock = context.lock()?;
    let state = context.state()?;
    let draft = operation(&state)?;
    context.with_keyring(|keyring| context.publish(keyring, draft))?;
    context.state()
}

/// What the channels say of a release now.
fn print_reach(context: &Context, state: &State, version: &str, channels: &[Channel]) {
    use channels::publish::overview::Overview;
    let overview = Overview::of(state, context.now);
    for channel in overview.channels.iter().filter(|channel| channels.contains(&channel.name)) {
        let found = channel.releases.iter().find(|view| view.release.version.as_str() == version);
        if let Some(view) = found {
            println!("{version} in {}: {}", channel.name, view.reach());
        }
    }
}

/// How packs are to be made, if they are.
fn packing(arguments: &PackArguments) -> Option<Packing> {
    let from = match arguments.patch_from.as_slice() {
        [] => PatchFrom::Newest(arguments.patch_newest),
        versions => PatchFrom::Versions(versions.to_vec()),
    };
    let threads = available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    (!arguments.no_packs).then_some(Packing { from, threads })
}

/// Making packs takes minutes: who waits is told what for.
fn report(step: &str) {
    if io::stderr().is_terminal() {
        eprintln!("{step}");
    }
}

/// Publishes a release.
pub(super) fn publish(context: &Context, arguments: PublishArguments) -> Result<(), PublishError> {
    let PublishArguments { release, channel, epoch, min_version, packs, schedule } = arguments;
    let payload = Payload::read(&release)?;
    let version = payload.version.clone();
    let rollout = context.rollout(&schedule);
    let options = PublishOptions { epoch, min_version, rollout };
    let repository = &context.repository;
    let state = operate(context, |state| {
        let source = Source { version: &version, parts: payload.files.clone() };
        let mut draft = operations::publish(state, payload, channel, options, context.now)?;
        if let Some(packing) = packing(&packs) {
            let old = packing.from.choose(state, channel, &version)?;
            let scratch = repository.scratch();
            let built = packing.build(repository, &source, true, &old, &scratch, &mut report)?;
            operations::add_packs(&mut draft, channel, built);
        }
        Ok(draft)
    })?;
    print_reach(context, &state, version.as_str(), &[channel]);
    Ok(())
}

/// Carries a release on.
pub(super) fn promote(context: &Context, arguments: &PromoteArguments) -> Result<(), PublishError> {
    let PromoteArguments { version, to, soak, packs, schedule } = arguments;
    let rollout = context.rollout(schedule);
    let repository = &context.repository;
    let state = operate(context, |state| {
        let mut draft =
            operations::promote(repository, state, version, *to, *soak, rollout, context.now)?;
        if let Some(packing) = packing(packs) {
            let built = more_packs(repository, state, version, *to, &packing)?;
            operations::add_packs(&mut draft, *to, built);
        }
        Ok(draft)
    })?;
    print_reach(context, &state, version.as_str(), &[*to]);
    Ok(())
}

/// The packs that a release still lacks in the channel that it goes to: the releases before it
/// there are not those of the channel that it comes from.
fn more_packs(
    repository: &Repository,
    state: &State,
    version: &Version,
    channel: Channel,
    packing: &Packing,
) -> Result<Vec<BuiltPack>, PublishError> {
    let new = state.find(version.as_str())?;
    let mut old = packing.from.choose(state, channel, version)?;
    old.retain(|old| new.patch(Part::Root, &old.release.root_hash).is_none());
    let parts = new.files.iter().map(|(part, file)| {
        let target = Target::consistent(&new.path(*part), file.clone());
        (*part, (repository.target_path(&target), file.clone()))
    });
    let source = Source { version, parts: parts.collect() };
    let frames = new.frames(Part::Root).is_none();
    packing.build(repository, &source, frames, &old, &repository.scratch(), &mut report)
}

/// Sets the roll-out of a release.
pub(super) fn rollout(context: &Context, arguments: &RolloutArguments) -> Result<(), PublishError> {
    let version = &arguments.version;
    let rollout = context.rollout(&arguments.schedule);
    let mut channel = arguments.channel.unwrap_or(Channel::Alpha);
    let state = operate(context, |state| {
        if arguments.channel.is_none() {
            channel = operations::only_channel(state, version)?;
        }
        operations::set_rollout(state, version, channel, rollout)
    })?;
    print_reach(context, &state, version.as_str(), &[channel]);
    Ok(())
}

/// Halts a release, or lets it go on.
pub(super) fn halt(context: &Context, arguments: &HaltArguments) -> Result<(), PublishError> {
    let HaltArguments { version, channel, reason, undo } = arguments;
    let halt = Halt { since: context.now, reason: reason.clone() };
    let halt = (!undo).then_some(&halt);
    let mut channels: Vec<Channel> = channel.iter().copied().collect();
    let state = operate(context, |state| {
        if channels.is_empty() {
            channels = state.carriers(version.as_str());
        }
        if channels.is_empty() {
            return Err(PublishError::NoRelease { version: version.to_string() });
        }
        operations::set_halt(state, version, &channels, halt)
    })?;
    print_reach(context, &state, version.as_str(), &channels);
    Ok(())
}

/// Takes releases out of the channels.
pub(super) fn retire(context: &Context, arguments: &RetireArguments) -> Result<(), PublishError> {
    let mut versions = arguments.versions.clone();
    operate(context, |state| {
        if let Some(keep) = arguments.keep {
            versions = retire::all_but_newest(state, usize::try_from(keep).unwrap_or(usize::MAX));
        }
        retire::retire(state, &versions)
    })?;
    match versions.as_slice() {
        [] => println!("nothing to retire"),
        versions => {
            let names: Vec<_> = versions.iter().map(Version::as_str).collect();
            println!("retired {}: `channels prune` frees the space later", names.join(", "));
        }
    }
    Ok(())
}

/// Removes files that nobody needs.
pub(super) fn prune(context: &Context, after: Duration) -> Result<(), PublishError> {
    let _lock = context.lock()?;
    let state = context.state()?;
    let done = retire::prune(&context.repository, &state, after, context.now)?;
    let Pruned { removed, bytes, waiting } = done;
    println!("removed {removed} files ({}), {waiting} wait for their time", format_size(bytes));
    Ok(())
}

/// Signs again what expires.
pub(super) fn refresh(context: &Context, all: bool) -> Result<(), PublishError> {
    let _lock = context.lock()?;
    let state = context.state()?;
    context.with_keyring(|keyring| {
        let (draft, done) =
            operations::refresh(&state, keyring, &context.lifetimes, all, context.now)?;
        context.publish(keyring, draft)?;
        let also = match done.signed.is_empty() {
            true => String::new(),
            false => format!(", and {}", done.signed.join(", ")),
        };
        let until = context.now.plus(context.lifetimes.timestamp);
        println!("signed the timestamp{also}: good until {until}");
        for (role, expires) in done.attention {
            let how = match role.as_str() {
                "root" => "channels root renew",
                _ => "channels refresh --all",
            };
            println!("{role} expires at {expires}: `{how}`");
        }
        Ok(())
    })
}
