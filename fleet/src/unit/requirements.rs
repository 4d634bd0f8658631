//! What a unit asks of the cluster: `[X-Fleet]`, read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::file::UnitOption;
use super::finding::Finding;
use super::glob::Glob;
use super::keys::{KEYS, Key, suggestion};
use super::name::{Parts, UnitName};
use super::{SECTION, UnitFile, value};

/// How a unit file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What cannot be understood is an error.
    Strict,
    /// As fleet read it: what cannot be understood asks for nothing, with a warning.
    Lenient,
}

/// What a unit asks of the cluster. Specifiers are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// `MachineID`: the machine's whole id or its first eight characters.
    pub machine_id: Option<String>,
    /// `MachineOf`: units that must be on the same machine.
    pub machine_of: Vec<String>,
    /// `MachineMetadata`: for each key, the values of which the machine must have one.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// `Conflicts`: units that must not be on the same machine.
    pub conflicts: Vec<Glob>,
    /// `Replaces`: units that have to leave the machine for this one.
    pub replaces: Vec<Glob>,
    /// `Global`: on every machine whose metadata fits.
    pub global: bool,
    /// `CPURequest`, in thousandths of a processor.
    pub cpu: Option<u64>,
    /// `MemoryRequest`, in bytes.
    pub memory: Option<u64>,
    /// `Spread`: a metadata key over whose values instances are spread evenly.
    pub spread: Option<String>,
    /// `Update…` and `AutoRevert`.
    pub update: Update,
    /// `HealthCmd`: a command that succeeds while the unit is well.
    pub health: Option<String>,
    /// `OnPartition`.
    pub on_partition: OnPartition,
    /// `DrainTimeout`: how long a drain waits for this unit's turn.
    pub drain_timeout: Option<Duration>,
}

/// How a new version of a unit replaces the old one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Update {
    /// `UpdateMaxParallel`: how many instances are changed at a time.
    pub max_parallel: Option<u32>,
    /// `UpdateMinHealthy`: how many instances have to stay well meanwhile.
    pub min_healthy: Option<u32>,
    /// `AutoRevert`: back to the former version if the new one fails.
    pub auto_revert: bool,
}

/// What becomes of a unit whose machine is cut off from the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnPartition {
    /// It keeps running.
    #[default]
    Keep,
    /// It is stopped by its machine after this time.
    StopAfter(Duration),
}

impl Requirements {
    /// Reads what the unit `name` with this file asks for, and what is wrong with it. If there
    /// are errors among the findings, the requirements are what fleet would have understood.
    pub fn read(name: &str, file: &UnitFile, mode: Mode) -> (Requirements, Vec<Finding>) {
        let options: Vec<&UnitOption> = file.section(SECTION).collect();
        let (requirements, findings) = Requirements::of_options(name, &options, mode);
        (requirements, [file.ignored(), &findings].concat())
    }

    /// The same from the stored options of the section, as fleet understood them.
    pub fn of_pairs(name: &str, pairs: &[(String, String)]) -> Requirements {
        let options: Vec<UnitOption> = pairs
            .iter()
            .map(|(name, value)| UnitOption {
                section: SECTION.to_string(),
                name: name.clone(),
                value: value.clone(),
                line: 0,
            })
            .collect();
        let options: Vec<&UnitOption> = options.iter().collect();
        Requirements::of_options(name, &options, Mode::Lenient).0
    }

    fn of_options(name: &str, options: &[&UnitOption], mode: Mode) -> (Requirements, Vec<Finding>) {
        let mut reader =
            Reader { name, mode, requirements: Requirements::default(), findings: Vec::new() };
        for option in options {
            reader.check_key(option);
        }
        // By spelling and not by line: a modern spelling counts before an old one.
        for (spelling, key) in KEYS {
            for option in options.iter().filter(|option| option.name == spelling) {
                reader.option(key, option);
            }
        }
        reader.findings.sort_by_key(|finding| finding.line);
        (reader.requirements, reader.findings)
    }

    /// Whether anything is asked for that fleet did not know and that changes where a unit goes.
    pub fn scores(&self) -> bool {
        self.cpu.is_some() || self.memory.is_some() || self.spread.is_some()
    }

