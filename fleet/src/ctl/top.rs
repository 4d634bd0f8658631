//! `top` and `events`: the cluster at a glance.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use super::arguments::Top;
use super::cluster::{Cluster, short};
use super::error::CtlError;
use super::screen::{ago, now, say};
use super::table::Table;

/// Events that are shown below the machines.
const EVENTS: usize = 8;
/// Home, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[J";

pub(super) fn run(cluster: &Cluster, top: &Top) -> Result<u8, CtlError> {
    let again = !top.once && std::io::stdout().is_terminal();
    if !again {
        say(&glance(cluster)?);
        return Ok(0);
    }
    loop {
        // What does not answer now may answer at the next look.
        let text = glance(cluster).unwrap_or_else(|error| format!("{error}\n"));
        say(&format!("{CLEAR}{text}"));
        thread::sleep(Duration::from_secs(top.interval));
    }
}

fn glance(cluster: &Cluster) -> Result<String, CtlError> {
    let status = cluster.cluster()?;
    let now = now();
    let leader = match &status.leader {
        Some(leader) => {
            format!("{} for {}", short(&leader.machine, false), ago(now, leader.since))
        }
        None => "nobody".to_string(),
    };
    let mut text = format!(
        "{} machines, {} units, {} without a machine; decided by {leader}\n",
        status.machines,
        status.units,
        status.unplaced.len(),
    );
    if let Some(brake) = &status.brake {
        let (count, since) = (brake.machines.len(), ago(now, brake.since));
        text.push_str(&format!(
            "BRAKE: {count} machines went missing {since} ago, nothing moves\n"
        ));
    }
    for machine in &status.missing {
        text.push_str(&format!("missing: {}\n", short(machine, false)));
    }
    for unit in status.unplaced.iter().take(EVENTS) {
        text.push_str(&format!("without a machine: {unit} (fleetctl why {unit})\n"));
    }
    text.push('\n');
    text.push_str(&machines(cluster)?);
    text.push('\n');
    let events = cluster.events()?;
    let last = events.len().saturating_sub(EVENTS);
    for event in &events[last..] {
        text.push_str(&format!("{:>6} ago  {}: {}\n", ago(now, event.at), event.about, event.what));
    }
    Ok(text)
}

fn machines(cluster: &Cluster) -> Result<String, CtlError> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for state in cluster.states()? {
        let count = counts.entry(state.machine_id).or_default();
        count.0 += usize::from(state.systemd_active_state == "active");
        count.1 += usize::from(state.systemd_active_state == "failed");
    }
    let mut table = Table::default();
    table.row(["MACHINE", "IP", "ACTIVE", "FAILED", "CORDON"].map(str::to_string).to_vec());
    for machine in cluster.machines()? {
        let (active, failed) = counts.get(&machine.id).copied().unwrap_or_default();
        let cordon = machine.cordon.map_or_else(|| "-".to_string(), |cordon| cordon.reason);
        table.row(vec![
            short(&machine.id, false),
            machine.primary_ip,
            active.to_string(),
            failed.to_string(),
            cordon,
        ]);
    }
    Ok(table.text())
}

pub(super) fn events(cluster: &Cluster) -> Result<u8, CtlError> {
    let now = now();
    for event in cluster.events()? {
        say(&format!("{:>6} ago  {}: {}\n", ago(now, event.at), event.about, event.what));
    }
    Ok(0)
}
