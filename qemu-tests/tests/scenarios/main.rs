//! The scenarios: the built image, booted from power-on with UEFI firmware.
//!
//! A boot is a minute where it must be emulated, so a scenario boots once and
//! asks much; all that it finds wrong is told together. Console logs stay in
//! `target/machines/NAME/`.
//!
//! `cargo test -p qemu-tests --test scenarios [-- NAME]`; the environment may
//! name another image folder (`IMAGE_DIR`) and accelerator (`MACHINE_ACCEL`).

mod article; // the config that all began with, and what a node made of it shows
mod broken_config;
mod checks; // what was wrong, all of it
mod cluster; // machines that form one, and stay one
mod dhcp;
mod discovery; // a discovery service on the host
mod document; // on the host, for a machine to fetch
mod evening; // the article's: a web server on three machines, and what happens to those
mod extension; // of the system, made of packages
mod flipped_byte;
mod frontends; // who asks it all the time
mod in_turn; // the same evening on machines, which then take a release one after the other
mod lab; // what machines are made of
mod no_config;
mod outputs; // installers, and the disks in archives of others
mod rack; // nodes of one cluster
mod registry; // an image of a web server, and where Docker finds it
mod releases; // builds, publishes and serves them
mod secure_boot; // signed, refused, edited
mod static_address;
mod system; // one of several, a node or a machine
mod trial; // a config for a while
mod update; // from one release to the next, and back from bad ones
mod variants; // other images of the project
mod vmware; // its cards and its disk

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed};

use checks::Outcome;
use lab::Lab;

/// How many machines run at a time if nothing else is asked for: each has two
/// processors, and so has the smallest host.
const AT_A_TIME: usize = 1;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let trials = [
        scenario("static_address_from_a_config_drive_and_a_second_boot", static_address::run),
        scenario("dhcp_address_from_a_nocloud_disc", dhcp::run),
        scenario("vmware_cards_and_a_network_of_many_devices", vmware::run),
        scenario("installer_disc", outputs::disc).with_ignored_flag(true),
        scenario("installer_from_the_network", outputs::pair).with_ignored_flag(true),
        scenario("google_archive", outputs::google).with_ignored_flag(true),
        scenario("minimal_image", variants::minimal).with_ignored_flag(true),
        scenario("developer_image", variants::developer).with_ignored_flag(true),
        scenario("no_config", no_config::run),
        scenario("secure_boot", secure_boot::run),
        scenario("broken_config", broken_config::run),
        scenario("flipped_byte_in_a_file", flipped_byte::in_a_file),
        scenario("flipped_byte_in_the_superblock", flipped_byte::in_the_superblock),
        scenario("cluster_on_nodes", cluster::run),
        scenario("trial_on_a_node", trial::run),
        scenario("evening_on_nodes", evening::run),
        scenario("evening_on_machines", in_turn::run).with_ignored_flag(true),
        scenario("update_and_back_from_bad_releases", update::run).with_ignored_flag(true),
        scenario("update_killed", update::killed).with_ignored_flag(true),
        scenario("update_that_hangs", update::hanging).with_ignored_flag(true),
    ];
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn scenario(name: &'static str, run: fn(&Lab) -> Outcome) -> libtest_mimic::Trial {
    libtest_mimic::Trial::test(name, move || {
        let lab = Lab::open().map_err(Failed::from)?;
        run(&lab).map_err(|error| Failed::from(checks::told(error.as_ref())))
    })
}
