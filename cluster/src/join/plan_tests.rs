//! What a machine does, whatever it finds.

use super::*;
use crate::join::Registry;
use crate::join::intent::named;

fn intent(pairs: &[(&str, &str)]) -> Intent {
    let mine = [
        ("ETCD_NAME", "n1"),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", "http://n1:2380"),
        ("ETCD_ADVERTISE_CLIENT_URLS", "http://n1:2379"),
    ];
    let all = mine.iter().chain(pairs);
    Intent::read(&all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        .unwrap()
}

fn discovering() -> Intent {
    intent(&[("ETCD_DISCOVERY", "http://d/token")])
}

fn listing(state: &'static str) -> Intent {
    let list = "n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380";
    intent(&[("ETCD_INITIAL_CLUSTER", list), ("ETCD_INITIAL_CLUSTER_STATE", state)])
}

/// Registered members, in order.
fn registry(size: usize, members: &[&str]) -> Registry {
    let entries = members.iter().map(|m| named(&format!("{m}=http://{m}:2380")).unwrap());
    Registry { size, entries: entries.collect(), formed: false }
}

fn formed(size: usize, members: &[&str]) -> Registry {
    Registry { formed: true, ..registry(size, members) }
}

fn peer(id: u64, name: &str, host: &str, started: bool) -> Peer {
    let client_urls = if started { vec![format!("http://{host}:2379")] } else { Vec::new() };
    let peer_urls = vec![format!("http://{host}:2380")];
    Peer { id, name: name.to_owned(), peer_urls, client_urls, learner: false }
}

/// Members that have started, by name.
fn peers(names: &[&str]) -> Option<Vec<Peer>> {
    Some(names.iter().zip(1..).map(|(name, id)| peer(id, name, name, true)).collect())
}

fn with(registry: Registry, peers: Option<Vec<Peer>>) -> Facts {
    Facts { registry: Some(Ok(registry)), peers, ..Facts::default() }
}

/// A step by its name and what matters of it.
fn told(step: &Step) -> String {
    match step {
        Step::Start { overrides } => match overrides.get("ETCD_INITIAL_CLUSTER_STATE") {
            Some(state) => {
                assert_eq!(overrides["ETCD_DISCOVERY"], "", "etcd takes one way only");
                let members = overrides["ETCD_INITIAL_CLUSTER"].split(',').count();
                format!("start {state} of {members}")
            }
            None => "start".to_owned(),
        },
        Step::Client { endpoints } => format!("client of {}", endpoints.len()),
        Step::Register => "register".to_owned(),
        Step::Replace { id, .. } => format!("replace {id}"),
        Step::Add => "add".to_owned(),
        Step::PutAside => "put aside".to_owned(),
        Step::Wait { .. } => "wait".to_owned(),
        Step::Refuse { .. } => "refuse".to_owned(),
    }
}

#[test]
fn by_discovery() {
    let all = ["n1", "n2", "n3"];
    let others = ["n2", "n3", "n4"];
    let forming: Option<Vec<Peer>> =
        Some(all.iter().zip(1..).map(|(n, id)| peer(id, n, n, false)).collect());
    let half_awake = forming.clone();
    let added = Some(vec![peer(2, "n2", "n2", true), peer(9, "", "n1", false)]);
    for (what, facts, expected) in [
        ("nobody yet", with(registry(3, &[]), None), "register"),
        ("some others", with(registry(3, &["n2"]), None), "register"),
        ("registered, not all", with(registry(3, &["n1", "n2"]), None), "wait"),
        ("all are there", with(registry(3, &all), None), "start new of 3"),
        ("the others are up already", with(registry(3, &all), forming), "start new of 3"),
        ("one too many, others up", with(registry(3, &others), peers(&others)), "client of 3"),
        ("one too many, others down", with(registry(3, &others), None), "wait"),
        (
            "registered too late",
            with(registry(3, &["n2", "n3", "n4", "n1"]), peers(&others)),
            "client of 3",
        ),
        ("lost disk", with(formed(3, &all), peers(&all)), "replace 1"),
        ("lost disk, the others just start", with(formed(3, &all), half_awake), "replace 1"),
        ("lost disk, nobody there", with(formed(3, &all), None), "wait"),
        ("lost disk, service forgets", with(registry(3, &all), peers(&all)), "replace 1"),
        ("removed, then cut", with(formed(3, &all), peers(&["n2", "n3"])), "add"),
        ("added, then cut", with(formed(3, &all), added), "start existing of 2"),
        ("removed and replaced by another", with(formed(3, &all), peers(&others)), "client of 3"),
        ("alone", with(registry(1, &["n1"]), None), "start new of 1"),
    ] {
        assert_eq!(told(&decide(&discovering(), &facts)), expected, "{what}");
    }
    let silent = Facts { registry: Some(Err("no answer".to_owned())), ..Facts::default() };
    assert_eq!(decide(&discovering(), &silent), wait("no answer"));
}

#[test]
fn by_a_list() {
    let all = ["n1", "n2", "n3"];
    let facts = |peers| Facts { peers, ..Facts::default() };
    for (what, state, peers, expected) in [
        ("nobody answers", "new", None, "start new of 3"),
        ("nobody answers", "existing", None, "wait"),
        ("lost disk", "new", peers(&all), "replace 1"),
        ("lost disk", "existing", peers(&all), "replace 1"),
        ("removed, then cut", "new", peers(&["n2", "n3"]), "add"),
        ("others took the place", "new", peers(&["n2", "n3", "n4"]), "client of 3"),
    ] {
        let step = decide(&listing(state), &facts(peers));
        assert_eq!(told(&step), expected, "{what}, {state}");
    }
    let worker = Intent { name: "w".to_owned(), peer_urls: vec![], ..listing("new") };
    assert_eq!(told(&decide(&worker, &facts(peers(&all)))), "client of 3");
    assert_eq!(told(&decide(&worker, &facts(None))), "wait");
}

#[test]
fn by_the_dns() {
    let intent = intent(&[("ETCD_DISCOVERY_SRV", "example.org")]);
    let of = |hosts: &[&str]| {
        Some(Ok(hosts.iter().map(|host| format!("http://{host}:2380")).collect::<Vec<_>>()))
    };
    for (what, dns, peers, expected) in [
        ("nobody answers", of(&["n1", "n2"]), None, "start"),
        ("lost disk", of(&["n1", "n2"]), peers(&["n1", "n2"]), "replace 1"),
        ("not named", of(&["n2", "n3"]), peers(&["n2", "n3"]), "client of 2"),
        ("not named, nobody answers", of(&["n2", "n3"]), None, "wait"),
        ("no such domain", Some(Err("none".to_owned())), None, "wait"),
    ] {
        let facts = Facts { dns, peers, ..Facts::default() };
        assert_eq!(told(&decide(&intent, &facts)), expected, "{what}");
    }
}

#[test]
fn with_data_etcd_goes_on_unless_the_others_have_removed_it() {
    let data = |peers| Facts { has_data: true, peers, ..Facts::default() };
    for intent in [discovering(), listing("new"), intent(&[])] {
        assert_eq!(told(&decide(&intent, &data(None))), "start");
        assert_eq!(told(&decide(&intent, &data(peers(&["n1", "n2"])))), "start");
    }
    assert_eq!(told(&decide(&listing("new"), &data(peers(&["n2", "n3"])))), "put aside");
    let moved = Some(vec![peer(1, "n1", "elsewhere", true)]);
    assert_eq!(told(&decide(&listing("new"), &data(moved))), "start");
}

#[test]
fn a_twin_is_not_thrown_out() {
    let twin = Facts {
        twin_answers: true,
        ..with(formed(3, &["n1", "n2", "n3"]), peers(&["n1", "n2", "n3"]))
    };
    let step = decide(&discovering(), &twin);
    assert_eq!(
        step.to_string(),
        "member n1 (1) at http://n1:2380 answers, and is not this machine: names, addresses and \
         machine ids must differ"
    );
    // Before the cluster has formed: the same name at another address.
    let mut early = registry(3, &["n2"]);
    early.entries.push(named("n1=http://other:2380").unwrap());
    assert_eq!(told(&decide(&discovering(), &with(early, None))), "refuse");
}

#[test]
fn a_member_that_joins_is_named_as_it_will_be() {
    let added = vec![peer(2, "n2", "n2", true), peer(9, "", "n1", false)];
    let facts = Facts { peers: Some(added), ..Facts::default() };
    let Step::Start { overrides } = decide(&listing("new"), &facts) else { panic!("no start") };
    assert_eq!(overrides["ETCD_INITIAL_CLUSTER"], "n2=http://n2:2380,n1=http://n1:2380");
}
