//! The health gate: whether a booted release is good.
//!
//! what must be so → asked again and again until all of it is, or the time is over → [`Verdict`]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use host::command::{CommandError, run};

use crate::settings::Health;

/// How long one program of the gate may take.
const COMMAND_LIMIT: &str = "60";

/// What a program of the gate exits with if waiting is of no use.
const HOPELESS: i32 = 100;

/// How long to wait before the next look: the longer it has lasted, the longer. A look is not
/// free, and what is looked at is a machine that is busy with starting.
pub fn interval(passed: Duration) -> Duration {
    (passed / 4).clamp(Duration::from_secs(1), Duration::from_secs(15))
}

/// Something that must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The unit or program.
    pub name: String,
    /// Why it is not so; none if it is.
    pub problem: Option<String>,
    /// It will not become so by waiting.
    pub hopeless: bool,
}

/// How the gate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it must be.
    Good,
    /// Not yet.
    Waiting(Vec<Finding>),
    /// The time is over.
    Bad(Vec<Finding>),
}

/// Judges what was found, after so much of the time. What was not well before the release came is
/// not held against it.
pub fn judge(
    findings: &[Finding],
    excused: &[String],
    passed: Duration,
    deadline: Duration,
) -> Verdict {
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.problem.is_some() && !excused.contains(&finding.name))
        .cloned()
        .collect();
    let hopeless = bad.iter().any(|finding| finding.hopeless);
    match (bad.is_empty(), hopeless || passed >= deadline) {
        (true, _) => Verdict::Good,
        (false, false) => Verdict::Waiting(bad),
        (false, true) => Verdict::Bad(bad),
    }
}

/// What was found wrong, as one line.
pub fn told(findings: &[Finding]) -> String {
    let lines: Vec<_> = findings
        .iter()
        .filter_map(|finding| Some(format!("{}: {}", finding.name, finding.problem.as_ref()?)))
        .collect();
    lines.join("; ")
}

/// Asks the service manager for the states of the units that must be active.
pub fn units(names: &[String]) -> Vec<Finding> {
    if names.is_empty() {
        return Vec::new();
    }
    let mut command = Command::new("systemctl");
    command.args(["show", "--property=ActiveState,SubState,Result", "--"]).args(names);
    let problems = match run(&mut command) {
        Ok(output) => unit_problems(&String::from_utf8_lossy(&output.stdout), names.len()),
        Err(error) => vec![Some(host::error::chain(&error)); names.len()],
    };
    let finding =
        |(name, problem): (&String, _)| Finding { name: name.clone(), problem, hopeless: false };
    names.iter().zip(problems).map(finding).collect()
}

/// What is wrong with each of so many units, whose properties are shown in this order with empty
/// lines between them. What is not shown is not well.
fn unit_problems(shown: &str, count: usize) -> Vec<Option<String>> {
    let not_shown = || Some("systemctl does not speak of it".to_owned());
    let mut problems: Vec<_> = shown.trim().split("\n\n").map(unit_problem).collect();
    problems.resize_with(count, not_shown);
    problems
}

/// What is wrong with a unit, by the properties that systemctl shows.
fn unit_problem(properties: &str) -> Option<String> {
    let property =
        |name: &str| properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let Some(state) = property("ActiveState") else {
        return Some("its state is not known".to_owned());
    };
    let detail = property("SubState").unwrap_or_default();
    match (state, property("Result")) {
        ("active", _) => None,
        (state, Some(result)) if result != "success" => Some(format!("{state} ({result})")),
        (state, _) => Some(format!("{state} ({detail})")),
    }
}

/// Runs the programs of the gate, in the order of their names.
pub fn commands(root: &Path, directories: &[String]) -> Vec<Finding> {
    let mut paths: Vec<PathBuf> = directories
        .iter()
        .flat_map(|directory| fs::read_dir(root.join(directory)).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| is_program(path))
        .collect();
    paths.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    let ask = |path: &PathBuf| {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", COMMAND_LIMIT]).arg(path);
        let error = run(&mut command).err();
        let hopeless = matches!(
            &error,
            Some(CommandError::Failed { status, .. }) if status.code() == Some(HOPELESS)
        );
        let problem =
            error.map(|error| host::error::chain(&error).replacen("timeout failed", "failed", 1));
        Finding { name: path.display().to_string(), problem, hopeless }
    };
    paths.iter().map(ask).collect()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Everything that must be so.
pub fn look(root: &Path, health: &Health) -> Vec<Finding> {
    let mut findings = units(&health.units);
    // Programs only once the system is up: what they ask may not be there before.
    if findings.iter().all(|finding| finding.problem.is_none()) {
        findings.extend(commands(root, &health.commands));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, problem: Option<&str>) -> Finding {
        Finding { name: name.into(), problem: problem.map(str::to_owned), hopeless: false }
    }

    #[test]
    fn a_release_is_good_when_everything_is_and_bad_when_time_is_over() {
        let deadline = Duration::from_secs(60);
        let good = [finding("a", None), finding("b", None)];
        let bad = [finding("a", None), finding("b", Some("failed (exit-code)"))];
        let early = Duration::from_secs(10);
        assert_eq!(judge(&good, &[], early, deadline), Verdict::Good);
        assert_eq!(judge(&bad, &[], early, deadline), Verdict::Waiting(bad[1..].to_vec()));
        assert_eq!(judge(&bad, &[], deadline, deadline), Verdict::Bad(bad[1..].to_vec()));
        assert_eq!(judge(&bad, &["b".into()], early, deadline), Verdict::Good, "it was so before");
        assert_eq!(told(&bad), "b: failed (exit-code)");
        let hopeless = [Finding { hopeless: true, ..bad[1].clone() }];
        assert_eq!(judge(&hopeless, &[], early, deadline), Verdict::Bad(hopeless.to_vec()));
    }

    #[test]
    fn units_are_judged_by_what_systemctl_shows() {
        for (shown, expected) in [
            ("Result=success\nActiveState=active\nSubState=exited\n", None),
            ("Result=exit-code\nActiveState=failed\nSubState=failed\n", Some("failed (exit-code)")),
            ("Result=success\nActiveState=inactive\nSubState=dead\n", Some("inactive (dead)")),
            (
                "Result=success\nActiveState=activating\nSubState=start\n",
                Some("activating (start)"),
            ),
        ] {
            assert_eq!(unit_problem(shown).as_deref(), expected, "{shown}");
        }
        let shown = "ActiveState=active\n\nActiveState=failed\nSubState=x\n\n\n";
        let problems = unit_problems(shown, 3);
        assert_eq!(problems[..2], [None, Some("failed (x)".to_owned())]);
        assert!(problems[2].is_some() && unit_problems("", 1)[0].is_some());
    }

    #[test]
    fn programs_must_succeed() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("health.d");
        fs::create_dir(&directory).unwrap();
        for (name, text, mode) in [
            ("20-bad", "#!/bin/sh\necho no disk >&2; exit 3\n", 0o755),
            ("10-good", "#!/bin/sh\n", 0o755),
            ("30-hopeless", "#!/bin/sh\nexit 100\n", 0o755),
            ("README", "not a program", 0o644),
        ] {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = commands(root.path(), &["health.d".into(), "missing".into()]);
        assert_eq!(found.len(), 3);
        assert_eq!([found[0].hopeless, found[1].hopeless, found[2].hopeless], [false, false, true]);
        assert_eq!(found[0].problem, None);
        let problem = found[1].problem.as_ref().unwrap();
        assert_eq!(problem, "failed (exit status: 3): no disk");
    }
}
