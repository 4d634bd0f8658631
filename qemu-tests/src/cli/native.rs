//! What `coreos-init` costs on this host itself, where nothing is emulated.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use qemu_tests::{Error, Result, Workspace};

use super::table;

/// How often each command is run.
const RUNS: u32 = 50;

/// Times `validate` of `config`, and `apply` of it into an empty directory: the mean of many
/// runs, as rows of a table.
pub(crate) fn rows(workspace: &Workspace, config: &Path) -> Result<Vec<(&'static str, String)>> {
    let program = workspace.program("coreos-init")?;
    let mut rows = Vec::new();
    rows.push((
        "validate",
        mean(|| {
            let mut command = Command::new(&program);
            command.arg("validate").arg(config);
            run(&mut command)
        })?,
    ));
    rows.push((
        "apply",
        mean(|| {
            let root = tempfile::tempdir().map_err(|source| Error::File {
                doing: "make",
                path: std::env::temp_dir(),
                source,
            })?;
            let mut command = Command::new(&program);
            command.arg("apply").arg("--root").arg(root.path()).arg("--from-file").arg(config);
            run(command.env("COREOS_PRIVATE_IPV4", "10.0.0.1"))
        })?,
    ));
    let memory = children().max_rss();
    rows.push(("memory", format!("{memory} KiB at most")));
    Ok(rows)
}

/// Wall clock and processor time of one of many runs.
fn mean(mut run: impl FnMut() -> Result<Duration>) -> Result<String> {
    let before = children();
    let mut wall = Duration::ZERO;
    for _ in 0..RUNS {
        wall += run()?;
    }
    let cpu = processor(&children()).saturating_sub(processor(&before));
    let (wall, cpu) = (table::precise(wall / RUNS), table::precise(cpu / RUNS));
    Ok(format!("{wall}, of the processor {cpu}"))
}

fn run(command: &mut Command) -> Result<Duration> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let output = command.output();
    let took = start.elapsed();
    match output {
        Ok(output) if output.status.success() => Ok(took),
        Ok(output) => Err(Error::Failed {
            program,
            status: output.status,
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
        Err(source) => Err(Error::Start { program, source }),
    }
}

/// What all children so far have used; the kernel has no reason to refuse the answer.
fn children() -> Usage {
    getrusage(UsageWho::RUSAGE_CHILDREN).expect("RUSAGE_CHILDREN is known to every kernel")
}

fn processor(usage: &Usage) -> Duration {
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), time.tv_usec().unsigned_abs() as u32 * 1000)
    };
    of(usage.user_time()) + of(usage.system_time())
}
