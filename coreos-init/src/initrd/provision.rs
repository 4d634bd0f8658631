//! Provisioning of the mounted root, before the service manager starts on it.
//!
//! sources → user-data → [`Document`] → addresses → [`Plan`] → [`apply`] → report, jobs
//!
//! Nothing that goes wrong here stops the boot. What cannot be applied is left as it was, the
//! name and the keys are applied if they can be, and the report and the console say why.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use cloud_config::{
    Config, Document, Finding, UserData, Values, config_static_addresses, has_errors, network,
    recognise,
};
use host::error::chain;
use nix::mount::umount;

use super::console::Console;
use super::mounts;
use super::state::{Condition, MOUNT_POINT};
use crate::apply::{self, Applied, Outcome, Owners, Root};
use crate::net::{Uplink, facts, statics_of};
use crate::plan::{Context, Plan};
use crate::report::{JOBS, REPORT, Report, Stages, Status, peak_memory_kib};
use crate::source::{self, Found, Places};
use crate::verbs::Jobs;

/// Where the image's own `/etc` can be seen while the overlay covers it.
const IMAGE: &str = "/run/coreos/image";
/// Where a script given as user-data waits for the service manager.
const SCRIPT: &str = "/run/coreos-init/script";
/// Where the resolver finds its name servers in the initrd.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What the login prompt shows of the provisioning.
const ISSUE: &str = "/run/issue.d/10-coreos-init.issue";

/// What provisioning is done with.
#[derive(Debug)]
pub(super) struct Boot<'a> {
    /// The kernel command line.
    pub(super) command_line: &'a str,
    /// Kernel name of the disk the system is on, which holds no configuration.
    pub(super) system_disk: &'a str,
    /// The mounted root.
    pub(super) sysroot: &'a Path,
    /// What became of the state.
    pub(super) condition: Condition,
    /// Where to say things.
    pub(super) console: &'a mut Console,
    /// The stages so far.
    pub(super) stages: Stages,
}

/// Provisions the root and writes the report.
pub(super) fn run(boot: Boot<'_>) {
    let Boot { command_line, system_disk, sysroot, condition, console, mut stages } = boot;
    let places = Places {
        sysfs: PathBuf::from("/sys"),
        dev: PathBuf::from("/dev"),
        command_line: command_line.to_owned(),
        state: PathBuf::from(MOUNT_POINT),
        exclude: vec![system_disk.to_owned()],
        roots: sysroot.join(host::http::SYSTEM_ROOTS.trim_start_matches('/')),
    };
    let mut uplink = Uplink::new(&places, PathBuf::from(RESOLV_CONF));
    let search = source::find(&places, &mut uplink);
    stages.done("sources");

    let mut report = Report::begin(search.found.as_ref(), &search.looked);
    if condition == Condition::Volatile {
        report.failures.push("the state is in memory and will be lost at the next boot".to_owned());
    }
    let read = |found| Reading::new(found, command_line, &mut uplink, &mut report);
    let reading = search.found.as_ref().map(read);
    if let Err(error) = uplink.teardown() {
        report.notes.push(format!("the network is not left as it was found: {error}"));
    }
    stages.done("addresses");

    if let Some(reading) = &reading {
        match apply_all(sysroot, reading, &mut report) {
            Ok(jobs) => hand_on(&jobs, &mut report),
            Err(error) => report.failures.push(chain(&*error)),
        }
    }
    report.conclude();
    if let (Some(found), true) = (&search.found, report.status == Status::Provisioned)
        && let Err(error) = source::save_last(&places.state, found)
    {
        report.notes.push(format!("this configuration is not kept: {}", chain(&error)));
    }
    stages.done("apply");

    report.stages = stages.into_stages();
    report.peak_memory_kib =
        fs::read_to_string("/proc/self/status").ok().and_then(|status| peak_memory_kib(&status));
    tell(&report, console);
    let written = [
        write(Path::new(REPORT), report.text().as_bytes(), 0o600),
        write(Path::new(ISSUE), issue(&report).as_bytes(), 0o644),
    ];
    for error in written.iter().filter_map(|written| written.as_ref().err()) {
        console.warn(chain(error));
    }
}

type AnyError = Box<dyn Error + Send + Sync>;

/// User-data, understood as far as this machine can.
struct Reading {
    config: Config,
    findings: Vec<Finding>,
    script: Option<String>,
    context: Context,
}

