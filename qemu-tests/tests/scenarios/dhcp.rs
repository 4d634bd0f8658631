//! A NoCloud disc, and an address that only the network knows.

use qemu_tests::config_disc::Label;
use qemu_tests::provisioning;
use qemu_tests::wiring::LEASE;

use crate::article;
use crate::checks::{Checks, Outcome};
use crate::lab::{BOOT, Lab};

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut checks = Checks::default();
    let (hardware, discovery) = article::hardware(lab, "dhcp", Label::NoCloud, "")?;
    let machine = hardware.boot(None)?;
    let report = provisioning::wait(&machine, BOOT)?.report;
    article::check_report(&report, &mut checks, "disc");
    article::check(&machine, &mut checks, LEASE)?;
    let registered = discovery.members()?;
    checks.holds("the member has registered", registered.contains("10.0.2.15:7001"), &registered);
    checks.finish()
}
