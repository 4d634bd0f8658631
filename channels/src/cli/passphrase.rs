//! Passphrases: from a file, or asked for at the terminal without showing them.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Where passphrases come from.
pub(super) struct Passphrases {
    file: Option<PathBuf>,
    /// The one that was given for the first new key: all keys of one command get it.
    new: RefCell<Option<String>>,
}

impl Passphrases {
    pub(super) fn new(file: Option<PathBuf>) -> Passphrases {
        Passphrases { file, new: RefCell::default() }
    }

    /// The passphrase of a key.
    pub(super) fn get(&self, key: &str, new: bool) -> io::Result<String> {
        if let Some(file) = &self.file {
            let text = fs::read_to_string(file).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", file.display()))
            })?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if !new {
            return prompt(&format!("passphrase of {key}: "));
        }
        if let Some(given) = self.new.borrow().as_ref() {
            return Ok(given.clone());
        }
        let given = prompt(&format!("new passphrase, for {key} and every other key made now: "))?;
        if given.is_empty() {
            return Err(io::Error::other("it is empty: use --no-passphrase if that is meant"));
        }
        if prompt("again: ")? != given {
            return Err(io::Error::other("the two are not the same"));
        }
        *self.new.borrow_mut() = Some(given.clone());
        Ok(given)
    }
}

fn prompt(question: &str) -> io::Result<String> {
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|error| {
            io::Error::new(error.kind(), "no terminal to ask at: use --passphrase-file")
        })?;
    terminal.write_all(question.as_bytes())?;
    let silent = Silent::new(&terminal)?;
    let mut line = String::new();
    BufReader::new(&terminal).read_line(&mut line)?;
    drop(silent);
    terminal.write_all(b"\n")?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Silent<'_> {
    fn new(terminal: &File) -> io::Result<Silent<'_>> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Silent { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing more.
        let _ = tcsetattr(self.terminal.as_fd(), SetArg::TCSAFLUSH, &self.before);
    }
}
