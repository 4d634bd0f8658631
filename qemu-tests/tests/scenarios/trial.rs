//! A config for a while: applied to a running system, and taken back by time,
//! by a unit that fails, by a killed service, by a shutdown, by a power cut; or
//! confirmed.
//!
//! On a node: the system is the image's, with its systemd.

use std::sync::Arc;
use std::time::Duration;

use qemu_tests::node::{Network, Node, Specification};
use qemu_tests::{Deadline, Error, Result};

use crate::checks::{Checks, Outcome, told};
use crate::lab::Lab;

/// For a trial to be over, on a busy host.
const OVER: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);

/// What the node is configured by. `old.service` runs because of its `command`
/// alone.
const BEFORE: &str = "#cloud-config
hostname: before
write_files:
  - path: /etc/both
    content: before
  - path: /etc/old/file
    content: old
coreos:
  fleet:
    verbosity: 1
  units:
    - name: both.service
      enable: true
      content: |
        [Service]
        ExecStart=/usr/bin/sleep 1000001
        [Install]
        WantedBy=multi-user.target
    - name: old.service
      command: start
      content: |
        [Service]
        ExecStart=/usr/bin/sleep 1000002
    - name: same.service
      enable: true
      content: |
        [Service]
        ExecStart=/usr/bin/sleep 1000003
        [Install]
        WantedBy=multi-user.target
";

/// Something new, something changed, something left out, something as before.
const TRIED: &str = "#cloud-config
hostname: tried
users:
  - name: ann
write_files:
  - path: /etc/both
    content: tried
  - path: /etc/new/deep/file
    content: new
  - path: /etc/by-hand
    content: configured
coreos:
  units:
    - name: both.service
      enable: true
      content: |
        [Service]
        ExecStart=/usr/bin/sleep 2000001
        [Install]
        WantedBy=multi-user.target
    - name: new.service
      command: start
      content: |
        [Service]
        ExecStart=/usr/bin/sleep 2000002
    - name: same.service
      enable: true
      content: |
        [Service]
        ExecStart=/usr/bin/sleep 1000003
        [Install]
        WantedBy=multi-user.target
";

/// One whose unit does not start.
const FAILING: &str = "#cloud-config
hostname: failing
coreos:
  units:
    - name: failing.service
      command: start
      content: |
        [Service]
        Type=oneshot
        ExecStart=/usr/bin/false
";

/// One with what nobody is to see.
const SECRET: &str = "#cloud-config
hostname: secret
users:
  - name: ann
    passwd: $1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.
  - name: bob
    plain_text_passwd: hunter2
write_files:
  - path: /etc/app/key
    permissions: '0600'
    content: s3cret
  - path: /etc/app/conf
    permissions: '0640'
    content: url = https://me:hunter2@example.com/?x=tok3n
coreos:
  fleet:
    etcd_password: hunter2
    etcd_username: me
runcmd:
  - curl https://me:hunter2@example.com/?x=tok3n
";

/// The report of `BEFORE`, as far as a trial needs it.
const REPORT: &str = r#"{"items": [{
    "path": "/run/systemd/system/fleet.service.d/20-cloudinit.conf",
    "section": "coreos.fleet",
    "outcome": "written"
}]}"#;

/// All that a trial may have touched: files, units, processes, the name.
const STATE: &str = "cat /etc/hostname /etc/both /etc/by-hand; cat /proc/sys/kernel/hostname
find /etc/old /etc/new /etc/systemd/system /run/systemd/system -mindepth 1 2>&1 | sort
grep -c ann /etc/passwd; coreos-init status
systemctl show -p Id -p ActiveState -p LoadState both old new same failing
ps -eo args= | grep '^/usr/bin/sleep [12]0' | sort";

pub(crate) fn run(lab: &Lab) -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("nodes need root: not run");
        return Ok(());
    }
    let network = Arc::new(Network::new()?);
    let specification = Specification {
        name: "trial",
        number: 1,
        folder: lab.workspace.nodes().join("trial"),
        image: lab.workspace.root_image()?,
        provision: lab.workspace.program("coreos-init")?,
        user_data: BEFORE,
    };
    let mut trial = Trial { node: Node::new(&network, &specification)?, checks: Checks::default() };
    if let Err(error) = trial.all() {
        let journal = trial.node.read("journalctl -o cat -u coreos-init-trial");
        let journal = journal.unwrap_or_default();
        let seen = format!("{}; the service:\n{journal}", told(&error));
        trial.checks.holds("all of it could be done", false, seen);
    }
    trial.checks.finish()
}

/// The node, as the scenario goes through it.
struct Trial {
    node: Node,
    checks: Checks,
}

