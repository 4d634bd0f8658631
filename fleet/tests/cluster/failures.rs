//! What happens when something breaks.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cluster::testing::{Cluster, Options, debian13};
use cluster::{Client, Settings};
use fleet::api::{self, Endpoint};

use crate::node::Machines;

/// Three machines with one unit each.
fn three() -> Machines {
    three_of(Machines::start(3))
}

fn three_of(machines: Machines) -> Machines {
    machines.known();
    for name in ["a.service", "b.service", "c.service"] {
        machines.launch(name, "");
    }
    machines
        .wait("each machine runs one", || machines.running().iter().all(|units| units.len() == 1));
    machines
}

fn starts(machines: &Machines) -> usize {
    ["a.service", "b.service", "c.service"]
        .iter()
        .flat_map(|unit| machines.nodes.iter().filter_map(|node| node.systemd.unit(unit)))
        .map(|unit| unit.starts + unit.stops)
        .sum()
}

#[test]
fn units_outlive_their_agent() {
    let mut machines = three();
    let before = machines.running();
    for node in &mut machines.nodes {
        node.kill();
        node.start();
    }
    machines.wait("all are back", || machines.client().machines().is_ok_and(|all| all.len() == 3));
    machines.nodes[1].terminate();
    machines.nodes[1].start();
    machines.wait("all units are shown", || {
        machines.client().states().is_ok_and(|states| states.len() == 3)
    });
    assert_eq!(machines.running(), before);
    assert_eq!(starts(&machines), 3, "nothing was started or stopped again");
}

#[test]
fn nothing_is_lost_when_systemd_executes_itself_anew() {
    let mut machines = Machines::start(1);
    machines.launch("before.service", "");
    machines.wait("it runs", || machines.on("before.service").len() == 1);
    let methods = ["LinkUnitFiles", "Reload", "ListUnitsByNames", "StartUnit"];
    for (number, method) in methods.into_iter().enumerate() {
        machines.nodes[0].systemd.break_at(method, 2);
        let unit = format!("new-{number}.service");
        machines.launch(&unit, "");
        machines.wait(method, || {
            machines.nodes[0].systemd.has_broken() && machines.on(&unit).len() == 1
        });
    }
    for method in ["StopUnit", "DisableUnitFiles"] {
        machines.nodes[0].systemd.break_at(method, 1);
        let unit = machines.running()[0][0].clone();
        machines.client().destroy(&unit).expect("destroyed");
        machines.wait(method, || {
            machines.nodes[0].systemd.has_broken()
                && machines.nodes[0].systemd.unit(&unit).is_none()
        });
    }
    // The first question of all.
    machines.nodes[0].kill();
    machines.nodes[0].systemd.break_at("ListUnitsByNames", 2);
    machines.nodes[0].start();
    machines.wait("fleetd answers", || machines.client().machines().is_ok());
    machines.launch("after.service", "");
    machines.wait("it goes on", || machines.on("after.service").len() == 1);
    assert!(machines.nodes[0].systemd.has_broken());
}

#[test]
fn nothing_moves_while_etcd_is_away_or_its_leader_pauses() {
    let mut machines = three();
    let before = machines.running();
    let still = |machines: &Machines| machines.running() == before && starts(machines) == 3;
    machines.etcd.members[0].kill();
    machines.stays("units run without etcd", Duration::from_secs(13), || still(&machines));
    machines.etcd.members[0].restart();
    machines.wait("etcd answers again", || {
        machines.client().machines().is_ok_and(|all| all.len() == 3)
    });
    machines.stays("nothing moves afterwards", Duration::from_secs(4), || still(&machines));
    // Paused for longer than any lease: they all expire the moment it goes on.
    machines.etcd.members[0].pause();
    let paused = Instant::now();
    let impatient =
        api::Client::new(Endpoint::Unix(machines.nodes[0].socket()), Duration::from_secs(3));
    let told = impatient.machines().expect_err("nobody can know").to_string();
    assert_eq!(
        told,
        "fleet server unable to communicate with etcd: it has not answered within 2.5 s"
    );
    std::thread::sleep(Duration::from_secs(12).saturating_sub(paused.elapsed()));
    machines.etcd.members[0].resume();
    machines.stays("nothing moves after a pause", Duration::from_secs(14), || still(&machines));
    machines.wait("all are registered again", || {
        machines.client().machines().is_ok_and(|all| all.len() == 3)
    });
    machines.wait("all units are shown", || {
        machines.client().states().is_ok_and(|states| states.len() == 3)
    });
}

/// Which member leads.
fn leader(etcd: &Cluster) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let leads = |url: &str| {
        let settings = Settings::listed(url).with_deadline(Duration::from_secs(5));
        let health = runtime.block_on(Client::new(settings).expect("a client").health());
        health.is_ok_and(|health| health.id == health.leader)
    };
    etcd.members.iter().position(|member| leads(&member.client_url)).expect("a leader")
}

