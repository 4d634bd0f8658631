//! `rollout`: new versions of units that replace old ones step by step.

use super::arguments::{Output, Rollout, RolloutVerb};
use super::cluster::Cluster;
use super::error::CtlError;
use super::list::json;
use super::screen::say;
use super::table::Table;

pub(super) fn run(cluster: &Cluster, rollout: Rollout) -> Result<u8, CtlError> {
    let (group, verb, done) = match rollout.verb {
        None => return status(cluster, Output::Text),
        Some(RolloutVerb::Status { output }) => return status(cluster, output),
        Some(RolloutVerb::Pause { group }) => (group, "pause", "Paused"),
        Some(RolloutVerb::Resume { group }) => (group, "resume", "Resumed"),
        Some(RolloutVerb::Undo { group }) => (group, "undo", "Going back with"),
    };
    cluster.rollout(&group, verb)?;
    say(&format!("{done} {group}\n"));
    Ok(0)
}

fn status(cluster: &Cluster, output: Output) -> Result<u8, CtlError> {
    let rollouts = cluster.rollouts()?;
    if output == Output::Json {
        say(&json(&rollouts)?);
        return Ok(0);
    }
    let mut table = Table::default();
    table.row(["GROUP", "UPDATED", "STATE"].map(str::to_string).to_vec());
    for rollout in rollouts {
        let state = match (rollout.paused, rollout.updated == rollout.total) {
            (true, _) => "paused",
            (false, true) => "done",
            (false, false) => "running",
        };
        let updated = format!("{}/{}", rollout.updated, rollout.total);
        table.row(vec![rollout.group, updated, state.to_string()]);
    }
    say(&table.text());
    Ok(0)
}
