//! Running another program to its end.

use std::io;
use std::process::{Command, ExitStatus, Output};

/// Lines of a failed program's standard error that its error carries.
const TAIL_LINES: usize = 5;
/// Bytes of a failed program's standard error that its error carries.
const TAIL_BYTES: usize = 2000;

/// A program could not be run, or said that it failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot run {program}")]
    Start {
        /// The program as it was named.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ran and ended with another status than 0.
    #[error("{program} failed ({status}){complaint}", complaint = complaint(.stderr))]
    Failed {
        /// The program as it was named.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote to standard error.
        stderr: String,
    },
}

/// Runs `command` to its end with no input, and returns what it wrote.
///
/// Any status but 0 is an error.
pub fn run(command: &mut Command) -> Result<Output, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(source) => return Err(CommandError::Start { program, source }),
    };
    if output.status.success() {
        return Ok(output);
    }
    let stderr = tail(&String::from_utf8_lossy(&output.stderr));
    Err(CommandError::Failed { program, status: output.status, stderr })
}

/// The last lines of `text` that say anything.
fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(TAIL_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let lines: Vec<_> =
        text[start..].lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The tail as the end of a message of one line.
fn complaint(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {}", stderr.replace('\n', "; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_program_that_succeeds_is_returned() {
        let output = run(Command::new("sh").args(["-c", "echo out; echo err >&2"])).unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
    }

    #[test]
    fn failures_name_program_status_and_complaint_in_one_line() {
        let cases = [
            ("exit 3", "sh failed (exit status: 3)"),
            ("echo no such thing >&2; exit 1", "sh failed (exit status: 1): no such thing"),
            ("printf 'a\\n\\nb \\n' >&2; exit 1", "sh failed (exit status: 1): a; b"),
            ("kill -9 $$", "sh failed (signal: 9 (SIGKILL))"),
        ];
        for (script, expected) in cases {
            let error = run(Command::new("sh").args(["-c", script])).unwrap_err();
            assert_eq!(error.to_string(), expected, "{script}");
        }
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run(&mut Command::new("/no/such/program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run /no/such/program");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let long: String = (1..=100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(tail(&long), "line 96\nline 97\nline 98\nline 99\nline 100");
        let wide = "ü".repeat(5000);
        assert_eq!(tail(&wide).len(), TAIL_BYTES);
    }
}
