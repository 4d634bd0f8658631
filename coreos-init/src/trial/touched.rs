//! What of the running system is concerned by changed files.

use std::collections::{BTreeMap, BTreeSet};

use crate::extension::{self, merged};
use crate::plan::{Action, Effect, Plan, parent};
use crate::verbs::{UnitJob, Verb};

/// Commands are run once and cannot be taken back: a trial leaves them out.
const COMMANDS: &str = "coreos-init-runcmd.service";

/// Services that read these when they start.
const READERS: [(&str, &str); 2] = [
    ("/etc/systemd/timesyncd.conf.d/", "systemd-timesyncd.service"),
    ("/etc/coreos/update.conf", "update-agent.service"),
];

/// What of the running system changed files concern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Units with another text, or other drop-ins.
    pub changed: BTreeSet<String>,
    /// Units whose file goes.
    pub gone: BTreeSet<String>,
    /// Units that are wanted from now on.
    pub wanted: BTreeSet<String>,
    /// Units that are wanted no more.
    pub unwanted: BTreeSet<String>,
    /// Files of networkd.
    pub network: bool,
    /// The machine's name.
    pub hostname: bool,
    /// Extensions.
    pub extensions: bool,
}

impl Touched {
    /// By actions that are to be carried out.
    pub fn by<'a>(actions: impl Iterator<Item = &'a Action>) -> Touched {
        let removes =
            |action: &Action| matches!(action.effect, Effect::Remove { original: None, .. });
        Touched::of(actions.map(|action| (action.path.as_str(), removes(action))))
    }

    /// By paths, and whether what is there goes.
    pub fn of<'a>(paths: impl Iterator<Item = (&'a str, bool)>) -> Touched {
        let mut touched = Touched::default();
        for (path, gone) in paths {
            touched.hostname |= path == "/etc/hostname";
            touched.extensions |= parent(path) == extension::MERGED;
            for (_, reader) in READERS.iter().filter(|(read, _)| path.starts_with(read)) {
                touched.changed.insert((*reader).to_string());
            }
            let below = |place: &str| {
                ["/etc/systemd/", "/run/systemd/"]
                    .iter()
                    .find_map(|top| path.strip_prefix(top)?.strip_prefix(place)?.strip_prefix('/'))
            };
            touched.network |= below("network").is_some();
            let Some(path) = below("system") else { continue };
            let Some((directory, file)) = path.split_once('/') else {
                let units = if gone { &mut touched.gone } else { &mut touched.changed };
                units.insert(path.to_string());
                continue;
            };
            if let Some(unit) = directory.strip_suffix(".d") {
                touched.changed.insert(unit.to_string());
            } else if directory.ends_with(".wants") || directory.ends_with(".requires") {
                let units = if gone { &mut touched.unwanted } else { &mut touched.wanted };
                units.insert(file.to_string());
            }
        }
        let gone = touched.gone.clone();
        // A template is no unit, nor is a drop-in of all units of a kind.
        let is_unit =
            |unit: &String| !unit.contains("@.") && unit.contains('.') && unit != COMMANDS;
        touched.changed.retain(|unit| is_unit(unit) && !gone.contains(unit));
        touched.gone.retain(is_unit);
        for units in [&mut touched.wanted, &mut touched.unwanted] {
            units.retain(|unit| is_unit(unit) && !gone.contains(unit));
        }
        touched
    }

    /// All units concerned, those included that a plan wants to run or not to.
    pub fn units(&self, plan: &Plan) -> BTreeSet<String> {
        let own = [&self.changed, &self.gone, &self.wanted, &self.unwanted];
        let asked = self.asked(plan, &BTreeMap::new()).into_iter().map(|job| job.unit);
        own.into_iter().flatten().cloned().chain(asked).collect()
    }

    /// What to ask for before units are read again: what goes is stopped.
    pub fn stops(&self) -> Vec<UnitJob> {
        self.gone.iter().chain(&self.unwanted).map(|unit| job(unit, Verb::Stop)).collect()
    }

    /// What to ask for before anything is started: units are started with the programs they name.
    pub fn merges(&self) -> Vec<UnitJob> {
        let merge = self.extensions.then(|| job(merged::SERVICE, Verb::ReloadOrRestart));
        merge.into_iter().collect()
    }

    /// What to ask for once units are read again; `were` tells which ran before. Units that changed are restarted where they
    /// run; what the plan asks of others is asked only if it may not be so yet.
    pub fn starts(&self, plan: &Plan, were: &BTreeMap<String, bool>) -> Vec<UnitJob> {
        let asked = self.asked(plan, were);
        let is_asked = |unit: &&String| asked.iter().any(|job| job.unit == **unit);
        let changed = self.changed.iter().filter(|unit| !is_asked(unit));
        let wanted =
            self.wanted.iter().filter(|unit| !is_asked(unit) && !self.changed.contains(*unit));
        // What is new and wanted does not run yet, and is not restarted by the first.
        let new = self.wanted.iter().filter(|unit| self.changed.contains(*unit));
        let new = new.filter(|unit| !is_asked(unit));
        changed
            .map(|unit| job(unit, Verb::TryRestart))
            .chain(wanted.chain(new).map(|unit| job(unit, Verb::Start)))
            .chain(asked.iter().cloned())
            .collect()
    }

    /// What the plan asks of units, as far as it is to be asked now.
    fn asked(&self, plan: &Plan, were: &BTreeMap<String, bool>) -> Vec<UnitJob> {
        let jobs = plan.jobs.iter().filter(|job| job.unit != COMMANDS);
        let jobs = jobs.filter_map(|job| {
            let changed = self.changed.contains(&job.unit);
            let ran = were.get(&job.unit).is_some_and(|ran| *ran);
            let verb = match (job.verb, changed) {
                (Verb::Start, true) if ran => Verb::Restart,
                (verb @ (Verb::Start | Verb::Stop), false) => verb,
                (verb, true) => verb,
                (_, false) => return None,
            };
            Some(UnitJob { verb, ..job.clone() })
        });
        jobs.collect()
    }

    /// What brings the units of the running system back once their files are: `were` tells
    /// whether each ran.
    pub fn returns(&self, were: &BTreeMap<String, bool>) -> Vec<UnitJob> {
        let ran = were.iter().filter(|(_, ran)| **ran).map(|(unit, _)| unit);
        ran.map(|unit| {
            let other = self.changed.contains(unit) || self.gone.contains(unit);
            job(unit, if other { Verb::Restart } else { Verb::Start })
        })
        .collect()
    }

    /// What is stopped before that: what did not run.
    pub fn leaves(were: &BTreeMap<String, bool>) -> Vec<UnitJob> {
        let idle = were.iter().filter(|(_, ran)| !**ran).map(|(unit, _)| unit);
        idle.map(|unit| job(unit, Verb::Stop)).collect()
    }
}

fn job(unit: &str, verb: Verb) -> UnitJob {
    UnitJob { unit: unit.to_string(), verb, line: None }
}