    /// Whether a second copy must never run, so that it is only started with a live lease.
    pub fn is_exclusive(&self) -> bool {
        !self.conflicts.is_empty() || matches!(self.on_partition, OnPartition::StopAfter(_))
    }
}

/// Why these requirements cannot go together, if so; fleet refused the same.
pub fn rejected(requirements: &Requirements) -> Option<String> {
    let Requirements { machine_of, conflicts, replaces, global, .. } = requirements;
    for peer in machine_of {
        for (key, globs) in [("Conflicts", conflicts), ("Replaces", replaces)] {
            if let Some(glob) = globs.iter().find(|glob| glob.matches(peer)) {
                return Some(format!(
                    "unresolvable: MachineOf={peer} matches {key}={}",
                    glob.as_str()
                ));
            }
        }
    }
    let asked = [
        ("MachineID", requirements.machine_id.is_some()),
        ("MachineOf", !machine_of.is_empty()),
        ("Conflicts", !conflicts.is_empty()),
        ("Global", *global),
        ("Replaces", !replaces.is_empty()),
    ];
    let pairs = [(0, 1), (0, 2), (0, 3), (0, 4), (3, 1), (3, 4), (2, 4)];
    pairs
        .iter()
        .find(|(a, b)| asked[*a].1 && asked[*b].1)
        .map(|(a, b)| format!("{} cannot be used with {}", asked[*a].0, asked[*b].0))
}

