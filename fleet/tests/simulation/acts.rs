//! What people do, and what fate does.

use fleet::model::{Cordon, CordonPhase, Desired, Key, UnitRecord, digest};
use fleet::unit::UnitFile;

use super::{Event, Story};

/// What units ask for.
const SECTIONS: [&str; 12] = [
    "",
    "",
    "Conflicts=web@*.service\n",
    "Conflicts=web@*.service\n",
    "MachineMetadata=rack=a\n",
    "MachineMetadata=\"rack=a\" \"rack=b\"\nConflicts=u1*\n",
    "Global=true\n",
    "OnPartition=stop-after=30s\n",
    "UpdateMaxParallel=1\nAutoRevert=yes\n",
    "Spread=rack\n",
    "Conflicts=db*\n",
    "Replaces=u2*\n",
];

impl Story {
    pub(super) fn act(&mut self) {
        if self.calm || !self.store.up {
            return;
        }
        let choice = self.random.range(0, 10);
        if choice < 5 && self.submitted < self.scale.units {
            self.submit();
            return;
        }
        let Some(name) = self.random.pick(&self.names.clone()).cloned() else { return };
        let Some(record) = self.record(&name) else { return };
        match choice {
            0..=2 => {
                let desired = [Desired::Launched, Desired::Loaded, Desired::Inactive]
                    [self.random.range(0, 3) as usize];
                self.say(|| format!("{name} should be {desired}"));
                self.put_unit(&name, &UnitRecord { desired, ..record });
            }
            3..=5 => {
                self.say(|| format!("{name} should be launched"));
                self.put_unit(&name, &UnitRecord { desired: Desired::Launched, ..record });
            }
            6 | 7 => self.replace(&name, &record),
            8 => {
                self.say(|| format!("{name} is destroyed"));
                self.store.delete(&Key::Unit(name));
            }
            _ => self.cordon(),
        }
    }

    fn record(&self, name: &str) -> Option<UnitRecord> {
        let entry = self.store.get(&Key::Unit(name.to_string()))?;
        serde_json::from_slice(&entry.value).ok()
    }

    fn put_unit(&mut self, name: &str, record: &UnitRecord) {
        self.store.put(
            &Key::Unit(name.to_string()),
            serde_json::to_vec(record).expect("JSON"),
            None,
        );
    }

    fn submit(&mut self) {
        self.submitted += 1;
        let number = self.submitted;
        let section = SECTIONS[self.random.range(0, SECTIONS.len() as u64) as usize].to_string();
        let (name, section) = match self.random.range(0, 4) {
            0 => (format!("web@{number}.service"), "Conflicts=web@*.service\n".to_string()),
            1 if !self.names.is_empty() => {
                let peer = self.random.pick(&self.names.clone()).cloned().unwrap_or_default();
                (format!("side{number}.service"), format!("MachineOf={peer}\n"))
            }
            2 => (format!("db{number}.service"), section),
            _ => (format!("u{number}.service"), section),
        };
        let broken = self.random.percent(5);
        self.write(&name, &section, 1, Desired::Launched, broken, None);
        self.say(|| format!("{name} is submitted: {}", section.replace('\n', " ")));
        self.names.push(name);
    }

    fn replace(&mut self, name: &str, record: &UnitRecord) {
        let section: String =
            record.x_fleet.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let broken = self.random.percent(20) && !self.calm;
        self.say(|| format!("{name} gets a new version, broken: {broken}"));
        self.write(name, &section, record.version + 1, record.desired, broken, Some(record));
    }

    fn write(
        &mut self,
        name: &str,
        section: &str,
        version: u64,
        desired: Desired,
        broken: bool,
        old: Option<&UnitRecord>,
    ) {
        let mark = if broken { "broken" } else { "sound" };
        let text =
            format!("[Service]\nExecStart=/bin/{mark} {name} {version}\n[X-Fleet]\n{section}");
        let file = UnitFile::parse(text.as_bytes()).expect("a unit file");
        let digest = digest(&text);
        let x_fleet = file.section("X-Fleet").map(|o| (o.name.clone(), o.value.clone())).collect();
        let previous = old.map(|old| fleet::model::Previous {
            body: old.body.clone(),
            x_fleet: old.x_fleet.clone(),
        });
        self.store.put(&Key::Body(digest.clone()), text.into_bytes(), None);
        self.put_unit(name, &UnitRecord { body: digest, desired, version, x_fleet, previous });
    }

    /// Whether what is loaded there never works.
    pub(super) fn is_broken(&self, m: usize, unit: &str) -> bool {
        self.machines[m].files.get(unit).is_some_and(|text| text.contains("/bin/broken"))
    }

    fn cordon(&mut self) {
        let m = self.random.range(0, self.machines.len() as u64) as usize;
        let key = Key::Cordon(self.machines[m].id.clone());
        match self.store.get(&key) {
            Some(_) => self.store.delete(&key),
            None => self.put_cordon(m, CordonPhase::Closed),
        }
    }

