//! Orders and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agent, Effect, Input, Memory, Status, Task};
use crate::model::{Order, OrderKind, digest};

fn order(ticket: u64, text: &str, kind: OrderKind) -> Order {
    Order { ticket, body: digest(text), version: ticket, kind, since: 0, why: String::new() }
}

fn status(active: &str) -> Status {
    Status { load: "loaded".into(), active: active.into(), sub: String::new() }
}

/// An agent with a systemd that does at once what it is asked for.
struct Table {
    agent: Agent,
    texts: Vec<String>,
    now: u64,
    asked: Vec<String>,
    refuses: Option<&'static str>,
    running: BTreeSet<String>,
}

impl Table {
    fn new(memory: Memory, texts: &[&str]) -> Table {
        let mut agent = Agent::new("m", memory, 0);
        agent.input(0, Input::Surveyed);
        Table {
            agent,
            texts: texts.iter().map(ToString::to_string).collect(),
            now: 0,
            asked: Vec::new(),
            refuses: None,
            running: BTreeSet::new(),
        }
    }

    fn registered(mut self) -> Table {
        self.agent.input(
            0,
            Input::Orders {
                orders: BTreeMap::new(),
                globals: BTreeMap::new(),
                metadata: BTreeMap::new(),
                cordon: None,
            },
        );
        self.agent.input(0, Input::Registered);
        self.agent.input(0, Input::Lease { live: true, sent: 0 });
        self
    }

    fn order(&mut self, unit: &str, order: Option<Order>) -> Vec<String> {
        self.agent.input(self.now, Input::Order(unit.into(), order));
        self.run()
    }