struct Reader<'a> {
    name: &'a str,
    mode: Mode,
    requirements: Requirements,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    /// An error, or the warning that fleet would have passed over it.
    fn wrong(&mut self, line: usize, message: String) {
        self.findings.push(match self.mode {
            Mode::Strict => Finding::error(line, message),
            Mode::Lenient => Finding::warning(line, format!("{message} (ignored)")),
        });
    }

    fn check_key(&mut self, option: &UnitOption) {
        if Key::of(&option.name).is_some() {
            return;
        }
        let hint = match suggestion(&option.name) {
            Some(known) => format!(", did you mean `{known}`?"),
            None => String::new(),
        };
        self.wrong(option.line, format!("unknown key `{}` in [{SECTION}]{hint}", option.name));
    }

    /// The values of a line, with specifiers replaced, as fleet understood them. What is odd
    /// about them is said.
    fn values(&mut self, option: &UnitOption) -> Vec<String> {
        if option.value.contains('\n') {
            let name = &option.name;
            self.wrong(
                option.line,
                format!("`{name}` cannot go on in the next line; write it once more"),
            );
        }
        let parts = Parts::of(self.name);
        let values: Vec<String> = value::split(&option.value)
            .iter()
            .map(|value| parts.map_or_else(|| value.clone(), |parts| parts.expand(value)))
            .collect();
        let template = parts.is_some_and(|parts| parts.instance == Some(""));
        if values.iter().any(String::is_empty) && !(template && option.value.contains('%')) {
            self.wrong(option.line, format!("`{}` has an empty value", option.name));
        }
        values
    }

    fn option(&mut self, key: Key, option: &UnitOption) {
        let line = option.line;
        let values = self.values(option);
        match key {
            Key::MachineId => {
                for value in values {
                    if self.requirements.machine_id.is_none() {
                        self.requirements.machine_id = Some(value);
                    } else {
                        let message =
                            format!("only the first MachineID counts, `{value}` does not");
                        self.findings.push(Finding::warning(line, message));
                    }
                }
            }
            Key::MachineOf => {
                for value in values {
                    if !value.is_empty()
                        && let Err(error) = UnitName::parse(&value)
                    {
                        let hint = if value.contains(char::is_whitespace) {
                            "; write one MachineOf for each"
                        } else {
                            ""
                        };
                        self.wrong_kept(line, format!("MachineOf: {error}{hint}"));
                    }
                    self.requirements.machine_of.push(value);
                }
            }
            Key::MachineMetadata => {
                for value in values {
                    match value::pair(&value) {
                        Some((key, value)) => {
                            let wanted =
                                self.requirements.metadata.entry(key.to_string()).or_default();
                            wanted.insert(value.to_string());
                        }
                        None if self.is_open(&option.value) || value.is_empty() => {}
                        None => {
                            let message = format!("MachineMetadata: `{value}` is not key=value");
                            self.wrong(line, message);
                        }
                    }
                }
            }
            Key::Conflicts => {
                let globs = values.iter().flat_map(|value| value.split_whitespace());
                let globs: Vec<Glob> = globs.map(Glob::new).collect();
                self.check_globs(line, &option.name, &globs);
                self.requirements.conflicts.extend(globs);
            }
            Key::Replaces => {
                let globs: Vec<Glob> = values.iter().map(|value| Glob::new(value)).collect();
                self.check_globs(line, &option.name, &globs);
                self.requirements.replaces.extend(globs);
            }
            Key::Global => {
                for value in values {
                    if !value.is_empty() && value::flag(&value).is_none() {
                        self.wrong(line, format!("Global: `{value}` is neither true nor false"));
                    }
                    self.requirements.global = value::is_true(&value);
                }
            }
            key => self.new_key(key, option, &values),
        }
    }

    fn new_key(&mut self, key: Key, option: &UnitOption, values: &[String]) {
        // A command is a whole line, quotes and all.
        let text = match key {
            Key::HealthCmd => Parts::of(self.name)
                .map_or_else(|| option.value.clone(), |parts| parts.expand(&option.value)),
            _ => values.last().cloned().unwrap_or_default(),
        };
        if text.is_empty() {
            return;
        }
        let wanted = &mut self.requirements;
        let expected = match key {
            Key::CpuRequest => {
                wanted.cpu = value::processors(&text);
                wanted.cpu.is_none().then_some("processors, such as 2, 0.5 or 250m")
            }
            Key::MemoryRequest => {
                wanted.memory = value::bytes(&text);
                wanted.memory.is_none().then_some("bytes, such as 512M or 2G")
            }
            Key::Spread => {
                wanted.spread = (!text.contains('=')).then(|| text.clone());
                wanted.spread.is_none().then_some("a metadata key, such as rack")
            }
            Key::UpdateMaxParallel => {
                wanted.update.max_parallel = text.parse().ok().filter(|&n| n > 0);
                wanted.update.max_parallel.is_none().then_some("a number from 1")
            }
            Key::UpdateMinHealthy => {
                wanted.update.min_healthy = text.parse().ok();
                wanted.update.min_healthy.is_none().then_some("a number")
            }
            Key::AutoRevert => {
                let flag = value::flag(&text);
                wanted.update.auto_revert = flag == Some(true);
                flag.is_none().then_some("true or false")
            }
            Key::DrainTimeout => {
                wanted.drain_timeout = value::time(&text);
                wanted.drain_timeout.is_none().then_some("a time, such as 30s or 5min")
            }
            Key::OnPartition => {
                let stop = text.strip_prefix("stop-after=").and_then(value::time);
                match (text.as_str(), stop) {
                    ("keep", _) => wanted.on_partition = OnPartition::Keep,
                    // Before the cluster starts another copy: see `timing`.
                    (_, Some(time)) if time <= crate::timing::LONGEST_STOP_AFTER => {
                        wanted.on_partition = OnPartition::StopAfter(time);
                    }
                    _ => {}
                }
                let fits =
                    text == "keep" || stop.is_some_and(|t| t <= crate::timing::LONGEST_STOP_AFTER);
                (!fits).then_some("keep, or stop-after=TIME with at most 60s")
            }
            Key::HealthCmd => {
                wanted.health = Some(text.clone());
                None
            }
            _ => None,
        };
        if let Some(expected) = expected {
            self.wrong(option.line, format!("{}: `{text}` is not {expected}", option.name));
        }
    }

    /// Whether a template's value becomes whole only with an instance.
    fn is_open(&self, raw: &str) -> bool {
        raw.contains('%') && Parts::of(self.name).is_some_and(|parts| parts.instance == Some(""))
    }

    fn check_globs(&mut self, line: usize, key: &str, globs: &[Glob]) {
        for glob in globs.iter().filter(|glob| !glob.is_well_formed()) {
            self.wrong_kept(
                line,
                format!("{key}: `{}` is a malformed pattern, it matches nothing", glob.as_str()),
            );
        }
    }

    /// Like [`Reader::wrong`], for what fleet did not ignore but could never fulfil.
    fn wrong_kept(&mut self, line: usize, message: String) {
        self.findings.push(match self.mode {
            Mode::Strict => Finding::error(line, message),
            Mode::Lenient => Finding::warning(line, message),
        });
    }
}
