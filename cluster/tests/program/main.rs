//! The program against real servers and clients.

mod discovery;
mod fleetlock;
mod lock;
mod support;
