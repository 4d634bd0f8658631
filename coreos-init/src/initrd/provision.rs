//! Provisioning of the mounted root, before the service manager starts on it.
//!
//! sources → user-data → [`Reading`] → [`Plan`] → [`apply`] → report, jobs
//!
//! Nothing that goes wrong here stops the boot. What cannot be applied is left as it was, the
//! name and the keys are applied if they can be, and the report and the console say why.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use cloud_config::network;
use host::error::chain;
use nix::mount::umount;

use super::console::Console;
use super::mounts;
use super::state::{Condition, MOUNT_POINT};
use crate::apply::{self, Applied, Outcome, Owners, Root};
use crate::extension;
use crate::fetched::{self, Wanted};
use crate::net::{Lease, Uplink, statics_of};
use crate::plan::{Context, Plan};
use crate::reading::{Machine, Outside, Reading};
use crate::report::{FOUND, JOBS, REPORT, Report, Stages, Status, peak_memory_kib};
use crate::source::{self, Found, Need, Places};
use crate::trial::{self, Recovered, Trial};
use crate::verbs::Jobs;

/// Where the image's own `/etc` can be seen while the overlay covers it.
const IMAGE: &str = "/run/coreos/image";
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
    let trial = end_trial(sysroot, &places.state);
    let mut uplink = Uplink::new(&places, PathBuf::from(RESOLV_CONF));
    if let Ok(kernel) = nix::sys::utsname::uname() {
        let release = Path::new("usr/lib/modules").join(kernel.release());
        uplink = uplink.with_modules(sysroot.join(release));
    }
    let search = source::find(&places, &mut uplink);
    stages.done("sources");

    let mut report = Report::begin(search.found.as_ref(), &search.looked);
    match trial {
        Ok(notes) => report.notes.extend(notes),
        Err(why) => report.failures.push(why),
    }
    if condition == Condition::Volatile {
        report.failures.push("the state is in memory and will be lost at the next boot".to_owned());
    }
    let mut outside = Initrd { uplink: &mut uplink, roots: &places.roots };
    let read = |found| read(found, command_line, sysroot, &mut outside, &mut report);
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
    if report.status == Status::Provisioned {
        extension::forget_others(sysroot);
    }
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
    if let Some(found) = &search.found
        && let Err(error) = source::store(Path::new(FOUND), found)
    {
        console.warn(chain(&error));
    }
    for error in written.iter().filter_map(|written| written.as_ref().err()) {
        console.warn(chain(error));
    }
}

/// Ends a trial that the machine stopped in; what is to be told of it.
fn end_trial(sysroot: &Path, state: &Path) -> Result<Vec<String>, String> {
    let ended = match trial::recover(sysroot) {
        Ok(Recovered::Nothing) => return Ok(Vec::new()),
        Ok(Recovered::TakenBack(mut notes)) => {
            notes.push(
                "a trial was not confirmed before the machine stopped: it was taken back"
                    .to_owned(),
            );
            return Ok(notes);
        }
        // Only when it is kept may it be forgotten.
        Ok(Recovered::Kept(found)) => source::save_last(state, &found)
            .map_err(|error| chain(&error))
            .and_then(|()| Trial::of(sysroot).end().map_err(|error| chain(&error))),
        Err(error) => Err(chain(&error)),
    };
    ended.map(|()| Vec::new()).map_err(|why| format!("a trial was not ended: {why}"))
}

type AnyError = Box<dyn Error + Send + Sync>;

/// The network as it is in the initrd.
struct Initrd<'a, 'u> {
    uplink: &'a mut Uplink<'u>,
    roots: &'a Path,
}

impl Outside for Initrd<'_, '_> {
    fn lease(&mut self, needed: bool, ipv6: bool) -> Result<Option<Lease>, String> {
        if !needed && !self.uplink.has_lease() {
            return Ok(None);
        }
        let lease = if ipv6 { self.uplink.lease_with_ipv6() } else { self.uplink.lease() };
        lease.map(Some).map_err(|error| chain(&error))
    }

    fn know(&mut self, network: &network::Network) {
        self.uplink.know(network);
    }

    fn get(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        use source::Uplink as _;
        self.uplink.up(Need::Net).map_err(|error| chain(&*error))?;
        fetched::over_http(wanted, self.roots)
    }

    fn download(&mut self, wanted: &Wanted, file: &File) -> Result<(), String> {
        use source::Uplink as _;
        self.uplink.up(Need::Net).map_err(|error| chain(&*error))?;
        fetched::download(wanted, self.roots, file)
    }
}

/// Understands what was found, asking the network for an address if the configuration needs one
/// that nothing else tells, and for what it names by its address.
fn read(
    found: &Found,
    command_line: &str,
    sysroot: &Path,
    outside: &mut Initrd<'_, '_>,
    report: &mut Report,
) -> Reading {
    let mut fixed = Vec::new();
    match statics_of(command_line) {
        Ok(statics) => fixed.extend(statics.into_iter().flat_map(|one| one.settings.addresses)),
        Err(error) => report.failures.push(error.to_string()),
    }
    let machine_id = fs::read_to_string(sysroot.join("etc/machine-id")).unwrap_or_default();
    let machine = Machine {
        files: &sysroot,
        keep: Some(sysroot),
        images: Some(sysroot),
        // Only a process that a person started has variables in its environment.
        overrides: &BTreeMap::new(),
        fixed: &fixed,
        machine_id: machine_id.trim(),
    };
    let reading = Reading::new(found, &machine, outside);
    report.failures.extend(reading.failures.iter().cloned());
    report.notes.extend(reading.notes.iter().cloned());
    report.add_variables(&reading.values);
    report.set_names(reading.bundle.names());
    report.add_findings(&reading.findings, &reading.bundle);
    reading
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

    report.add_findings(&plan.findings, &reading.bundle);
    report.notes.extend(plan.notes.iter().cloned());
    report.add_applied(applied);
    report.add_uses(&plan, &reading.uses);
    Ok(Jobs { units: plan.jobs, scripts: plan.scripts, extensions: plan.extensions })
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