    fn put_cordon(&mut self, m: usize, phase: CordonPhase) {
        let key = Key::Cordon(self.machines[m].id.clone());
        let since = (1_700_000_000_000 + self.now) / 1000;
        let cordon = Cordon { by: "story".into(), reason: "reboot".into(), since, phase };
        self.store.put(&key, serde_json::to_vec(&cordon).expect("JSON"), None);
    }

    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let m = self.random.range(0, self.machines.len() as u64) as usize;
        match self.random.range(0, 10) {
            0 | 1 => {
                self.say(|| format!("the agent of {m} is killed"));
                self.machines[m].kill_agent();
                self.soon(500, 40_000, Event::StartAgent(m));
            }
            2 | 3 => {
                let disk = self.random.percent(20);
                self.say(|| format!("{m} loses power, its disk too: {disk}"));
                self.machines[m].power_off();
                if disk {
                    self.machines[m].memory = fleet::agent::Memory::default();
                    self.machines[m].texts.clear();
                }
                self.soon(5_000, 400_000, Event::PowerOn(m));
            }
            4..=6 => {
                self.say(|| format!("{m} is cut off"));
                self.machines[m].linked = false;
                self.soon(1_000, 300_000, Event::Link(m));
            }
            7 | 8 if self.store.up => {
                let paused = self.random.percent(50);
                self.say(|| format!("the store is gone, paused: {paused}"));
                self.store.up = false;
                self.soon(500, 90_000, Event::StoreUp(paused));
            }
            _ => {
                let machine = &self.machines[m];
                let running: Vec<String> = machine
                    .running()
                    .into_iter()
                    .filter(|unit| !machine.busy.contains(*unit))
                    .map(str::to_string)
                    .collect();
                if let Some(unit) = self.random.pick(&running).cloned() {
                    let restarts = self.random.percent(70);
                    self.say(|| format!("{unit} crashes on {m}, restarts: {restarts}"));
                    self.crash_unit(m, &unit, restarts);
                }
            }
        }
    }

    pub(super) fn power_on(&mut self, m: usize) {
        if !self.machines[m].powered {
            self.say(|| format!("{m} boots"));
            self.machines[m].powered = true;
            self.soon(1_000, 20_000, Event::StartAgent(m));
        }
    }

    /// The reboot lock: at most `slots` holders, kept over the reboot.
    fn holders(&self) -> Vec<String> {
        self.store
            .get(&Key::Event("lock".into()))
            .and_then(|entry| serde_json::from_slice(&entry.value).ok())
            .unwrap_or_default()
    }

    fn hold(&mut self, holders: &[String]) {
        self.store.put(
            &Key::Event("lock".into()),
            serde_json::to_vec(holders).expect("JSON"),
            None,
        );
    }

    pub(super) fn ask_reboot(&mut self, m: usize) {
        let mut holders = self.holders();
        let id = self.machines[m].id.clone();
        if holders.contains(&id) {
            return;
        }
        if self.calm {
            return;
        }
        if !self.reaches(m) || self.machines[m].agent.is_none() || holders.len() >= self.slots {
            self.soon(2_000, 10_000, Event::AskReboot(m));
            return;
        }
        holders.push(id);
        self.hold(&holders);
        self.say(|| format!("{m} holds the lock and is drained"));
        self.put_cordon(m, CordonPhase::Moving);
        let since = self.now;
        self.at(1_000, Event::Drained(m, since));
    }

    pub(super) fn drained(&mut self, m: usize, since: u64) -> Result<(), String> {
        if !self.machines[m].powered {
            // It went down by itself; what it holds it gives back when it is up again.
            self.at(5_000, Event::Rebooted(m));
            return Ok(());
        }
        let key = Key::Cordon(self.machines[m].id.clone());
        let stopping = self.store.get(&key).is_none_or(|entry| {
            serde_json::from_slice::<Cordon>(&entry.value)
                .is_ok_and(|c| c.phase == CordonPhase::Stopping)
        });
        let quiet = stopping && self.machines[m].running().is_empty();
        if !quiet && self.now < since + 480_000 {
            self.at(1_000, Event::Drained(m, since));
            return Ok(());
        }
        self.say(|| format!("{m} reboots, drained: {quiet}"));
        self.machines[m].power_off();
        self.machines[m].rebooting = true;
        let rebooting = self.machines.iter().filter(|machine| machine.rebooting).count();
        if rebooting > self.slots {
            return Err(format!(
                "{rebooting} machines reboot together, allowed are {}",
                self.slots
            ));
        }
        self.soon(20_000, 90_000, Event::PowerOn(m));
        self.at(30_000, Event::Rebooted(m));
        Ok(())
    }

    pub(super) fn rebooted(&mut self, m: usize) {
        if self.machines[m].lease.is_none() || !self.reaches(m) {
            self.at(2_000, Event::Rebooted(m));
            return;
        }
        self.machines[m].rebooting = false;
        self.store.delete(&Key::Cordon(self.machines[m].id.clone()));
        let id = self.machines[m].id.clone();
        let holders: Vec<String> =
            self.holders().into_iter().filter(|holder| *holder != id).collect();
        self.hold(&holders);
        self.say(|| format!("{m} gives the lock back"));
    }

    /// From here on nothing happens any more; everything is mended.
    pub(super) fn calm_down(&mut self) {
        self.say(|| "calm".to_string());
        self.calm = true;
        if !self.store.up {
            self.store_up(false);
        }
        for m in 0..self.machines.len() {
            if !self.machines[m].linked {
                self.link(m);
            }
            if !self.machines[m].powered {
                self.power_on(m);
            } else if self.machines[m].agent.is_none() {
                self.soon(100, 1_000, Event::StartAgent(m));
            }
            let id = self.machines[m].id.clone();
            if !self.holders().contains(&id) {
                self.store.delete(&Key::Cordon(id));
            }
        }
    }
}
