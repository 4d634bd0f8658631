//! The manual says what the program does: every key is in it, and what other systems' keys become
//! is told there in the words of the diagnostics.

use std::collections::BTreeSet;
use std::fs;

use cloud_config::{OTHER_FORMATS, Outline, PEERS, Shape, outline};

fn page(name: &str) -> String {
    let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of all keys, at any depth.
fn names(outline: &Outline, into: &mut BTreeSet<&'static str>) {
    for key in &outline.keys {
        // Options of etcd and fleet are those of the programs' own manuals; the network has a page
        // of its own.
        let elsewhere = ["etcd", "etcd2", "fleet", "network"].contains(&key.name);
        into.insert(key.name);
        if !elsewhere {
            inside(key.shape, into);
        }
    }
}

fn inside(shape: Shape, into: &mut BTreeSet<&'static str>) {
    match shape {
        Shape::Keys(outline) => names(&outline(), into),
        Shape::List(shape) | Shape::Names(shape) => inside(*shape, into),
        Shape::Either(shapes) => shapes.iter().for_each(|shape| inside(*shape, into)),
        _ => {}
    }
}

#[test]
fn every_key_is_in_the_manual() {
    let manual = page("cloud-config.md");
    let mut all = BTreeSet::new();
    names(&outline(), &mut all);
    assert!(all.len() > 60, "{all:?}");
    let missing: Vec<_> =
        all.iter().filter(|name| !manual.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/cloud-config.md says nothing of {missing:?}");
}

#[test]
fn every_key_of_the_network_is_in_its_page() {
    let manual = page("network.md").replace('-', "_");
    let all = outline();
    let network = all.keys.iter().find(|key| key.name == "network").unwrap();
    let mut names = BTreeSet::new();
    inside(network.shape, &mut names);
    assert!(names.len() > 80, "{names:?}");
    let missing: Vec<_> =
        names.iter().filter(|name| !manual.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/network.md says nothing of {missing:?}");
}

#[test]
fn what_other_systems_keys_become_is_in_the_manual() {
    let manual = page("migrating.md");
    let mut wanted = String::new();
    for key in PEERS {
        wanted.push_str(&format!("| `{}` | {} | {} |\n", key.name, key.system, key.instead));
    }
    for (format, instead) in OTHER_FORMATS {
        wanted.push_str(&format!("| {format} | {instead} |\n"));
    }
    let missing: Vec<_> = wanted.lines().filter(|row| !manual.contains(row)).collect();
    assert!(missing.is_empty(), "docs/migrating.md lacks:\n{}", missing.join("\n"));
}
