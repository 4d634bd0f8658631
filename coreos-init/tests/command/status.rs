use crate::{coreos_init, run};

#[test]
fn a_workstation_has_no_report() {
    for arguments in [&["status"][..], &["status", "--json"], &["finish"]] {
        let (code, out, err) = run(coreos_init().args(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(
            err,
            "error: there is no /run/coreos-init/report.json: this system was not started by coreos-init\n"
        );
    }
}
