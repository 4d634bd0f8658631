//! A node's terminal: systemd-nspawn wants one, and what appears on it is kept.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use nix::pty::openpty;

use crate::error::{Error, Result};

/// Makes a terminal whose output goes to the file `log`, and returns its other
/// end, for the program.
pub(super) fn terminal(log: &Path) -> Result<OwnedFd> {
    let broke = |source: nix::Error| Error::Channel { channel: "console", source: source.into() };
    let pair = openpty(None, None).map_err(broke)?;
    let mut kept =
        File::options().create(true).append(true).open(log).map_err(Error::file("write", log))?;
    let mut master = File::from(pair.master);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The terminal is gone when the program is.
        while let Ok(length @ 1..) = master.read(&mut buffer) {
            if kept.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    });
    Ok(pair.slave)
}
