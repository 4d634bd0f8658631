//! No config at all: the machine boots, says so, and lets nobody in.

use std::time::Duration;

use qemu_tests::Mark;

use crate::checks::{Checks, Outcome};
use crate::lab::{BOOT, Lab, SETTLE};

/// `login` waits some seconds after a wrong password.
const ANSWER: Duration = Duration::from_secs(120);

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let hardware = lab.hardware("no-config")?;
    let machine = hardware.boot(None)?;
    let console = machine.console();
    console.wait_for(
        &["no configuration", "no config", "no cloud-config"],
        Mark::default(),
        BOOT,
    )?;
    console.wait_for(&["login: "], Mark::default(), BOOT)?;

    for user in ["core", "root"] {
        let mark = console.mark();
        console.type_in(&format!("{user}\n"))?;
        console.wait_for(&["assword:"], mark, ANSWER)?;
        let mark = console.mark();
        console.type_in(&format!("{user}\n"))?;
        console.wait_for(&["Login incorrect"], mark, ANSWER)?;
        console.wait_for(&["login: "], mark, ANSWER)?;
    }

    // sshd runs, and offers nothing but keys, of which there are none.
    let limit = Duration::from_secs(60);
    let refusal = machine.target().refusal(limit)?;
    checks.holds("ssh wants a key", refusal.contains("(publickey)"), &refusal);
    machine.power_off(SETTLE)?;
    checks.finish()
}
