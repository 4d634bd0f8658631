//! A logger for programs that write to a terminal, to the journal or to the kernel's log.
//!
//! The `log` crate's macros are the interface; this is only where the lines go and how they
//! look. A message of several lines stays several lines, each with its priority.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Where the messages go.
#[derive(Debug)]
pub enum Target {
    /// Standard error, for a person: warnings and errors say that they are.
    Plain,
    /// Standard error, connected to the journal: each line starts with its priority (`<4>`).
    Journal,
    /// The kernel's log: the console shows it now, the journal collects it later.
    Kernel(File),
}

impl Target {
    /// Standard error: [`Target::Journal`] if `journal_stream`, the value of the variable
    /// `JOURNAL_STREAM` that the service manager sets, says that it is connected to the journal.
    pub fn stderr(journal_stream: Option<&str>) -> Target {
        let here = std::fs::metadata("/proc/self/fd/2").map(|stderr| (stderr.dev(), stderr.ino()));
        match (journal_stream.and_then(parse_stream), here) {
            (Some(journal), Ok(here)) if journal == here => Target::Journal,
            _ => Target::Plain,
        }
    }

    /// The kernel's log, `/dev/kmsg`.
    pub fn kernel() -> io::Result<Target> {
        OpenOptions::new().write(true).open("/dev/kmsg").map(Target::Kernel)
    }
}

/// Sends the messages of the whole program to `target`, down to `level`. In the kernel's log,
/// where nothing else says whose they are, `name` stands before them.
///
/// Only the first call in a program counts.
pub fn init(name: &'static str, target: Target, level: LevelFilter) {
    if log::set_boxed_logger(Box::new(Logger { name, target })).is_ok() {
        log::set_max_level(level);
    }
}

struct Logger {
    name: &'static str,
    target: Target,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let text = record.args().to_string();
        let lines = render(&self.target, self.name, record.level(), &text);
        // A message that cannot be written has nowhere else to go.
        let _ = match &self.target {
            Target::Plain | Target::Journal => io::stderr().lock().write_all(lines.as_bytes()),
            // One write is one record there.
            Target::Kernel(file) => lines
                .split_inclusive('\n')
                .try_for_each(|line| (&mut &*file).write_all(line.as_bytes())),
        };
    }

    fn flush(&self) {}
}

fn render(target: &Target, name: &str, level: Level, text: &str) -> String {
    let prefix = match (target, level) {
        (Target::Plain, Level::Error) => "error: ".to_owned(),
        (Target::Plain, Level::Warn) => "warning: ".to_owned(),
        (Target::Plain, _) => String::new(),
        (Target::Journal, level) => format!("<{}>", priority(level)),
        (Target::Kernel(_), level) => format!("<{}>{name}: ", priority(level)),
    };
    text.lines().map(|line| format!("{prefix}{line}\n")).collect()
}

/// The priority as syslog(3) numbers it.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// `device:inode`, both decimal.
fn parse_stream(value: &str) -> Option<(u64, u64)> {
    let (device, inode) = value.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_its_priority_the_way_its_reader_expects() {
        let kernel = Target::Kernel(File::open("/dev/null").unwrap());
        let cases = [
            (&Target::Plain, Level::Error, "a\nb", "error: a\nerror: b\n"),
            (&Target::Plain, Level::Warn, "a", "warning: a\n"),
            (&Target::Plain, Level::Info, "a", "a\n"),
            (&Target::Journal, Level::Error, "a\nb", "<3>a\n<3>b\n"),
            (&Target::Journal, Level::Info, "a", "<6>a\n"),
            (&kernel, Level::Warn, "a\nb", "<4>coreos: a\n<4>coreos: b\n"),
            (&kernel, Level::Debug, "a", "<7>coreos: a\n"),
            (&Target::Plain, Level::Info, "", ""),
        ];
        for (target, level, text, expected) in cases {
            assert_eq!(render(target, "coreos", level, text), expected, "{target:?} {level}");
        }
    }

    #[test]
    fn standard_error_is_the_journal_only_if_it_is_that_very_stream() {
        let stderr = std::fs::metadata("/proc/self/fd/2").unwrap();
        let here = format!("{}:{}", stderr.dev(), stderr.ino());
        let other = format!("{}:{}", stderr.dev(), stderr.ino() + 1);
        assert!(matches!(Target::stderr(Some(&here)), Target::Journal));
        for stream in [None, Some(other.as_str()), Some("nonsense"), Some("1:x")] {
            assert!(matches!(Target::stderr(stream), Target::Plain), "{stream:?}");
        }
    }
}
