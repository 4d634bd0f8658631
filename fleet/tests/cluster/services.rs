//! Services find machines.

use crate::node::Machines;

#[test]
fn units_are_started_moved_and_destroyed() {
    let machines = Machines::start(3);
    let client = machines.client();
    for n in 1..=4 {
        machines.launch(&format!("web@{n}.service"), "Conflicts=web@*.service");
    }
    let running = || machines.running().iter().map(Vec::len).collect::<Vec<_>>();
    machines.wait("three run on three machines", || running() == [1, 1, 1]);
    let waiting =
        (1..=4).map(|n| format!("web@{n}.service")).find(|unit| machines.on(unit).is_empty());
    let waiting = waiting.expect("one waits");
    let why = client.why(&waiting).expect("an answer").expect("it exists");
    assert!(why.verdict.contains("none can run it"), "{}", why.verdict);
    assert_eq!(why.rules[0].failed.len(), 3, "{why:?}");
    assert!(why.nearest.is_some());

    let gone =
        (1..=4).map(|n| format!("web@{n}.service")).find(|unit| *unit != waiting).expect("another");
    client.destroy(&gone).expect("destroyed");
    machines.wait("the one that waited runs", || machines.on(&waiting).len() == 1);
    machines.wait("the other is gone everywhere", || {
        machines.nodes.iter().all(|node| node.systemd.unit(&gone).is_none())
    });
    machines
        .wait("its state too", || client.states_of(&gone).is_ok_and(|states| states.is_empty()));
    // Its text goes with the last unit that has it: the instances share one.
    assert!(client.unit(&waiting).expect("an answer").expect("it exists").body.is_some());

    client.set_state(&waiting, "loaded").expect("changed");
    machines.wait("it is stopped and stays loaded", || {
        machines.on(&waiting).is_empty()
            && machines.nodes.iter().any(|node| node.systemd.unit(&waiting).is_some())
    });
    client.set_state(&waiting, "inactive").expect("changed");
    machines.wait("it is unloaded", || {
        machines.nodes.iter().all(|node| node.systemd.unit(&waiting).is_none())
    });
}

#[test]
fn peers_globals_and_metadata() {
    let mut machines = Machines::start(2);
    machines.launch("db.service", "");
    machines.launch("backup.service", "MachineOf=db.service");
    machines.launch("agent.service", "Global=true");
    machines.wait("the peer is beside it, the global one everywhere", || {
        machines.on("db.service").len() == 1
            && machines.on("db.service") == machines.on("backup.service")
            && machines.on("agent.service").len() == 2
    });
    machines.add(3);
    machines
        .wait("a new machine takes the global unit", || machines.on("agent.service").len() == 3);
    machines.launch("gpu.service", "MachineMetadata=gpu=yes");
    let client = machines.client();
    machines.wait("nowhere yet", || {
        client.why("gpu.service").is_ok_and(|why| why.is_some_and(|why| why.nearest.is_some()))
    });
    let patch = format!(
        "[{{\"op\":\"add\",\"path\":\"/{}/metadata/gpu\",\"value\":\"yes\"}}]",
        machines.nodes[1].id
    );
    assert_eq!(
        crate::interface::request(&machines.nodes[0].socket(), "PATCH", "machines", &patch).0,
        204
    );
    machines.wait("it goes where the metadata is", || machines.on("gpu.service") == [1]);
}

#[test]
fn a_new_version_rolls_and_a_broken_one_goes_back() {
    let machines = Machines::start(3);
    let section = "UpdateMaxParallel=1\nAutoRevert=true";
    for n in 1..=3 {
        machines.launch(&format!("app@{n}.service"), section);
    }
    let all = || (1..=3).all(|n| machines.on(&format!("app@{n}.service")).len() == 1);
    machines.wait("three run", all);
    let before: Vec<String> = (1..=3)
        .map(|n| {
            machines.client().unit(&format!("app@{n}.service")).expect("asked").expect("there").hash
        })
        .collect();
    for n in 1..=3 {
        machines.put(&format!("app@{n}.service"), section, "/bin/false");
    }
    machines.wait("all are back at the version before and run", || {
        let now: Vec<String> = (1..=3)
            .map(|n| {
                machines
                    .client()
                    .unit(&format!("app@{n}.service"))
                    .expect("asked")
                    .expect("there")
                    .hash
            })
            .collect();
        now == before && all()
    });
    // The first failure stopped it: at most one instance was ever tried.
    let failed: usize = machines
        .nodes
        .iter()
        .flat_map(|node| (1..=3).filter_map(|n| node.systemd.unit(&format!("app@{n}.service"))))
        .filter(|unit| unit.stops > 0)
        .count();
    assert_eq!(failed, 1, "only one instance was touched");
}

#[test]
fn a_machine_is_drained_and_opened_again() {
    let machines = Machines::start(2);
    machines.launch("a.service", "");
    machines.launch("b.service", "");
    machines.launch("g.service", "Global=true");
    machines.wait("all run", || machines.running().iter().all(|units| units.len() == 2));
    let client = machines.client();
    let request = fleet::api::types::CordonRequest {
        by: "test".into(),
        reason: "reboot".into(),
        drain: true,
    };
    let id = machines.nodes[0].id.clone();
    client.cordon(&id[..10], &request).expect("cordoned");
    machines.wait("nothing runs there any more, all that can move runs elsewhere", || {
        let drained =
            client.machine(&id).is_ok_and(|machine| machine.is_some_and(|machine| machine.drained));
        drained && machines.running()[0].is_empty() && machines.running()[1].len() == 3
    });
    client.uncordon(&id).expect("opened");
    machines.wait("the global unit is back", || machines.running()[0] == ["g.service"]);
}