    /// Lets things happen until nothing more does; what systemd was asked for.
    fn run(&mut self) -> Vec<String> {
        self.asked.clear();
        loop {
            let effects = self.agent.react(self.now);
            if effects.is_empty() {
                self.now += 300;
                if self.agent.react(self.now).is_empty() {
                    return self.asked.clone();
                }
                continue;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let now = self.now;
        let mut done = |agent: &mut Agent, name: String, task: Task, active: Option<&str>| {
            let word = format!("{task:?}").to_lowercase();
            self.asked.push(format!("{word} {name}"));
            if self.refuses == Some(word.as_str()) {
                agent.input(now, Input::Done { name, task, result: Err("refused".into()) });
                return;
            }
            if let Some(active) = active {
                agent.input(now, Input::Status(name.clone(), status(active)));
            }
            agent.input(now, Input::Done { name, task, result: Ok(()) });
        };
        match effect {
            Effect::Fetch(wanted) => {
                let text = self.texts.iter().find(|text| digest(text) == wanted).cloned();
                self.agent.input(now, Input::Body { digest: wanted, text });
            }
            Effect::Load(units) => {
                for (name, _) in units {
                    // What runs goes on running while its file changes.
                    let runs = self.running.contains(&name);
                    done(
                        &mut self.agent,
                        name,
                        Task::Load,
                        Some(if runs { "active" } else { "inactive" }),
                    );
                }
            }
            Effect::Unload(units) => {
                for name in units {
                    done(&mut self.agent, name, Task::Unload, None);
                }
            }
            Effect::Start(name) => {
                self.running.insert(name.clone());
                done(&mut self.agent, name, Task::Start, Some("active"));
            }
            Effect::Stop(name) => {
                self.running.remove(&name);
                done(&mut self.agent, name, Task::Stop, Some("inactive"));
            }
            Effect::PutState(name, state) if state.released => {
                self.asked.push(format!("released {name}"));
            }
            _ => {}
        }
    }
}

const ONE: &str = "[Service]\nExecStart=/one\n";
const TWO: &str = "[Service]\nExecStart=/two\n";
const COMMENTED: &str = "# new\n[Service]\nExecStart=/one\n[X-Fleet]\nConflicts=x\n";

#[test]
fn from_order_to_release() {
    let mut table = Table::new(Memory::default(), &[ONE, TWO, COMMENTED]).registered();
    assert_eq!(table.order("a.service", Some(order(1, ONE, OrderKind::Load))), ["load a.service"]);
    assert_eq!(
        table.order("a.service", Some(order(2, ONE, OrderKind::Launch))),
        ["start a.service"]
    );
    assert!(
        table.order("a.service", Some(order(3, ONE, OrderKind::Launch))).is_empty(),
        "it runs already"
    );
    assert_eq!(
        table.order("a.service", Some(order(4, COMMENTED, OrderKind::Launch))),
        ["load a.service"]
    );
    assert_eq!(
        table.order("a.service", Some(order(5, TWO, OrderKind::Launch))),
        ["stop a.service", "load a.service", "start a.service"]
    );
    assert!(
        table.order("a.service", Some(order(5, TWO, OrderKind::Superseded))).is_empty(),
        "it keeps running"
    );
    assert_eq!(
        table.order("a.service", Some(order(5, TWO, OrderKind::Release))),
        ["stop a.service", "unload a.service", "released a.service"]
    );
    assert!(table.order("a.service", None).is_empty());
}

#[test]
fn one_bad_unit_holds_up_no_other() {
    let mut table = Table::new(Memory::default(), &[ONE, TWO]).registered();
    table.refuses = Some("start");
    assert_eq!(
        table.order("bad.service", Some(order(1, ONE, OrderKind::Launch))),
        ["load bad.service", "start bad.service"]
    );
    table.refuses = None;
    assert_eq!(
        table.order("good.service", Some(order(2, TWO, OrderKind::Launch))),
        ["load good.service", "start good.service"]
    );
    // Only a new order tries again.
    table.now += 1_000_000;
    assert!(table.run().is_empty());
    assert_eq!(
        table.order("bad.service", Some(order(3, ONE, OrderKind::Launch))),
        ["start bad.service"]
    );
}

#[test]
fn without_etcd_the_last_orders_hold() {
    let exclusive = "[Service]\nExecStart=/x\n[X-Fleet]\nConflicts=x*\n";
    let mut memory = Memory { boot_id: "1".into(), ..Memory::default() };
    memory.orders.insert("a.service".into(), order(1, ONE, OrderKind::Launch));
    memory.orders.insert("x.service".into(), order(2, exclusive, OrderKind::Launch));
    memory.started.insert("a.service".into(), 1);
    let mut table = Table::new(memory.clone().in_boot("2"), &[ONE, exclusive]);
    assert!(table.run().is_empty(), "etcd may answer in a moment");
    table.now = 15_000;
    let asked = table.run();
    assert!(asked.contains(&"start a.service".to_string()), "{asked:?}");
    assert!(
        !asked.contains(&"start x.service".to_string()),
        "a second copy must not run: {asked:?}"
    );
    // In the same boot what was started is not started again.
    let mut table = Table::new(memory.in_boot("1"), &[ONE, exclusive]);
    table.now = 15_000;
    assert!(!table.run().contains(&"start a.service".to_string()));
}

#[test]
fn a_cut_off_machine_stops_what_asked_for_it() {
    let careful = "[Service]\nExecStart=/c\n[X-Fleet]\nOnPartition=stop-after=30s\n";
    let mut table = Table::new(Memory::default(), &[ONE, careful]).registered();
    table.order("a.service", Some(order(1, ONE, OrderKind::Launch)));
    table.order("c.service", Some(order(2, careful, OrderKind::Launch)));
    table.agent.input(table.now, Input::Lease { live: false, sent: 0 });
    table.now = 29_000;
    assert!(table.run().is_empty());
    table.now = 30_000;
    assert_eq!(table.run(), ["stop c.service"]);
    let now = table.now;
    table.agent.input(now, Input::Lease { live: true, sent: now });
    assert_eq!(table.run(), ["start c.service"]);
}