#[test]
fn nothing_moves_when_the_leader_of_three_members_pauses() {
    let options = Options::default();
    let mut machines = three_of(Machines::of(Cluster::start(&debian13(), 3, &options), 3, ""));
    let before = machines.running();
    let still = |machines: &Machines| machines.running() == before && starts(machines) == 3;
    let there = |machines: &Machines| {
        machines.wait("all are registered again", || {
            machines.client().machines().is_ok_and(|all| all.len() == 3)
        });
    };
    // The others elect another, and every lease begins anew.
    let paused = leader(&machines.etcd);
    machines.etcd.members[paused].pause();
    machines.stays("another leads", Duration::from_secs(12), || still(&machines));
    machines.etcd.members[paused].resume();
    there(&machines);
    // One is gone, and the leader of the two pauses: when it goes on it finds every lease run out,
    // before any machine could have said a word.
    let leads = leader(&machines.etcd);
    machines.etcd.members[(leads + 1) % 3].kill();
    there(&machines);
    let leads = leader(&machines.etcd);
    machines.etcd.members[leads].pause();
    machines.stays("nobody leads", Duration::from_secs(12), || still(&machines));
    machines.etcd.members[leads].resume();
    machines.stays("it leads again", Duration::from_secs(14), || still(&machines));
    machines.etcd.members.iter_mut().for_each(cluster::testing::Member::restart);
    there(&machines);
    machines.wait("all units are shown", || {
        machines.client().states().is_ok_and(|states| states.len() == 3)
    });
    assert!(still(&machines), "{:?}", machines.running());
}

#[test]
fn what_is_no_etcd_of_today_is_told() {
    // An etcd of before version 3 speaks HTTP/1 and knows nothing of gRPC.
    let old = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = old.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in old.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let machines = Machines::start(1);
    machines.launch("a.service", "");
    machines.wait("it runs", || machines.on("a.service") == [0]);
    let folder = tempfile::tempdir().expect("a folder");
    let stray = crate::node::Node::new(folder.path(), 2, &format!("http://{address}"), "");
    machines.wait("its API says why", || {
        stray.client().machines().is_err_and(|error| {
            error.is_unavailable() && error.to_string().contains("etcd at http://127.0.0.1")
        })
    });
    machines.stays("the cluster is untouched", Duration::from_secs(3), || {
        machines.on("a.service") == [0] && machines.client().machines().is_ok()
    });
}

#[test]
fn a_dead_machine_loses_its_units_once_and_others_keep_theirs() {
    let mut machines = three();
    let lost = machines.running()[2][0].clone();
    let kept = [machines.running()[0].clone(), machines.running()[1].clone()];
    machines.nodes[2].power_off();
    machines.wait("its state is gone, with its lease", || {
        machines.client().states_of(&lost).is_ok_and(|states| states.is_empty())
    });
    machines.wait("its unit runs elsewhere", || machines.on(&lost).len() == 1);
    for (now, before) in machines.running().iter().zip(&kept) {
        assert!(before.iter().all(|unit| now.contains(unit)), "others were moved: {now:?}");
    }
    machines.nodes[2].start();
    machines.wait("the machine is back", || {
        machines.client().machines().is_ok_and(|all| all.len() == 3)
    });
    machines.stays("the unit stays where it is", Duration::from_secs(3), || {
        machines.on(&lost).len() == 1 && machines.running()[2].is_empty()
    });
}

#[test]
fn a_copy_that_comes_back_is_stopped_once_the_new_one_runs() {
    let machines = three();
    let unit = machines.running()[2][0].clone();
    machines.nodes[2].cut_off();
    machines.wait("it runs in two places: it was given up", || machines.on(&unit).len() == 2);
    machines.nodes[2].link();
    machines.wait("only the new copy is left", || {
        machines.on(&unit).len() == 1 && machines.running()[2].is_empty()
    });
}

#[test]
fn a_short_cut_moves_nothing() {
    let machines = three();
    let before = machines.running();
    machines.nodes[2].cut_off();
    machines.wait("it is missing", || machines.client().machines().is_ok_and(|all| all.len() == 2));
    machines.nodes[2].link();
    machines.wait("it is back", || machines.client().machines().is_ok_and(|all| all.len() == 3));
    machines.stays("nothing has moved", Duration::from_secs(8), || {
        machines.running() == before && starts(&machines) == 3
    });
}

