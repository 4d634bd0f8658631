//! `runcmd`, and scripts given as user-data.

use cloud_config::Config;

use super::{Content, Draft, Effect, Owner, at};
use crate::ledger::sha256;
use crate::verbs::{UnitJob, Verb};

const COMMANDS: &str = "/etc/coreos-init/runcmd";
const SERVICE: &str = "coreos-init-runcmd.service";
/// Where it is noted that the commands were run.
const DONE: &str = "/var/lib/coreos-init/runcmd";
/// Where scripts wait for the service manager, for this boot.
const SCRIPTS: &str = "/run/coreos-init/scripts";

impl Draft<'_> {
    /// A service that runs the commands once, again when they change, and again at the next boot
    /// if one of them failed.
    pub(super) fn commands(&mut self, config: &Config) {
        self.scripts(config);
        let Some(first) = config.runcmd.first() else { return };
        let origin = at("runcmd", first.span);
        let mut script = String::from(
            "#!/bin/sh\n# From `runcmd` of the cloud-config.\nfailed=\n\
             check() { [ \"$1\" -eq 0 ] || { echo \"line $2: exit status $1\" >&2; failed=1; }; }\n",
        );
        for command in &config.runcmd {
            let line = command.span.start.line;
            script.push_str(&format!("{}\ncheck $? {line}\n", command.value.trim_end()));
        }
        script.push_str("[ -z \"$failed\" ]\n");
        // Lines move when something else changes; the commands are the same.
        let commands: Vec<&str> = config.runcmd.iter().map(|c| c.value.as_str()).collect();
        let mark = &sha256(commands.join("\n").as_bytes())[..16];
        let unit = format!(
            "[Unit]\n\
             Description=Commands of the cloud-config\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             ConditionPathExists=!{DONE}/{mark}\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart={COMMANDS}\n\
             ExecStartPost=/bin/mkdir -p {DONE}\n\
             ExecStartPost=/bin/touch {DONE}/{mark}\n"
        );
        self.put_file(COMMANDS.to_string(), origin, script, 0o700);
        self.put_file(format!("/etc/systemd/system/{SERVICE}"), origin, unit, 0o644);
        let line = Some(first.span.start.line);
        self.jobs.push(UnitJob { unit: SERVICE.to_string(), verb: Verb::Start, line });
    }

    fn scripts(&mut self, config: &Config) {
        for (number, script) in (1..).zip(&config.scripts) {
            let path = format!("{SCRIPTS}/{number}");
            let content = Content(script.text.clone().into_bytes());
            let effect = Effect::File { content, mode: 0o700, owner: Owner::ROOT, owned: true };
            self.put(path.clone(), super::in_entry("script", script.span, script.span), effect);
            self.scripts.push(path);
        }
    }
}
