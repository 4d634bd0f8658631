//! Decisions, by tables of whole clusters.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::unit::Mode;

/// `(unit, its [X-Fleet], machine or nothing, desired state)`.
type Known<'a> = (&'a str, &'a str, &'a str, &'a str);

fn snapshot(machines: &Value, units: &[Known<'_>], new: (&str, &str)) -> Snapshot {
    let body = |section: &str| format!("[Service]\nExecStart=/bin/true\n[X-Fleet]\n{section}\n");
    let units: Vec<Value> = units
        .iter()
        .map(|(name, section, on, desired)| {
            json!({"name": name, "body": body(section), "scheduled_on": on, "desired_state": desired})
        })
        .collect();
    let new = json!({"name": new.0, "body": body(new.1), "desired_state": "launched"});
    let document = json!({"machines": machines.clone(), "units": units, "new_unit": new});
    Snapshot::parse(document.to_string().as_bytes()).expect("a snapshot")
}

#[allow(clippy::needless_pass_by_value)] // reads better at the call
fn decide(machines: Value, units: &[Known<'_>], new: (&str, &str)) -> (Option<String>, Vec<bool>) {
    let decision = snapshot(&machines, units, new).decide(Mode::Lenient).expect("a decision");
    (decision.decision, decision.able_to_run.into_values().collect())
}

fn three() -> Value {
    json!([
        {"id": "aaaaaaaa1", "metadata": {"region": "us", "disk": "ssd"}},
        {"id": "bbbbbbbb2", "metadata": {"region": "eu"}},
        {"id": "cccccccc3", "metadata": null},
    ])
}

const A: &str = "aaaaaaaa1";
const B: &str = "bbbbbbbb2";
const C: &str = "cccccccc3";

#[test]
fn the_least_loaded_machine_wins_then_the_smallest_id() {
    let on = |units: &[Known<'_>]| decide(three(), units, ("n.service", "")).0;
    assert_eq!(on(&[]).as_deref(), Some(A));
    assert_eq!(on(&[("x.service", "", A, "launched")]).as_deref(), Some(B));
    assert_eq!(
        on(&[("x.service", "", A, "loaded"), ("y.service", "", B, "launched")]).as_deref(),
        Some(C)
    );
    // What is not to be there, or on a machine that is gone, does not count.
    assert_eq!(on(&[("x.service", "", A, "inactive")]).as_deref(), Some(A));
    assert_eq!(on(&[("x.service", "", "gone", "launched")]).as_deref(), Some(A));
    assert_eq!(decide(json!([]), &[], ("n.service", "")), (None, vec![]));
}

#[test]
fn global_units_are_load() {
    let on = |units: &[Known<'_>]| decide(three(), units, ("n.service", "")).0;
    assert_eq!(on(&[("g.service", "Global=true", "", "launched")]).as_deref(), Some(A));
    assert_eq!(
        on(&[("g.service", "Global=true\nMachineMetadata=region=us", "", "launched")]).as_deref(),
        Some(B)
    );
    // fleet did not ask what a global unit should be.
    assert_eq!(
        on(&[("g.service", "Global=yes\nMachineMetadata=region=us", "", "inactive")]).as_deref(),
        Some(B)
    );
    // One that conflicts is not there.
    let conflicting: [Known<'_>; 2] = [
        ("x.service", "", B, "launched"),
        ("g.service", "Global=1\nConflicts=x.service", "", "launched"),
    ];
    assert_eq!(on(&conflicting).as_deref(), Some(A));
    // Its own conflicts keep others away.
    let (decision, able) = decide(
        three(),
        &[("g.service", "Global=true\nConflicts=n*\nMachineMetadata=region=us", "", "launched")],
        ("n.service", ""),
    );
    assert_eq!((decision.as_deref(), able), (Some(B), vec![false, true, true]));
    // It is not for one machine.
    let (decision, able) =
        decide(three(), &[], ("n.service", "Global=true\nMachineMetadata=region=eu"));
    assert_eq!((decision, able), (None, vec![false, true, false]));
}

#[test]
fn machine_id_whole_or_short() {
    for (asked, able) in [
        (A, [true, false, false]),
        ("bbbbbbbb", [false, true, false]),
        ("bbbbbbb", [false; 3]),
        ("", [false; 3]),
    ] {
        assert_eq!(
            decide(three(), &[], ("n.service", &format!("MachineID={asked}"))).1,
            able,
            "{asked}"
        );
    }
}

#[test]
fn metadata() {
    for (asked, able) in [
        ("MachineMetadata=region=us", [true, false, false]),
        ("MachineMetadata=\"region=us\" \"region=eu\"", [true, true, false]),
        ("MachineMetadata=region=eu\nX-ConditionMachineMetadata=region=us", [true, true, false]),
        ("MachineMetadata=region=us\nMachineMetadata=disk=ssd", [true, false, false]),
        ("MachineMetadata=region=eu\nMachineMetadata=disk=ssd", [false; 3]),
        ("MachineMetadata=region=us \"disk=ssd\"", [true; 3]),
        ("MachineMetadata=Region=us", [false; 3]),
        ("machinemetadata=region=us", [true; 3]),
    ] {
        assert_eq!(decide(three(), &[], ("n.service", asked)).1, able, "{asked}");
    }
}

#[test]
fn machine_of() {
    let units: [Known<'_>; 3] = [
        ("p.service", "", B, "launched"),
        ("q.service", "", C, "loaded"),
        ("r.service", "", "", "launched"),
    ];
    for (asked, able) in [
        ("MachineOf=p.service", [false, true, false]),
        ("MachineOf=p.service\nMachineOf=q.service", [false; 3]),
        ("MachineOf=r.service", [false; 3]),
        ("MachineOf=p*", [false; 3]),
        ("MachineOf=p.service q.service", [false; 3]),
        ("X-ConditionMachineOf=%p.service", [false; 3]),
    ] {
        assert_eq!(decide(three(), &units, ("n.service", asked)).1, able, "{asked}");
    }
    assert_eq!(
        decide(three(), &[("p.service", "", B, "inactive")], ("n.service", "MachineOf=p.service"))
            .1,
        [false; 3]
    );
    assert_eq!(
        decide(
            three(),
            &[("g.service", "Global=true", "", "launched")],
            ("n.service", "MachineOf=g.service")
        )
        .1,
        [true; 3]
    );
}

#[test]
fn conflicts_hold_both_ways() {
    let units: [Known<'_>; 2] = [
        ("web@1.service", "Conflicts=web@*.service", A, "launched"),
        ("web@2.service", "Conflicts=web@*.service", B, "loaded"),
    ];
    let (decision, able) = decide(three(), &units, ("web@3.service", "Conflicts=web@*.service"));
    assert_eq!((decision.as_deref(), able), (Some(C), vec![false, false, true]));
    assert_eq!(decide(three(), &units, ("web@3.service", "")).1, [false, false, true]);
    assert_eq!(
        decide(three(), &units, ("other.service", "Conflicts=web@1.service web@[2-3].service")).1,
        [false, false, true]
    );
    assert_eq!(decide(three(), &units, ("other.service", "Conflicts=web@[1-2")).1, [true; 3]);
    // A unit does not conflict with itself.
    assert_eq!(
        decide(three(), &units, ("web@1.service", "Conflicts=web@1.service")).1,
        [true, false, true]
    );
}

#[test]
fn a_unit_that_replaces_another_can_go_to_it() {
    let units: [Known<'_>; 1] = [("old.service", "", A, "launched")];
    assert_eq!(decide(three(), &units, ("n.service", "Replaces=old.service")).1, [true; 3]);
}

#[test]
fn mistakes_refuse_the_snapshot_unless_it_is_old() {
    let wrong = snapshot(
        &three(),
        &[("x.service", "MachineId=a", A, "launched")],
        ("n.service", "Global=perhaps"),
    );
    let error = wrong.decide(Mode::Strict).expect_err("two mistakes");
    assert_eq!(
        error.to_string(),
        "x.service:4: unknown key `MachineId` in [X-Fleet], did you mean `MachineID`?\n\
         n.service:4: Global: `perhaps` is neither true nor false"
    );
    assert_eq!(wrong.decide(Mode::Lenient).expect("a decision").warnings.len(), 2);
    let together = snapshot(&three(), &[], ("n.service", "MachineID=aaaaaaaa\nConflicts=x"));
    assert!(together.decide(Mode::Strict).is_err());
    assert!(together.decide(Mode::Lenient).is_ok());
    assert!(Snapshot::parse(b"{}").is_err());
    assert!(
        Snapshot::parse(
            b"{\"new_unit\": {\"name\": \"a\", \"body\": \"\", \"desired_state\": \"x\"}}"
        )
        .is_err()
    );
}

#[test]
fn requests_are_kept_within_what_a_machine_has() {
    let machines = json!([
        {"id": "a", "metadata": {}, "capacity": {"cpu": 1000, "memory": 1_073_741_824}},
        {"id": "b", "metadata": {}, "capacity": {"cpu": 4000, "memory": 1_073_741_824}},
    ]);
    let units: [Known<'_>; 2] = [
        ("x.service", "CPURequest=0.5", "a", "launched"),
        ("y.service", "CPURequest=1", "b", "launched"),
    ];
    let on = |section: &str| decide(machines.clone(), &units, ("n.service", section));
    assert_eq!(on("CPURequest=0.5"), (Some("b".into()), vec![true, true]));
    assert_eq!(on("CPURequest=0.6"), (Some("b".into()), vec![false, true]));
    assert_eq!(on("MemoryRequest=2G"), (None, vec![false, false]));
    // Without a request fleet's order counts.
    assert_eq!(on(""), (Some("a".into()), vec![true, true]));
}

#[test]
fn instances_are_spread_over_the_values_of_a_key() {
    let machines = json!([
        {"id": "a", "metadata": {"rack": "1"}}, {"id": "b", "metadata": {"rack": "1"}},
        {"id": "c", "metadata": {"rack": "2"}}, {"id": "d", "metadata": {"rack": "2"}},
    ]);
    let spread = "Spread=rack";
    let mut units: Vec<Known<'_>> = vec![("w@1.service", spread, "a", "launched")];
    assert_eq!(decide(machines.clone(), &units, ("w@2.service", spread)).0.as_deref(), Some("c"));
    units.push(("w@2.service", spread, "c", "launched"));
    assert_eq!(decide(machines.clone(), &units, ("w@3.service", spread)).0.as_deref(), Some("b"));
    units.push(("w@3.service", spread, "b", "launched"));
    assert_eq!(decide(machines, &units, ("w@4.service", spread)).0.as_deref(), Some("d"));
}

#[test]
fn why_names_the_nearest_miss() {
    let mut cluster = Cluster::default();
    for (id, region) in [("aaaaaaaa1", "us"), ("bbbbbbbb2", "eu")] {
        cluster.set_machine(id, [("region".into(), region.into())].into(), Capacity::default());
    }
    let job = |name: &str, section: &str| {
        let file = crate::unit::UnitFile::parse(format!("[X-Fleet]\n{section}").as_bytes())
            .expect("a file");
        std::sync::Arc::new(Job::lenient(name, &file))
    };
    cluster.put(A, job("web@1.service", "Conflicts=web@*.service"));
    let new = job(
        "web@2.service",
        "Conflicts=web@*.service\nMachineMetadata=region=us\nMachineOf=db.service",
    );
    let reports = reports(&cluster, &new);
    let nearest = nearest(&cluster, &new);
    assert_eq!(
        why_lines(&reports, nearest.as_ref()),
        [
            "MachineMetadata: passed by 1 of 2 machines",
            "  not by bbbbbbbb: its region is eu, not us",
            "MachineOf: passed by 0 of 2 machines",
            "  not by aaaaaaaa: db.service is not there",
            "  not by bbbbbbbb: db.service is not there",
            "Conflicts: passed by 1 of 2 machines",
            "  not by aaaaaaaa: web@1.service is there",
            "nearest miss: aaaaaaaa: db.service is not there; and web@1.service is there",
        ]
    );
    cluster.close(B, Some("it is being drained".into()));
    let job = job("n.service", "");
    assert_eq!(cluster.decide(&job, &BTreeSet::new()), Some(A));
    cluster.close(B, None);
    assert_eq!(cluster.decide(&job, &BTreeSet::new()), Some(B));
    assert_eq!(cluster.decide(&job, &BTreeSet::from([B.to_string()])), Some(A));
}