impl Trial {
    fn all(&mut self) -> Result<()> {
        self.boot()?;
        let before = self.state()?;
        self.refused(&before)?;
        self.not_confirmed(&before)?;
        self.failing(&before)?;
        self.killed(&before)?;
        self.no_service(&before)?;
        self.secrets(&before)?;
        self.shutdown(&before)?;
        self.power_cut(&before)?;
        self.confirmed()
    }

    /// Neither a command nor the journal nor a file that others may read tells what is secret in
    /// what is tried.
    fn secrets(&mut self, before: &str) -> Result<()> {
        let said = self.coreos_init("try secret.yaml --confirm-within 5s")?.1
            + &self.node.read("coreos-init status; coreos-init status --json; cat /run/coreos-init/report.json")?
            + &self.node.read("for one in key conf; do coreos-init explain /etc/app/$one; done")?
            + &self.node.read("coreos-init explain /etc/shadow; coreos-init plan --json --from-file before.yaml || true")?;
        self.checks.holds("what is tried is told", said.contains("/etc/app/key"), &said);
        let files = "find / -xdev -type f -not -perm /o+r -prune -o -type f -readable \\
            -not -path '/proc/*' -newer /root/secret.yaml -perm /o+r \\
            -exec grep -lE 'hunter2|s3cret|tok3n' {} + || true";
        self.checks.equal("files with secrets that others may read", self.node.read(files), "");
        self.is_back("what was secret is gone", before)?;
        let journal = self.node.read("journalctl --no-pager -o cat | cat")?;
        for secret in ["hunter2", "s3cret", "tok3n", "saltsalt"] {
            for (place, text) in [("what is said", &said), ("the journal", &journal)] {
                let line = text.lines().find(|line| line.contains(secret));
                self.checks.holds(place, line.is_none(), line.unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Switches it on. What the initrd tells the running system is told here:
    /// a node has none.
    fn boot(&mut self) -> Result<()> {
        self.node.power_on()?;
        self.node.booted()?;
        self.node.read(&format!(
            "mkdir -p /run/coreos-init && echo '{REPORT}' >/run/coreos-init/report.json"
        ))?;
        for (name, text) in
            [("before", BEFORE), ("tried", TRIED), ("failing", FAILING), ("secret", SECRET)]
        {
            self.node.read(&format!("cat >/root/{name}.yaml <<'EOF'\n{text}EOF"))?;
        }
        self.node.read("echo by hand >/etc/by-hand")?;
        // The last `command: start` may still be under way.
        self.until("old.service runs", "systemctl is-active old.service", "active")
    }

    fn state(&self) -> Result<String> {
        let output = self.node.run(STATE)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `coreos-init` and returns its status and all that it says.
    fn coreos_init(&self, arguments: &str) -> Result<(Option<i32>, String)> {
        let output =
            self.node.run_within(&format!("cd /root && coreos-init {arguments} 2>&1"), OVER)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.code(), said))
    }

    /// It must end with `status` and say `part`.
    fn says(&mut self, arguments: &str, status: i32, part: &str) -> Result<()> {
        let (code, said) = self.coreos_init(arguments)?;
        let so = code == Some(status) && said.contains(part);
        let what = format!("`coreos-init {arguments}` says `{part}` and {status}");
        self.checks.holds(&what, so, format_args!("{code:?}: {said}"));
        Ok(())
    }

    fn until(&self, what: &str, script: &str, want: &str) -> Result<()> {
        let deadline = Deadline::after(OVER);
        loop {
            let output = self.node.run(script)?;
            let seen = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if seen == want {
                return Ok(());
            }
            if !deadline.pause(POLL) {
                let what = format!("{what}; seen: {seen}");
                return Err(Error::TimedOut { what, limit: OVER, console: self.node.told() });
            }
        }
    }

    /// No trial is left, and all is as before.
    fn is_back(&mut self, how: &str, before: &str) -> Result<()> {
        self.until(how, "test -e /var/lib/coreos-init/trial || echo over", "over")?;
        let now = self.state()?;
        self.checks.holds(
            &format!("{how}: all is as before"),
            now == before,
            difference(before, &now),
        );
        Ok(())
    }

    /// What does not begin a trial changes nothing.
    fn refused(&mut self, before: &str) -> Result<()> {
        self.node.read("printf '#cloud-config\\nhostnme: x\\nusers: 3\\n' >/root/bad.yaml")?;
        self.says("try /root/bad.yaml --confirm-within 1m", 1, "bad.yaml:3:8: error: ")?;
        self.says("try /root/none.yaml --confirm-within 1m", 2, "none.yaml")?;
        self.says("try /root/tried.yaml --confirm-within 1s", 2, "from 5 s to 24 h")?;
        self.says("confirm", 1, "no trial is under way")?;
        self.is_back("nothing was tried", before)
    }

    /// Applied at once, and taken back when the time is over.
    fn not_confirmed(&mut self, before: &str) -> Result<()> {
        let same = self.node.read("systemctl show -p MainPID same")?;
        self.says("try tried.yaml --confirm-within 20s", 0, "taken back in 20 s unless")?;
        self.is_tried()?;
        self.says("try tried.yaml --confirm-within 20s", 1, "a trial is under way")?;
        self.says("apply --root / --from-file tried.yaml", 1, "a trial is under way")?;
        self.says("explain /etc/new/deep/file", 0, "tried.yaml:8:11")?;
        self.says("status", 0, "this configuration is on trial")?;
        self.is_back("the time was over", before)?;
        self.says("confirm", 1, "not confirmed in time: the machine is as it was")?;
        // What did not change was not restarted.
        self.checks.equal("the process", self.node.read("systemctl show -p MainPID same"), same);
        Ok(())
    }

    fn is_tried(&mut self) -> Result<()> {
        let read = |script: &str| self.node.read(script);
        self.checks.equal("file", read("cat /etc/both /etc/new/deep/file"), "triednew");
        self.checks.equal("file of somebody", read("cat /etc/by-hand"), "configured");
        self.checks.equal("name", read("cat /proc/sys/kernel/hostname"), "tried");
        self.checks.equal("account", read("id -un ann"), "ann");
        let processes = read("ps -eo args= | grep '^/usr/bin/sleep [12]0' | sort");
        self.checks.equal(
            "processes",
            processes,
            "/usr/bin/sleep 1000003\n/usr/bin/sleep 2000001\n/usr/bin/sleep 2000002",
        );
        let gone =
            read("ls /run/systemd/system/fleet.service.d/*.conf /etc/old/file 2>&1 || true")?;
        let gone = gone.matches("No such file").count();
        self.checks.holds("what is left out is gone", gone == 2, gone);
        Ok(())
    }

    fn failing(&mut self, before: &str) -> Result<()> {
        let said = "start failing.service: it failed: the machine is as it was";
        self.says("try failing.yaml --confirm-within 10m", 1, said)?;
        self.is_back("a unit failed", before)
    }

    /// Main process and, mostly, the one that takes back, at once.
    fn killed(&mut self, before: &str) -> Result<()> {
        self.says("try tried.yaml --confirm-within 10m", 0, "applied")?;
        self.node.read("systemctl kill --signal=KILL coreos-init-trial.service")?;
        self.is_back("the service was killed", before)
    }

    /// Where systemd does not take the service, nothing is tried.
    fn no_service(&mut self, before: &str) -> Result<()> {
        self.node.read("systemctl mask --runtime coreos-init-trial.service")?;
        self.says("try tried.yaml --confirm-within 10m", 1, "the trial failed: ")?;
        self.node.read("systemctl unmask --runtime coreos-init-trial.service")?;
        self.is_back("there was no service", before)
    }

    /// A system that shuts down takes back what is tried before it is off: no later boot has to.
    fn shutdown(&mut self, before: &str) -> Result<()> {
        self.says("try tried.yaml --confirm-within 10m", 0, "applied")?;
        self.node.shut_down()?;
        let tried = self.node.written("/var/lib/coreos-init/trial/configuration.json");
        self.checks.holds("no trial is left behind", tried.is_none(), format_args!("{tried:?}"));
        let name = self.node.written("/etc/hostname");
        let is_before = name.as_deref() == Some("before\n");
        self.checks.holds("the name is back", is_before, format_args!("{name:?}"));
        self.boot()?;
        self.is_back("the system was shut down", before)
    }

    fn power_cut(&mut self, before: &str) -> Result<()> {
        self.says("try tried.yaml --confirm-within 10m", 0, "applied")?;
        self.node.power_cut();
        self.boot()?;
        self.is_back("the power was cut", before)
    }

    fn confirmed(&mut self) -> Result<()> {
        self.says("try tried.yaml --confirm-within 10m", 0, "applied")?;
        self.says("confirm", 0, "kept")?;
        self.is_tried()?;
        self.says("confirm", 1, "no trial is under way")?;
        let last = self.node.read("cat /var/lib/coreos-init/last/configuration.json");
        self.checks.contains("the last configuration", last, "hostname: tried");
        self.says("try tried.yaml --confirm-within 10m", 0, "nothing would change")?;
        Ok(())
    }
}

/// The lines that differ.
fn difference(before: &str, after: &str) -> String {
    let missing = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    let missing = missing.map(|line| format!("-{line}\n"));
    missing.chain(new.map(|line| format!("+{line}\n"))).collect()
}
