//! Completion scripts.

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::screen::say;

/// Prints the script that completes commands and flags in `shell`.
pub(super) fn print(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "fleetctl", &mut script);
    say(&String::from_utf8_lossy(&script));
}
