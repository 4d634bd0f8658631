//! What moves and what does not, step by step.

use std::collections::BTreeMap;

use super::{Effect, Engine, Moment, Op, Times};
use crate::model::{
    Cordon, CordonPhase, Desired, Key, Keys, MachineInfo, OrderKind, UnitRecord, UnitState, World,
};

/// An engine with the store it writes to.
struct Table {
    engine: Engine,
    store: BTreeMap<String, Vec<u8>>,
    now: Moment,
    told: Vec<String>,
}

impl Table {
    fn new(machines: usize, units: &[(&str, &str)]) -> Table {
        let engine = Engine::new(Times { lease: 30_000, grace: 60_000 });
        let now = Moment { mono: 0, wall: 1_000_000 };
        let mut table = Table { engine, store: BTreeMap::new(), now, told: Vec::new() };
        for n in 0..machines {
            table.write(&Key::Info(format!("m{n}")), Some(&MachineInfo::default()));
        }
        for (unit, section) in units {
            table.unit(unit, section, Desired::Launched, 1);
        }
        table.lead();
        table
    }

    fn unit(&mut self, name: &str, section: &str, desired: Desired, version: u64) {
        let x_fleet = section
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        let record = UnitRecord {
            body: format!("{name}{version}"),
            desired,
            version,
            x_fleet,
            previous: None,
        };
        self.write(&Key::Unit(name.into()), Some(&record));
    }

    fn world(&self) -> World {
        let keys = Keys::new("/f");
        let mut world = World::default();
        for (path, value) in &self.store {
            world.set(&keys.parse(path).expect("our key"), Some(value)).expect("our JSON");
        }
        world
    }

    fn lead(&mut self) {
        self.engine.lead(self.now, 7, self.world());
        self.settle();
    }

    fn write<T: serde::Serialize>(&mut self, key: &Key, value: Option<&T>) {
        let path = Keys::new("/f").path(key);
        let value = value.map(|value| serde_json::to_vec(value).expect("JSON"));
        match &value {
            Some(value) => self.store.insert(path, value.clone()),
            None => self.store.remove(&path),
        };
        self.engine.input(self.now, key, value.as_deref());
    }

