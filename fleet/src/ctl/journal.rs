//! `journal`: what a unit has said, from the machines that have it.

use std::io::{self, BufRead, BufReader, Read};
use std::thread;

use super::arguments::Journal;
use super::cluster::Cluster;
use super::error::{CtlError, other};
use super::screen::say;
use super::unit::known;

pub(super) fn run(cluster: &Cluster, journal: &Journal) -> Result<u8, CtlError> {
    let [typed] = journal.units.as_slice() else {
        return Err(other("One unit file must be provided."));
    };
    if !journal.output.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(other(format!("{:?} is not a mode of journalctl", journal.output)));
    }
    let unit = known(cluster, typed)?;
    let states = cluster.states_of(&unit.name)?;
    let mut machines: Vec<String> = states.into_iter().map(|state| state.machine_id).collect();
    if machines.is_empty() && !unit.machine_id.is_empty() {
        machines.push(unit.machine_id.clone());
    }
    let query = |machine: &str| {
        let Journal { lines, follow, output, .. } = journal;
        format!("lines={lines}&follow={follow}&output={output}&machine={machine}")
    };
    match machines.as_slice() {
        [] => return Err(other(format!("Unit {} does not appear to be running.", unit.name))),
        [machine] => copy(cluster.journal(&unit.name, &query(machine))?, "")?,
        _ if journal.follow => {
            let queries: Vec<String> = machines.iter().map(|machine| query(machine)).collect();
            thread::scope(|scope| {
                for (machine, query) in machines.iter().zip(&queries) {
                    let answer = cluster.journal(&unit.name, query)?;
                    let prefix = format!("{}: ", cluster.legend(machine, false));
                    scope.spawn(move || copy(answer, &prefix));
                }
                Ok::<_, CtlError>(())
            })?;
        }
        _ => {
            for machine in &machines {
                say(&format!("-- Machine {} --\n", cluster.legend(machine, false)));
                copy(cluster.journal(&unit.name, &query(machine))?, "")?;
            }
        }
    }
    Ok(0)
}

/// Prints line by line, so that the lines of several machines do not mix.
fn copy(answer: impl Read, prefix: &str) -> Result<(), CtlError> {
    let mut answer = BufReader::new(answer);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = answer.read_until(b'\n', &mut line);
        let read =
            read.map_err(|error: io::Error| other(format!("the journal broke off: {error}")))?;
        if read == 0 {
            return Ok(());
        }
        say(&format!("{prefix}{}", String::from_utf8_lossy(&line)));
    }
}