impl Reading {
    /// Understands what was found, asking the network for an address if the configuration needs
    /// one that nothing else tells.
    fn new(
        found: &Found,
        command_line: &str,
        uplink: &mut Uplink<'_>,
        report: &mut Report,
    ) -> Self {
        let (text, script, mut findings) = match recognise(&found.user_data) {
            Ok(UserData::CloudConfig(text)) => (text, None, Vec::new()),
            Ok(UserData::Script(script)) => (String::new(), Some(script), Vec::new()),
            Ok(UserData::Empty) => (String::new(), None, Vec::new()),
            Err(finding) => (String::new(), None, vec![finding]),
        };
        let document = Document::parse(&text);
        let network = Self::network(found, report);

        let (draft, _) = document.decode(&Values::Unknown);
        let mut fixed = network.static_addresses();
        fixed.extend(config_static_addresses(&draft));
        match statics_of(command_line) {
            Ok(statics) => fixed.extend(statics.into_iter().flat_map(|one| one.settings.addresses)),
            Err(error) => report.failures.push(error.to_string()),
        }
        // Only a process that a person started has variables in its environment.
        let none = BTreeMap::new();
        let mut values = facts::values(&none, &found.meta_data, &fixed, None);
        let used: Vec<_> = document.variables().iter().map(|used| used.variable).collect();
        if facts::needs_network(false, &used, &values) || uplink.has_lease() {
            match uplink.lease() {
                Ok(lease) => {
                    values = facts::values(&none, &found.meta_data, &fixed, Some(&lease));
                }
                Err(error) => report.failures.push(chain(&error)),
            }
        }
        report.add_variables(&values);

        let (config, mistakes) = document.decode(&Values::Known(&values.map));
        findings.extend(mistakes);
        report.add_findings(&findings);
        let context = Context {
            values: values.map,
            hostname: found.meta_data.hostname.clone(),
            keys: found.meta_data.public_keys.clone(),
            network: network.to_networkd(),
            ..Context::default()
        };
        Self { config, findings, script, context }
    }

    /// The network description beside the user-data.
    fn network(found: &Found, report: &mut Report) -> network::Network {
        let Some(described) = &found.network else { return network::Network::default() };
        let name = described.format.name();
        let Ok(text) = std::str::from_utf8(&described.text) else {
            report.failures.push(format!("{name}: not UTF-8 text"));
            return network::Network::default();
        };
        let (network, findings) = network::parse(described.format, text);
        for finding in &findings {
            let line = finding.line(name);
            if has_errors(std::slice::from_ref(finding)) {
                report.failures.push(line);
            } else {
                report.notes.push(line);
            }
        }
        network
    }
}

/// Plans and applies; returns what is left for the service manager.
fn apply_all(sysroot: &Path, reading: &Reading, report: &mut Report) -> Result<Jobs, AnyError> {
    // What is written to /run must be on the file system that the service manager will see.
    let run = sysroot.join("run");
    mounts::bind(Path::new("/run"), &run)?;
    fs::create_dir_all(IMAGE)?;
    mounts::bind(sysroot, Path::new(IMAGE))?;
    let applied = plan_and_apply(sysroot, reading, report);
    umount(IMAGE)?;
    umount(&run)?;
    let (plan, applied) = applied?;

    report.add_findings(&plan.findings);
    report.notes.extend(plan.notes);
    report.add_applied(applied);
    let script = reading.script.as_ref().map(|text| {
        let path = Path::new(SCRIPT);
        write(path, text.as_bytes(), 0o700).map(|()| SCRIPT.to_owned())
    });
    Ok(Jobs { units: plan.jobs, script: script.transpose()? })
}

fn plan_and_apply(
    sysroot: &Path,
    reading: &Reading,
    report: &mut Report,
) -> Result<(Plan, Applied), AnyError> {
    let root = Root::open(sysroot, Owners::Set)?;
    let image = Root::open(Path::new(IMAGE), Owners::Set)?;
    let (facts, notes) = apply::survey(&root, Some(&image), &reading.config)?;
    report.notes.extend(notes);
    let context = Context { facts, ..reading.context.clone() };
    let attempt = apply::apply_or_rescue(&reading.config, &reading.findings, &context, &root)?;
    report.failures.extend(attempt.refused.as_ref().map(|error| chain(error)));
    Ok((attempt.plan, attempt.applied))
}

/// Leaves the jobs where `coreos-init finish` finds them.
fn hand_on(jobs: &Jobs, report: &mut Report) {
    let text = serde_json::to_vec(jobs).expect("structs with string keys");
    if let Err(error) = write(Path::new(JOBS), &text, 0o600) {
        report.failures.push(chain(&error));
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), host::durable::WriteError> {
    if let Some(parent) = path.parent() {
        // A directory that cannot be made is the write's error.
        let _ = fs::create_dir_all(parent);
    }
    host::durable::write(path, bytes, mode)
}

/// Says on the console what a person in front of it must know.
fn tell(report: &Report, console: &mut Console) {
    match &report.configuration {
        Some(configuration) => console.info(format_args!("configured by {}", configuration.place)),
        None => {
            let places: Vec<_> = report.sources.iter().map(|s| s.source.to_string()).collect();
            console.warn(format_args!("no configuration found (looked at: {})", places.join(", ")));
            console.warn(
                "nobody can log in; attach a disc labelled config-2 or cidata and boot again",
            );
        }
    }
    for line in report.doubts().iter().chain(&report.notes) {
        console.warn(line);
    }
    for line in report.trouble() {
        console.error(line);
    }
    let written = report.items.iter().filter(|item| item.outcome != Outcome::Unchanged).count();
    match report.status {
        Status::Degraded => {
            console.error("this machine is degraded; `coreos-init status` tells what was applied");
        }
        Status::Provisioned => console
            .info(format_args!("provisioned: {written} of {} items changed", report.items.len())),
        Status::Unconfigured => {}
    }
}

/// What the login prompt shows.
fn issue(report: &Report) -> String {
    match report.status {
        Status::Provisioned => String::new(),
        Status::Unconfigured => {
            "This machine has no configuration: nobody can log in.\n\n".to_owned()
        }
        Status::Degraded => {
            let lines: String = report.trouble().iter().map(|line| format!("  {line}\n")).collect();
            format!("This machine is degraded:\n{lines}\n").replace('\\', "\\\\")
        }
    }
}
