//! `cluster lock`.

use std::time::SystemTime;

use cluster::reboot::{RebootError, RebootLock, report};
use serde_json::json;

use super::arguments::{LockArguments, LockCommand};
use super::{Failed, client};

pub(crate) async fn run(arguments: LockArguments, now: SystemTime) -> Result<(), Failed> {
    let lock = RebootLock::new(client(&arguments.etcd)?, &arguments.group)?;
    match arguments.command {
        LockCommand::Status { json } => status(&lock, json, now).await?,
        LockCommand::SetMax { slots } => {
            let before = lock.set_slots(slots).await?;
            println!("Old-Max: {before}\nMax: {slots}");
        }
        LockCommand::SetFailures { machines } => lock.set_failures(machines).await?,
        LockCommand::Unlock { machine } => match lock.unlock(&machine).await {
            // In locksmithctl's words, with what it left out.
            Err(error @ RebootError::NotHeld { .. }) => {
                return Err(format!("Error unlocking: holder does not exist: {error}").into());
            }
            result => result?,
        },
        LockCommand::Halt { reason } => lock.halt(&reason, now).await?,
        LockCommand::Resume { version } => lock.resume(version.as_deref()).await?,
    }
    Ok(())
}

async fn status(lock: &RebootLock, as_json: bool, now: SystemTime) -> Result<(), Failed> {
    let group = lock.status().await?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if !as_json {
        print!("{}", report(&group, now));
        return Ok(());
    }
    let holders: Vec<_> = group
        .holders
        .iter()
        .map(
            |held| json!({"holder": held.holder, "token": held.token, "stale": held.is_stale(now)}),
        )
        .collect();
    let queue: Vec<_> = group
        .queue
        .iter()
        .map(|waiting| {
            let waiter = &waiting.waiter;
            let obstacles = group.obstacles(&waiter.machine, waiter.version.as_deref());
            let why: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
            json!({"waiter": waiter, "number": waiting.number, "why": why})
        })
        .collect();
    let report = json!({
        "group": lock.group(), "slots": group.slots, "failures": group.failures,
        "halt": group.halt, "holders": holders, "queue": queue, "verdicts": group.verdicts,
    });
    println!("{report:#}");
    Ok(())
}
