use super::*;
use crate::apply::{Item, Outcome};

/// What `status` says of a report: verdict, standard output, standard error.
fn status(path: &Path, json: bool) -> (Verdict, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut streams = Streams { out: &mut out, err: &mut err };
    let verdict = show_status(path, json, false, &mut streams);
    (verdict, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_status_of_a_machine_is_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let mut report = Report::default();
    report.conclude();
    report.write(&path).unwrap();
    let (verdict, out, err) = status(&path, false);
    assert_eq!((verdict, err.as_str()), (Verdict::Yes, ""));
    assert!(out.starts_with("status         unconfigured\n"), "{out}");

    report.items.push(Item {
        path: "/etc/x".into(),
        section: "write_files".into(),
        part: 0,
        line: None,
        column: None,
        variables: Vec::new(),
        outcome: Outcome::Failed("no".into()),
    });
    report.conclude();
    report.write(&path).unwrap();
    let (verdict, out, _) = status(&path, true);
    assert_eq!(verdict, Verdict::No);
    assert_eq!(out, report.text());
}

#[test]
fn a_damaged_report_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    std::fs::write(&path, "{").unwrap();
    let (verdict, out, err) = status(&path, false);
    assert_eq!((verdict, out.as_str()), (Verdict::None, ""));
    assert!(err.starts_with(&format!("error: {} is damaged: ", path.display())), "{err}");
    assert_eq!(err.lines().count(), 1);
}

#[test]
fn graver_verdicts_win() {
    let verdicts = [Verdict::Yes, Verdict::None, Verdict::No];
    assert_eq!(verdicts.into_iter().max(), Some(Verdict::None));
}