#[test]
fn many_machines_that_go_missing_together_pull_the_brake() {
    let machines = Machines::start(6);
    machines.known();
    for n in 1..=6 {
        machines.launch(&format!("u{n}.service"), "");
    }
    machines
        .wait("each machine runs one", || machines.running().iter().all(|units| units.len() == 1));
    let before = machines.running();
    for node in &machines.nodes[3..] {
        node.cut_off();
    }
    machines.wait("the brake holds", || {
        machines.client().cluster().is_ok_and(|cluster| cluster.brake.is_some())
    });
    machines.stays("nothing moves", Duration::from_secs(9), || machines.running() == before);
    let why = machines.client().why(&before[4][0]).expect("an answer").expect("it exists");
    assert!(why.brake.is_some(), "{why:?}");
    // A person knows better: they are gone for good.
    machines.client().release_brake().expect("released");
    machines.wait("their units start elsewhere", || {
        before[3..].iter().all(|units| machines.on(&units[0]).len() == 2)
    });
}

#[test]
fn a_unit_that_fails_is_remembered_and_the_cluster_goes_on() {
    let machines = Machines::start(2);
    machines.put("bad.service", "", "/bin/false");
    machines.wait("its failure is known", || {
        machines
            .client()
            .why("bad.service")
            .is_ok_and(|why| why.is_some_and(|why| why.failure.is_some()))
    });
    let why = machines.client().why("bad.service").expect("an answer").expect("it exists");
    assert!(why.verdict.contains("failed 1 time in a row"), "{}", why.verdict);
    machines.launch("good.service", "");
    machines.wait("another one starts", || machines.on("good.service").len() == 1);
    let tried: usize =
        machines.nodes.iter().filter_map(|n| n.systemd.unit("bad.service")).map(|u| u.starts).sum();
    assert_eq!(tried, 1, "it is not tried again at once");
}

#[test]
fn a_machine_that_boots_without_etcd_starts_what_it_was_told_last() {
    let mut machines = Machines::start(1);
    machines.launch("a.service", "");
    machines.launch("careful.service", "OnPartition=stop-after=5s");
    machines.wait("both run", || machines.running()[0].len() == 2);
    machines.etcd.members[0].kill();
    machines.wait("the careful one is stopped by its machine", || {
        machines.running()[0] == ["a.service"]
    });
    machines.nodes[0].power_off();
    machines.nodes[0].start();
    machines.wait("the other is started from memory", || machines.running()[0] == ["a.service"]);
    machines.etcd.members[0].restart();
    machines.wait("with etcd both run", || machines.running()[0].len() == 2);
}

#[test]
fn a_machine_that_is_back_before_it_was_missed_starts_its_units_at_once() {
    // Its old registration would outlast the test.
    let settings = "agent_ttl=300s\nengine_grace=600s";
    let mut machines = Machines::with(2, &cluster::testing::debian12(), settings);
    machines.known();
    for node in &machines.nodes {
        machines.launch(&format!("on-{}.service", node.id), &format!("MachineID={}", node.id));
    }
    // Only under a live lease.
    machines.launch("alone.service", "Global=true\nOnPartition=stop-after=60s");
    let all = |machines: &Machines| machines.running().iter().all(|units| units.len() == 2);
    machines.wait("all run", || all(&machines));
    machines.nodes[1].power_off();
    machines.nodes[1].start();
    machines.wait("all run again", || all(&machines));
    machines.wait("and are shown as they are", || {
        machines.client().states().is_ok_and(|states| {
            states.len() == 4 && states.iter().all(|state| state.systemd_active_state == "active")
        })
    });
}

#[test]
fn a_second_machine_with_one_machine_id_is_not_let_in() {
    let mut machines = Machines::start(1);
    machines.launch("a.service", "");
    machines.wait("it runs", || machines.on("a.service") == [0]);
    let id = machines.nodes[0].id.clone();
    machines.add(2);
    machines.wait("it is there under its own id", || {
        machines.client().machines().is_ok_and(|all| all.len() == 2)
    });
    machines.nodes[1].terminate();
    machines.nodes[1].give_id(&id);
    machines.nodes[1].start();
    machines.wait("its API says why", || {
        machines.nodes[1].client().machines().is_err_and(|error| {
            error.is_unavailable() && error.to_string().contains("two machines have one machine id")
        })
    });
    machines.stays("the first is untouched", Duration::from_secs(7), || {
        machines.on("a.service") == [0] && machines.client().machines().is_ok()
    });
}

#[test]
fn of_two_copies_of_a_disk_one_is_let_in_and_they_do_not_take_turns() {
    let mut machines = Machines::start(2);
    machines.nodes[1].terminate();
    machines.nodes[1].copy_disk(&machines.nodes[0]);
    machines.nodes[1].start();
    let told = |machines: &Machines, node: usize| {
        machines.nodes[node].client().machines().map_err(|error| error.to_string())
    };
    machines.wait("the earlier one is told", || {
        told(&machines, 0).is_err_and(|why| why.contains("two machines have one machine id"))
            && told(&machines, 1).is_ok()
    });
    machines.stays("it stays so", Duration::from_secs(7), || {
        told(&machines, 0).is_err() && told(&machines, 1).is_ok()
    });
}
