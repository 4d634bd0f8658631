//! One boot, live: console, then a summary, then the machine until ctrl-C.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use qemu_tests::console::Switch;
use qemu_tests::provisioning::{self, Provisioned};
use qemu_tests::{Deadline, Machine, Result};

use super::options::MachineOptions;
use super::{signals, table};

/// For a shutdown in order; after that the power is cut.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// The same for a machine that may not have got far enough to listen to its
/// power button, nor to have anything worth keeping.
const EARLY_SHUTDOWN: Duration = Duration::from_secs(10);

/// How often it is asked whether the machine still runs.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave it running even without a terminal, until a signal comes
    #[arg(long, conflicts_with = "poweroff")]
    keep: bool,
    /// Power it off after the summary even with a terminal
    #[arg(long)]
    poweroff: bool,
}

/// What happens while the machine runs.
#[derive(Clone, Debug)]
enum Event {
    /// ctrl-C or a signal.
    Interrupt,
    /// The wait for provisioning has ended.
    Over(Arc<Result<Provisioned>>),
    /// The machine has switched itself off.
    Off,
}

pub(crate) fn run(machine: &MachineOptions, options: &Options) -> Result<ExitCode> {
    let (sender, events) = mpsc::channel();
    signals::send_on_interrupt(sender.clone(), Event::Interrupt);
    let hardware = machine.hardware("boot")?;
    let accelerator = hardware.accelerator();
    let log = hardware.folder().join("console.log");
    say(&format!("booting with {accelerator}; the console is kept in {}\n", log.display()));

    let shown = Switch::default();
    let machine_limit = Duration::from_secs(machine.time_limit);
    let machine = Arc::new(hardware.boot(Some(shown.guard(io::stdout())))?);
    watch(&machine, machine_limit, sender);
    let outcome = next(&events, &machine);
    shown.off();
    match outcome {
        Event::Interrupt => {
            say(
                "\ninterrupted before it was provisioned; powering off (ctrl-C again cuts the power)\n",
            );
            power_off(&machine, &events, EARLY_SHUTDOWN);
            Ok(ExitCode::FAILURE)
        }
        Event::Off => {
            say("\nthe machine switched itself off before it was provisioned\n");
            Ok(ExitCode::FAILURE)
        }
        Event::Over(result) => match &*result {
            Err(error) => {
                say(&format!("\nnot provisioned: {error}\n"));
                machine.kill();
                Ok(ExitCode::FAILURE)
            }
            Ok(provisioned) => {
                say(&summary(provisioned, &machine));
                let stays = options.keep || (io::stdout().is_terminal() && !options.poweroff);
                if stays {
                    say("  ctrl-C powers it off\n");
                    say(&verdict(provisioned));
                    stay(&machine, &events);
                } else {
                    power_off(&machine, &events, SHUTDOWN);
                    say(&verdict(provisioned));
                }
                Ok(if provisioned.report.is_provisioned() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
        },
    }
}

/// Waits for provisioning in a thread of its own, so that a signal is heard.
fn watch(machine: &Arc<Machine>, limit: Duration, events: Sender<Event>) {
    let machine = Arc::clone(machine);
    std::thread::spawn(move || {
        let result = provisioning::wait(&machine, limit);
        // Nobody listens any more when the program is ending.
        let _ = events.send(Event::Over(Arc::new(result)));
    });
}

/// The next event; that the machine is off is one.
fn next(events: &Receiver<Event>, machine: &Machine) -> Event {
    loop {
        match events.recv_timeout(LOOK) {
            Ok(event) => return event,
            Err(RecvTimeoutError::Timeout) if machine.is_on() => {}
            // The watcher may have the better words for it.
            Err(_) => return events.recv_timeout(LOOK * 5).unwrap_or(Event::Off),
        }
    }
}

/// Leaves the machine running until a signal comes or it is off.
fn stay(machine: &Machine, events: &Receiver<Event>) {
    match next(events, machine) {
        Event::Interrupt => {
            say("\npowering off (ctrl-C again cuts the power)\n");
            power_off(machine, events, SHUTDOWN);
        }
        Event::Off | Event::Over(_) => say("\nthe machine has switched itself off\n"),
    }
}

/// Shuts the machine down in order; a signal meanwhile cuts the power.
fn power_off(machine: &Machine, events: &Receiver<Event>, limit: Duration) {
    let deadline = Deadline::after(limit);
    let pressed = machine.press_power_button().is_ok();
    while pressed && machine.is_on() && !deadline.passed() {
        if let Ok(Event::Interrupt) = events.recv_timeout(LOOK) {
            break;
        }
    }
    machine.kill();
}

/// What was applied, how long it took, and how to log in.
fn summary(provisioned: &Provisioned, machine: &Machine) -> String {
    let report = &provisioned.report;
    let mut text = String::from("\nwhat was applied\n");
    text += &table::rows(report.rows());
    text += "\nhow long it took\n";
    let stages = provisioned.stages.iter();
    text += &table::rows(stages.map(|stage| (stage.name, table::duration(stage.took))));
    let own = report.stages();
    text += "\nprovisioning itself, by the machine's clock\n";
    text += &table::rows(own.iter().map(|(name, took)| (name.as_str(), table::duration(*took))));
    let memory = report.peak_memory().map(|kib| ("memory", format!("{kib} KiB at most")));
    text += &table::rows(memory);
    text += &format!("\nhow to log in\n  {}\n", machine.target().command_line());
    text
}

/// The last line: what it came to.
fn verdict(provisioned: &Provisioned) -> String {
    let report = &provisioned.report;
    if report.is_provisioned() {
        return format!("provisioned in {} s\n", provisioned.at.as_secs());
    }
    match report.trouble().first() {
        Some(first) => format!("{}: {first}\n", report.status()),
        None => format!("not provisioned: the machine is {}\n", report.status()),
    }
}

/// Prints, and does not mind that nobody reads.
fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
