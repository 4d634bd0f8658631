//! A node: its state, its config, and the system that runs on them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use super::console;
use super::network::Network;
use crate::child::{self, Child};
use crate::deadline::Deadline;
use crate::error::{Error, Result};

/// From nothing to a system at rest, on a busy host.
const BOOT: Duration = Duration::from_secs(180);
/// For a killed system to be gone.
const END: Duration = Duration::from_secs(30);
/// For a script, also while the host is busy.
const COMMAND: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);

/// Mounts the tree and provisions it, as the initrd does on a machine, and
/// becomes systemd-nspawn. `/run` of the tree is handed over as bind mounts,
/// because nspawn makes a `/run` of its own. The program that provisions is
/// also the system's own, whatever the image has.
const BOOT_SCRIPT: &str = r#"
mkdir -p "$folder/root" "$folder/tree" "$folder/state/upper" "$folder/state/work"
mount -t erofs -o loop,ro "$image" "$folder/root"
mount -t overlay overlay -o "lowerdir=$folder/root,upperdir=$folder/state/upper,workdir=$folder/state/work" "$folder/tree"
echo "$name" >"$folder/tree/etc/hostname"
rm -rf "$folder/run" "$folder/tree/run/systemd" "$folder/tree/run/metadata"
# What was built since the image was: trying a change takes no new image.
for program in bin/fleetd lib/coreos/cluster lib/coreos/coreos-init; do
    built="$(dirname "$provision")/${program##*/}"
    if [ "$built" -nt "$image" ] && [ ! -L "$folder/tree/usr/$program" ]; then
        cp "$built" "$folder/tree/usr/$program"
    fi
done
"$provision" apply --root "$folder/tree" --from-file "$folder/user-data" >"$folder/apply.log" 2>&1
mkdir -p "$folder/run/systemd/system" "$folder/run/systemd/network" "$folder/run/metadata"
cp -a "$folder/tree/run/." "$folder/run/"
printf '[Match]\nName=host0\n[Network]\nAddress=%s/24\n' "$COREOS_PRIVATE_IPV4" >"$folder/run/systemd/network/10-host0.network"
echo $$ >"$cgroup/cgroup.procs"
exec systemd-nspawn --quiet --boot --register=no --keep-unit --capability=all \
    --system-call-filter='add_key keyctl bpf' --network-bridge="$bridge" --uuid="$uuid" \
    --bind="$folder/run/systemd/system:/run/systemd/system" \
    --bind="$folder/run/systemd/network:/run/systemd/network" \
    --bind="$folder/run/metadata:/run/metadata" \
    --machine="$name" --directory="$folder/tree"
"#;

/// What a node is made of.
#[derive(Debug)]
pub struct Specification<'a> {
    /// Its name, at most 12 characters for the sake of its interface's name.
    pub name: &'a str,
    /// Its number in its network.
    pub number: u8,
    /// The folder for everything of it.
    pub folder: PathBuf,
    /// The image's root, an EROFS file.
    pub image: PathBuf,
    /// The program that provisions.
    pub provision: PathBuf,
    /// Its cloud-config.
    pub user_data: &'a str,
}

/// A node, on or off. Dropped, it is gone at once.
#[derive(Debug)]
pub struct Node {
    network: Arc<Network>,
    name: String,
    address: Ipv4Addr,
    folder: PathBuf,
    image: PathBuf,
    provision: PathBuf,
    /// Counts the disks that it has had: each makes another machine id.
    disk: u32,
    number: u8,
    running: Option<Child>,
    cgroup: Option<Cgroup>,
}

