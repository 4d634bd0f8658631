//! `machine`: boots the built image in QEMU, for people and for measurements.
//!
//! `boot` shows one boot live and keeps the machine; `bench` boots several
//! times and prints the stages. What a machine is, is in the library.

mod cli {
    pub(crate) mod bench; // several boots, one table
    pub(crate) mod boot; // one boot, live
    pub(crate) mod native; // provisioning on this host itself
    pub(crate) mod options; // what was asked for, and machines made of it
    pub(crate) mod signals; // ctrl-C
    pub(crate) mod table; // aligned columns
}

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::options::MachineOptions;

/// Boots the system in a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "machine", version, arg_required_else_help = true, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boots one machine, shows its console, and tells when it is provisioned.
    ///
    /// Exits with 0 if it is, 1 if it is not, 2 if it could not be tried.
    Boot {
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        boot: cli::boot::Options,
    },
    /// Boots several times and prints how long each stage took
    Bench {
        #[command(flatten)]
        machine: MachineOptions,
        #[command(flatten)]
        bench: cli::bench::Options,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Boot { machine, boot } => cli::boot::run(&machine, &boot),
        Command::Bench { machine, bench } => cli::bench::run(&machine, &bench),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            eprintln!("  caused by: {error}");
            cause = error.source();
        }
        ExitCode::from(if error.is_usage() { 2 } else { 1 })
    })
}
