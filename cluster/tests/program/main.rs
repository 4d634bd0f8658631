//! The program against real servers and clients.

mod discovery;
mod fleetlock;
mod join;
mod lock;
mod support;
