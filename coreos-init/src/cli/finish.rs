//! `finish`: what needs the service manager, and the end of the report.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::{Streams, Verdict, verdict_of};
use crate::extension::merged;
use crate::report::{JOBS, REPORT, Report, Stages};
use crate::verbs::{self, JobReport, Jobs};

/// How long jobs may take before they are called "still under way".
const DEADLINE: Duration = Duration::from_secs(90);

/// Why the jobs were not carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {JOBS}")]
    Read(#[source] io::Error),
    #[error("{JOBS} is damaged")]
    Damaged(#[source] serde_json::Error),
    #[error("cannot wait for the service manager")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Jobs(#[from] verbs::Error),
}

pub(super) fn run(streams: &mut Streams<'_>) -> Verdict {
    let mut report = match Report::read(Path::new(REPORT)) {
        Ok(report) => report,
        Err(error) => {
            streams.fail(&error);
            return Verdict::None;
        }
    };
    let mut stages = Stages::start("system");
    match asked().and_then(|jobs| {
        report.extensions = merged::look(&jobs.extensions, Path::new("/"));
        carry_out(&jobs)
    }) {
        Ok(jobs) => report.jobs = jobs,
        Err(error) => report.failures.push(host::error::chain(&error)),
    }
    stages.done("units");
    report.stages.extend(stages.into_stages());
    report.conclude();
    for line in report.trouble() {
        streams.warn(format_args!("error: {line}"));
    }
    streams.say(report.summary(false).trim_end());
    if let Err(error) = report.write(Path::new(REPORT)) {
        streams.fail(&error);
        return Verdict::No;
    }
    verdict_of(&report)
}

/// What the initrd has left to be done.
fn asked() -> Result<Jobs, Failure> {
    match fs::read(JOBS) {
        Ok(text) => serde_json::from_slice(&text).map_err(Failure::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Jobs::default()),
        Err(error) => Err(Failure::Read(error)),
    }
}

fn carry_out(jobs: &Jobs) -> Result<Vec<JobReport>, Failure> {
    if jobs.units.is_empty() && jobs.scripts.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failure::Runtime)?.block_on(async {
        let bus = zbus::Connection::system().await.map_err(verbs::Error::Bus)?;
        verbs::carry_out(&bus, jobs, DEADLINE).await
    })?)
}