impl Node {
    /// A node that is off, with an empty disk.
    pub fn new(network: &Arc<Network>, specification: &Specification<'_>) -> Result<Self> {
        let Specification { name, number, folder, image, provision, user_data } = specification;
        // What an earlier run left.
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let node = Self {
            network: Arc::clone(network),
            name: (*name).to_owned(),
            address: network.address(*number),
            folder: folder.clone(),
            image: image.clone(),
            provision: provision.clone(),
            disk: 0,
            number: *number,
            running: None,
            cgroup: None,
        };
        node.configure(user_data)?;
        Ok(node)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Gives it another cloud-config, for the next time that it is switched on.
    pub fn configure(&self, user_data: &str) -> Result<()> {
        let path = self.folder.join("user-data");
        fs::write(&path, user_data).map_err(Error::file("write", &path))
    }

    /// Switches it on, and does not wait.
    pub fn power_on(&mut self) -> Result<()> {
        let terminal = console::terminal(&self.log())?;
        let duplicate = || terminal.try_clone().map_err(Error::file("open", self.log()));
        let cgroup = Cgroup::new(&self.name)?;
        let mut command = self.network.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", BOOT_SCRIPT]);
        command
            .env("folder", &self.folder)
            .env("image", &self.image)
            .env("provision", &self.provision)
            .env("cgroup", cgroup.path())
            .env("name", &self.name)
            .env("bridge", self.network.bridge())
            .env("uuid", format!("{:04x}{:04x}-0000-4000-8000-{:012x}", self.number, self.disk, 1))
            .env("COREOS_PRIVATE_IPV4", self.address.to_string())
            .env("COREOS_PUBLIC_IPV4", self.address.to_string())
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        command.stdin(duplicate()?).stdout(duplicate()?).stderr(terminal);
        self.running = Some(Child::start(command)?);
        self.cgroup = Some(cgroup);
        Ok(())
    }

    /// Waits until the system is at rest, then does what its config has for
    /// units: `command: start` and the like, as `coreos-init.service` does on a
    /// machine. Does not wait for those.
    pub fn booted(&mut self) -> Result<()> {
        let deadline = Deadline::after(BOOT);
        loop {
            let state = self.run("systemctl is-system-running").ok();
            let state = state.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            if state.is_some_and(|state| matches!(state.trim(), "running" | "degraded")) {
                break;
            }
            let ended = self.running.as_mut().is_none_or(|running| running.ended().is_some());
            let what = format!("{}'s system runs", self.name);
            if ended {
                return Err(Error::Stopped { what, console: self.told() });
            }
            if !deadline.pause(POLL) {
                return Err(Error::TimedOut { what, limit: BOOT, console: self.told() });
            }
        }
        let applied = fs::read_to_string(self.folder.join("apply.log")).unwrap_or_default();
        for job in applied.lines().filter_map(|line| line.strip_prefix("on the machine: ")) {
            self.read(&format!("systemctl --no-block {job}"))?;
        }
        Ok(())
    }

    /// Runs a shell script in it and returns what it printed, whatever its
    /// status.
    pub fn run(&self, script: &str) -> Result<Output> {
        self.run_within(script, COMMAND)
    }

    /// The same with another limit.
    pub fn run_within(&self, script: &str, limit: Duration) -> Result<Output> {
        let Some(leader) = self.leader() else {
            let what = format!("`{script}` ran");
            return Err(Error::Stopped { what, console: self.told() });
        };
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader.to_string(), "--all", "--", "sh", "-c", script]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/usr/sbin");
        child::output(command, limit)
    }

    /// What a script prints; another status than 0 is an error.
    pub fn read(&self, script: &str) -> Result<String> {
        child::printed(script, &self.run(script)?)
    }

    /// Cuts it off the network.
    pub fn unplug(&self) -> Result<()> {
        self.network.plug(&self.name, false)
    }

    /// Puts it back.
    pub fn plug(&self) -> Result<()> {
        self.network.plug(&self.name, true)
    }

    /// Ends it as a power cut does.
    pub fn power_cut(&mut self) {
        if let Some(leader) = self.leader() {
            // It may just have ended by itself.
            let _ = kill(leader, Signal::SIGKILL);
        }
        if let Some(mut running) = self.running.take() {
            // nspawn ends when its system does, and takes the interface along.
            let _ = running.wait(Deadline::after(END));
        }
        self.cgroup = None;
    }

    /// Lets its system shut down, and waits until it has.
    pub fn shut_down(&mut self) -> Result<()> {
        self.run("systemctl --no-block poweroff")?;
        let limit = BOOT;
        if let Some(mut running) = self.running.take()
            && running.wait(Deadline::after(limit)).is_none()
        {
            let what = format!("{}'s system shuts down", self.name);
            return Err(Error::TimedOut { what, limit, console: self.told() });
        }
        self.cgroup = None;
        Ok(())
    }

    /// What a node that is off has written to a file; none if it has no such file of its own.
    pub fn written(&self, path: &str) -> Option<String> {
        let path = self.folder.join("state/upper").join(path.trim_start_matches('/'));
        fs::read_to_string(path).ok()
    }

    /// Ends it, and everything that it has ever written.
    pub fn lose_disk(&mut self) -> Result<()> {
        self.power_cut();
        self.disk += 1;
        let state = self.folder.join("state");
        fs::remove_dir_all(&state).map_err(Error::file("remove", state))
    }

    /// The last of its console.
    pub fn told(&self) -> String {
        let console = fs::read(self.log()).unwrap_or_default();
        child::tail_of(&console)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// The first process of its system: nspawn's only child.
    fn leader(&self) -> Option<Pid> {
        let id = self.running.as_ref()?.id();
        let comm = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        let child = children.split_whitespace().next()?.parse().ok()?;
        let child = Pid::from_raw(child);
        // Before it is systemd it is in our namespaces, where scripts must not run.
        let own = |of: &str| fs::read_link(Path::new("/proc").join(of).join("ns/pid")).ok();
        let apart = own(&child.to_string()) != own("self");
        (comm.trim() == "systemd-nspawn" && apart).then_some(child)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.power_cut();
        // What is told of it stays; what it wrote is large.
        let _ = fs::remove_dir_all(self.folder.join("state"));
    }
}
