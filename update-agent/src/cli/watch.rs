//! `watch`: the progress, as it goes on.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use super::Outcome;
use crate::agent::Agent;
use crate::live::{self, Activity, Live};
use crate::service::Outside;

/// Cells of the bar.
const WIDTH: usize = 30;

pub(super) fn run(root: &Path, outside: Outside<'_>) -> Outcome {
    let agent = Agent::open(root)?;
    let directory = agent.run_directory();
    let terminal = std::io::stdout().is_terminal();
    let mut last = String::new();
    while !outside.stop.load(Ordering::Relaxed) {
        let live = live::read(&directory);
        let text = line(&live);
        if text != last {
            let mut out = std::io::stdout().lock();
            let written = match terminal {
                true => write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()),
                false => writeln!(out, "{text}"),
            };
            if written.is_err() {
                break;
            }
            last = text;
        }
        if matches!(live.activity, Activity::Idle | Activity::RebootNeeded) {
            break;
        }
        sleep(Duration::from_millis(250));
    }
    if terminal {
        super::print("\n");
    }
    Ok(ExitCode::SUCCESS)
}

/// One moment as one line.
fn line(live: &Live) -> String {
    let version = live.version.as_deref().unwrap_or_default();
    let (word, bar) = match live.activity {
        Activity::Idle => return "nothing is being done".to_owned(),
        Activity::Checking => return "asking the server".to_owned(),
        Activity::RebootNeeded => return format!("{version} waits for a reboot"),
        Activity::Downloading => ("writing", true),
        Activity::Verifying => ("reading back", true),
        Activity::Finalizing => ("finishing", false),
    };
    let done = (live.progress.clamp(0.0, 1.0) * WIDTH as f64) as usize;
    let cells = if bar { done } else { WIDTH };
    format!(
        "{word:<12} {version} [{}{}] {:>3.0} %, {:.1} MB fetched",
        "#".repeat(cells),
        ".".repeat(WIDTH - cells),
        live.progress * 100.0,
        live.fetched as f64 / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_line() {
        let live = Live {
            activity: Activity::Downloading,
            version: Some("1.2".into()),
            progress: 0.5,
            fetched: 2_600_000,
            ..Live::default()
        };
        assert_eq!(
            line(&live),
            "writing      1.2 [###############...............]  50 %, 2.6 MB fetched"
        );
        assert_eq!(line(&Live::default()), "nothing is being done");
    }
}
