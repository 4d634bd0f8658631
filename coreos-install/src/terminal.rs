//! Whom the installer talks to: every console of the machine at once, or the terminal it was
//! started in. Whoever answers first has answered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Lines to and from people.
pub trait Talk {
    /// Shows a line.
    fn say(&mut self, line: &str);
    /// Shows a line that the next one takes the place of.
    fn show(&mut self, line: &str);
    /// Asks, and waits for an answer; none if nobody can answer any more.
    fn ask(&mut self, question: &str) -> Option<String>;
}

/// Consoles, or a terminal.
#[derive(Debug)]
pub struct Terminal {
    screens: Vec<File>,
    keyboards: Vec<Keyboard>,
    /// Whether a line stands there that the next one takes the place of.
    passing: bool,
}

#[derive(Debug)]
struct Keyboard {
    file: File,
    typed: Vec<u8>,
    open: bool,
}

impl Terminal {
    /// Every console that the kernel speaks to.
    pub fn consoles(sysfs: &Path, dev: &Path) -> Terminal {
        let names = fs::read_to_string(sysfs.join("class/tty/console/active")).unwrap_or_default();
        let open = |name: &str| OpenOptions::new().read(true).write(true).open(dev.join(name)).ok();
        let files: Vec<File> = names.split_whitespace().filter_map(open).collect();
        let keyboards =
            files.iter().filter_map(|file| file.try_clone().ok()).map(Keyboard::new).collect();
        Terminal { screens: files, keyboards, passing: false }
    }

    /// A screen and a keyboard.
    pub fn new(screen: File, keyboard: File) -> Terminal {
        Terminal { screens: vec![screen], keyboards: vec![Keyboard::new(keyboard)], passing: false }
    }

    fn write(&mut self, text: &str) {
        for screen in &mut self.screens {
            // A console that fails is no reason to stop.
            let _ = screen.write_all(text.as_bytes()).and_then(|()| screen.flush());
        }
    }
}

impl Keyboard {
    fn new(file: File) -> Keyboard {
        Keyboard { file, typed: Vec::new(), open: true }
    }

    /// Takes what was typed; a line, if it is whole.
    fn take(&mut self) -> Option<String> {
        let mut bytes = [0; 256];
        match self.file.read(&mut bytes) {
            Ok(0) => self.open = false,
            Ok(count) => self.typed.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.open = false,
        }
        let end = self.typed.iter().position(|&byte| byte == b'\n' || byte == b'\r')?;
        let line: Vec<u8> = self.typed.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }
}

impl Talk for Terminal {
    fn say(&mut self, line: &str) {
        let before = if std::mem::take(&mut self.passing) { "\r\x1b[K" } else { "" };
        self.write(&format!("{before}{line}\r\n"));
    }

    fn show(&mut self, line: &str) {
        self.passing = true;
        self.write(&format!("\r\x1b[K{line}"));
    }

    fn ask(&mut self, question: &str) -> Option<String> {
        let before = if std::mem::take(&mut self.passing) { "\r\x1b[K" } else { "" };
        self.write(&format!("{before}{question} "));
        loop {
            let waiting: Vec<usize> =
                (0..self.keyboards.len()).filter(|&index| self.keyboards[index].open).collect();
            if waiting.is_empty() {
                return None;
            }
            let ready: Vec<usize> = {
                let mut polled: Vec<PollFd<'_>> = waiting
                    .iter()
                    .map(|&index| {
                        PollFd::new(self.keyboards[index].file.as_fd(), PollFlags::POLLIN)
                    })
                    .collect();
                if poll(&mut polled, PollTimeout::NONE).is_err() {
                    continue;
                }
                let woken = polled.iter().map(|fd| fd.any().unwrap_or(false));
                waiting.iter().zip(woken).filter(|(_, woken)| *woken).map(|(&i, _)| i).collect()
            };
            for index in ready {
                if let Some(line) = self.keyboards[index].take() {
                    return Some(line);
                }
            }
        }
    }
}
