//! `fleetd` and `fleetctl`: one program under two names.
//!
//! Most of either is what both need, and a machine has both: together they take the room of one.

mod fleetctl; // what people run
mod fleetd; // what every machine runs

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name() {
        Some(name) if name == "fleetctl" => fleetctl::main(),
        _ => fleetd::main(),
    }
}
