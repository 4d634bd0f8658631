//! A system among several, whatever it runs on: a node at native speed, or a machine in QEMU.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use qemu_tests::child;
use qemu_tests::machine::COMMAND;
use qemu_tests::node::{Network, Node};
use qemu_tests::{Error, Hardware, Machine, Result};

use crate::lab::{BOOT, SETTLE};

/// What scenarios with several systems do to one.
pub(crate) trait System {
    /// How many times as long as on a node everything may take.
    const PATIENCE: u32;

    /// Whether scripts reach it when it is cut off the network.
    const BACK_DOOR: bool;

    fn name(&self) -> &str;

    fn address(&self) -> Ipv4Addr;

    /// Runs a shell script in it, as root, and returns what it printed, whatever its status.
    fn run(&self, script: &str) -> Result<Output>;

    /// Cuts it off the network.
    fn unplug(&self) -> Result<()>;

    /// Puts it back.
    fn plug(&self) -> Result<()>;

    /// Switches it on, and does not wait.
    fn power_on(&mut self) -> Result<()>;

    /// Waits until its system is at rest, and does what its config asks for at that time.
    fn booted(&mut self) -> Result<()>;

    /// Ends it as a power cut does.
    fn power_cut(&mut self);

    /// Ends it, and everything that it has ever written.
    fn lose_disk(&mut self) -> Result<()>;

    /// What a script prints; another status than 0 is an error.
    fn read(&self, script: &str) -> Result<String> {
        child::printed(script, &self.run(script)?)
    }
}

impl System for Node {
    const PATIENCE: u32 = 1;
    const BACK_DOOR: bool = true;

    fn name(&self) -> &str {
        self.name()
    }

    fn address(&self) -> Ipv4Addr {
        self.address()
    }

    fn run(&self, script: &str) -> Result<Output> {
        self.run(script)
    }

    fn unplug(&self) -> Result<()> {
        self.unplug()
    }

    fn plug(&self) -> Result<()> {
        self.plug()
    }

    fn power_on(&mut self) -> Result<()> {
        self.power_on()
    }

    fn booted(&mut self) -> Result<()> {
        self.booted()
    }

    fn power_cut(&mut self) {
        self.power_cut();
    }

    fn lose_disk(&mut self) -> Result<()> {
        self.lose_disk()
    }
}

/// A machine in QEMU that is wired to a network of nodes.
pub(crate) struct Wired {
    name: String,
    address: Ipv4Addr,
    network: Arc<Network>,
    image: PathBuf,
    power: Power,
}

enum Power {
    On(Box<Machine>),
    Off(Box<Hardware>),
    /// While it is switched.
    Between,
}

impl Wired {
    /// Number `number` of `network`, off; `image` is what its disk has.
    pub(crate) fn new(
        network: &Arc<Network>,
        name: &str,
        number: u8,
        image: PathBuf,
        hardware: Hardware,
    ) -> Result<Self> {
        let hardware = hardware.wired(network, name, number)?;
        Ok(Self {
            name: name.to_owned(),
            address: network.address(number),
            network: Arc::clone(network),
            image,
            power: Power::Off(Box::new(hardware)),
        })
    }

    fn machine(&self) -> Result<&Machine> {
        match &self.power {
            Power::On(machine) => Ok(machine),
            _ => {
                Err(Error::Stopped { what: format!("{} runs", self.name), console: String::new() })
            }
        }
    }
}

impl System for Wired {
    /// Three emulated machines share the host's processors.
    const PATIENCE: u32 = 6;
    const BACK_DOOR: bool = false;

    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn run(&self, script: &str) -> Result<Output> {
        let quoted = script.replace('\'', r"'\''");
        let (machine, command) = (self.machine()?, format!("sudo sh -c '{quoted}'"));
        let output = machine.run(&command, COMMAND * 2)?;
        // The client's own failure: the machine was away since somebody logged in.
        if output.status.code() != Some(255) {
            return Ok(output);
        }
        machine.log_in(BOOT)?;
        machine.run(&command, COMMAND * 2)
    }

    fn unplug(&self) -> Result<()> {
        self.network.plug(&self.name, false)
    }

    fn plug(&self) -> Result<()> {
        self.network.plug(&self.name, true)
    }

    fn power_on(&mut self) -> Result<()> {
        if let Power::Off(hardware) = std::mem::replace(&mut self.power, Power::Between) {
            self.power = Power::On(Box::new(hardware.boot(None)?));
        }
        Ok(())
    }

    fn booted(&mut self) -> Result<()> {
        let machine = self.machine()?;
        machine.log_in(BOOT * 2)?;
        let wait = "systemctl is-system-running --wait";
        machine.run(wait, SETTLE + Duration::from_secs(300)).map(drop)
    }

    fn power_cut(&mut self) {
        if let Power::On(machine) = std::mem::replace(&mut self.power, Power::Between) {
            self.power = Power::Off(Box::new(machine.power_cut()));
        }
    }

    fn lose_disk(&mut self) -> Result<()> {
        self.power_cut();
        match &mut self.power {
            Power::Off(hardware) => hardware.replace_disk(&self.image),
            _ => Ok(()),
        }
    }
}
