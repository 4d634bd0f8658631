//! `publish`, `promote`, `rollout`, `halt` and `refresh`: what happens to releases.

use channels::policy::{Channel, Halt};
use channels::publish::operations::{self, PublishOptions};
use channels::publish::payload::Payload;
use channels::publish::{Draft, PublishError, State};

use super::arguments::{HaltArguments, PromoteArguments, PublishArguments, RolloutArguments};
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

/// Publishes a release.
pub(super) fn publish(context: &Context, arguments: PublishArguments) -> Result<(), PublishError> {
    let PublishArguments { release, channel, epoch, min_version, schedule } = arguments;
    let payload = Payload::read(&release)?;
    let version = payload.version.to_string();
    let rollout = context.rollout(&schedule);
    let options = PublishOptions { epoch, min_version, rollout };
    let state = operate(context, |state| {
        operations::publish(state, payload, channel, options, context.now)
    })?;
    print_reach(context, &state, &version, &[channel]);
    Ok(())
}

/// Carries a release on.
pub(super) fn promote(context: &Context, arguments: &PromoteArguments) -> Result<(), PublishError> {
    let PromoteArguments { version, to, soak, schedule } = arguments;
    let rollout = context.rollout(schedule);
    let state = operate(context, |state| {
        operations::promote(&context.repository, state, version, *to, *soak, rollout, context.now)
    })?;
    print_reach(context, &state, version.as_str(), &[*to]);
    Ok(())
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