    fn settle(&mut self) {
        for effect in self.engine.react(self.now) {
            match effect {
                Effect::Event { about, what } => self.told.push(format!("{about} {what}")),
                Effect::Write(ops) => {
                    for op in ops {
                        let keys = Keys::new("/f");
                        match op {
                            Op::Put(key, value) | Op::Exchange(key, _, value) => {
                                self.store.insert(keys.path(&key), value.into_bytes());
                            }
                            Op::Delete(key) => drop(self.store.remove(&keys.path(&key))),
                        }
                    }
                }
            }
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now.mono += millis;
        self.now.wall += millis;
        self.settle();
    }

    fn orders(&self, unit: &str) -> Vec<(String, OrderKind)> {
        let world = self.world();
        world.places(unit).map(|(id, _, order)| (id.to_string(), order.kind)).collect()
    }

    fn on(&self, unit: &str) -> Option<String> {
        match &self.orders(unit)[..] {
            [(machine, OrderKind::Launch)] => Some(machine.clone()),
            _ => None,
        }
    }

    /// A machine answers its order for a unit.
    fn answer(&mut self, unit: &str, active: &str, released: bool) {
        let places: Vec<(String, u64)> = self
            .world()
            .places(unit)
            .map(|(id, _, order)| (id.to_string(), order.ticket))
            .collect();
        for (machine, ticket) in places {
            let state = UnitState {
                ticket,
                body: String::new(),
                load: "loaded".into(),
                active: active.into(),
                sub: String::new(),
                released,
                healthy: None,
                error: None,
            };
            self.write(&Key::State(machine, unit.into()), Some(&state));
        }
        self.settle();
    }

    fn gone(&mut self, machine: &str) {
        self.write::<MachineInfo>(&Key::Info(machine.into()), None);
        self.settle();
    }

    fn back(&mut self, machine: &str) {
        self.write(&Key::Info(machine.into()), Some(&MachineInfo::default()));
        self.settle();
    }
}

#[test]
fn a_unit_leaves_a_machine_before_it_starts_elsewhere() {
    let mut table = Table::new(2, &[("a.service", "")]);
    assert_eq!(table.on("a.service").as_deref(), Some("m0"));
    table.answer("a.service", "active", false);
    table.unit("a.service", "MachineMetadata=x=y", Desired::Launched, 2);
    table.settle();
    assert_eq!(table.orders("a.service"), [("m0".to_string(), OrderKind::Release)]);
    table.wait(1_000_000);
    assert_eq!(table.orders("a.service").len(), 1, "it waits for the machine's answer");
    table.unit("a.service", "", Desired::Launched, 3);
    table.answer("a.service", "inactive", true);
    assert!(table.on("a.service").is_some());
}

#[test]
fn a_missing_machine_is_given_up_after_lease_and_grace() {
    let mut table = Table::new(3, &[("a.service", ""), ("b.service", "MachineID=m0")]);
    assert_eq!(table.on("a.service").as_deref(), Some("m0"));
    assert_eq!(table.on("b.service").as_deref(), Some("m0"));
    table.wait(100_000);
    table.gone("m0");
    table.wait(59_000);
    assert_eq!(table.on("a.service").as_deref(), Some("m0"));
    table.wait(2_000);
    assert_eq!(table.orders("a.service").len(), 2, "{:?}", table.orders("a.service"));
    assert_eq!(table.on("b.service").as_deref(), Some("m0"), "it can run nowhere else");
    // Back: the old copy goes only when the new one runs.
    table.back("m0");
    assert!(table.orders("a.service").contains(&("m0".into(), OrderKind::Superseded)));
    table.answer("a.service", "active", false);
    assert!(table.orders("a.service").contains(&("m0".into(), OrderKind::Release)));
}

#[test]
fn a_new_leader_waits_for_a_whole_lease() {
    let mut table = Table::new(3, &[("a.service", "")]);
    table.gone("m0");
    table.wait(59_000);
    // etcd was away: whoever is missing may only not have been able to say so.
    table.engine.reconnected(table.now);
    table.wait(2_000);
    assert_eq!(table.on("a.service").as_deref(), Some("m0"));
    table.wait(29_000);
    assert_eq!(table.orders("a.service").len(), 2);
}

#[test]
fn leases_that_all_expire_at_once_move_nothing() {
    let units: Vec<String> = (0..10).map(|n| format!("u{n}.service")).collect();
    let units: Vec<(&str, &str)> = units.iter().map(|unit| (unit.as_str(), "")).collect();
    let mut table = Table::new(10, &units);
    table.wait(100_000);
    let before: Vec<_> = units.iter().map(|(unit, _)| table.on(unit)).collect();
    for n in 0..10 {
        table.gone(&format!("m{n}"));
    }
    assert!(table.world().brake.is_some());
    table.wait(600_000);
    assert_eq!(units.iter().map(|(unit, _)| table.on(unit)).collect::<Vec<_>>(), before);
    for n in 0..10 {
        table.back(&format!("m{n}"));
    }
    assert!(table.world().brake.is_none());
    assert_eq!(units.iter().map(|(unit, _)| table.on(unit)).collect::<Vec<_>>(), before);
}

#[test]
fn the_brake_is_released_by_a_person() {
    let mut table = Table::new(6, &[("a.service", ""), ("b.service", ""), ("c.service", "")]);
    table.wait(100_000);
    for n in 0..3 {
        table.gone(&format!("m{n}"));
    }
    table.wait(100_000);
    assert_eq!(table.orders("a.service").len(), 1);
    table.write::<()>(&Key::Brake, None);
    table.settle();
    assert_eq!(table.orders("a.service").len(), 2);
}

#[test]
fn a_drained_machine_keeps_what_cannot_move_until_its_group_can_spare_it() {
    let conflicts = "Conflicts=web@*.service";
    let mut table = Table::new(
        2,
        &[("web@1.service", conflicts), ("web@2.service", conflicts), ("web@3.service", conflicts)],
    );
    let first = table.on("web@1.service").expect("it has a machine");
    let second = table.on("web@2.service").expect("it has a machine");
    assert_eq!(table.on("web@3.service"), None);
    table.answer("web@1.service", "active", false);
    table.answer("web@2.service", "active", false);
    let cordon = |phase| Cordon { by: String::new(), reason: "update".into(), since: 1000, phase };
    let phase = |table: &Table, machine: &str| {
        table.world().machines[machine].cordon.as_ref().map(|cordon| cordon.phase)
    };

    // The one that waits for a machine is no reason to wait.
    table.write(&Key::Cordon(first.clone()), Some(&cordon(CordonPhase::Moving)));
    table.settle();
    assert_eq!(phase(&table, &first), Some(CordonPhase::Stopping));
    table.answer("web@1.service", "inactive", false);

    // It is back, and its unit not yet: the other machine waits with its own.
    table.write::<Cordon>(&Key::Cordon(first.clone()), None);
    table.write(&Key::Cordon(second.clone()), Some(&cordon(CordonPhase::Moving)));
    table.settle();
    assert_eq!(phase(&table, &second), Some(CordonPhase::Moving));
    table.answer("web@1.service", "active", false);
    assert_eq!(phase(&table, &second), Some(CordonPhase::Stopping));

    // Not for ever.
    table.write(&Key::Cordon(second.clone()), Some(&cordon(CordonPhase::Moving)));
    table.answer("web@1.service", "failed", false);
    assert_eq!(phase(&table, &second), Some(CordonPhase::Moving));
    table.wait(300_000);
    assert_eq!(phase(&table, &second), Some(CordonPhase::Stopping));
}

#[test]
fn what_fails_is_tried_elsewhere_ever_more_seldom() {
    let mut table = Table::new(2, &[("a.service", "")]);
    table.answer("a.service", "failed", false);
    assert_eq!(table.on("a.service").as_deref(), Some("m0"));
    assert_eq!(table.world().failures["a.service"].count, 1);
    table.wait(29_000);
    assert_eq!(table.on("a.service").as_deref(), Some("m0"));
    table.wait(2_000);
    table.answer("a.service", "inactive", true);
    assert_eq!(table.on("a.service").as_deref(), Some("m1"));
    table.answer("a.service", "failed", false);
    assert_eq!(table.world().failures["a.service"].count, 2);
    table.wait(31_000);
    assert_eq!(table.on("a.service").as_deref(), Some("m1"), "twice the pause");
    table.wait(30_000);
    assert_eq!(table.orders("a.service"), [("m1".to_string(), OrderKind::Release)]);
}

#[test]
fn five_thousand_units_of_one_thousand_machines_are_spread_evenly() {
    let mut table = Table::new(0, &[]);
    for n in 0..1000 {
        table.write(&Key::Info(format!("m{n:04}")), Some(&MachineInfo::default()));
    }
    for n in 0..5000 {
        table.unit(&format!("u{n}.service"), "Conflicts=x*.service", Desired::Launched, 1);
    }
    table.settle();
    let world = table.world();
    let counts: Vec<usize> = world.machines.values().map(|host| host.orders.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 5000);
    assert!(counts.iter().all(|&count| (4..=6).contains(&count)), "{counts:?}");
}
