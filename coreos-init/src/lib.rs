//! The machine's first program: finds the configuration, plans, applies, reports.
//!
//! source → [`reading`] → [`plan`] → [`apply`] → [`report`]
//!
//! As `/init` of the initrd ([`initrd`]) it first makes the machine: verity root, writable
//! state, `/etc` overlay. Then, still before the service manager starts, it provisions the
//! mounted root, so that the service manager finds everything in place. What needs a running
//! service manager ([`verbs`]) is done by the same program from `coreos-init.service`. On a
//! workstation the same stages run against any directory ([`cli`]).

pub mod accounts; // passwd, group and shadow as texts
pub mod apply; // Plan → a changed root; decides nothing
pub mod cli; // the commands of a person
pub mod extension; // images that are laid over /usr
pub mod fetched; // what a configuration names by its address
pub mod image; // a machine's disk, looked at as a file
pub mod initrd; // power-on → mounted root, handed over to the service manager
pub mod ledger; // what the last configuration owned
pub mod net; // the network as far as finding the configuration needs it
pub mod plan; // Config + Context → Plan; touches nothing
pub mod reading; // what was found → what is planned from
pub mod report; // what was found, done and left undone
pub mod source; // bytes, and where they came from
mod stored; // bytes in JSON
pub mod trial; // a configuration for a while
pub mod verbs; // unit commands, once the service manager runs
pub mod wireserver; // telling Azure that the machine is ready
