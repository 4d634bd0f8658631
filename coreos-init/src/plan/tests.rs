mod accounts; // who may use the machine

use cloud_config::{Command, DropIn, ServiceSettings, Update, Variable};

use super::sample::{file, line, spanned, text, unit, user};
use super::*;
use crate::verbs::Verb;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500:Owner:/home/core:/bin/bash\n";
const GROUP: &str = "root:x:0:\ndocker:x:998:\nshadow:x:42:\ncore:x:500:\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\ncore:*:19000:0:99999:7:::\n";

fn existing(text: &str, mode: u32) -> Option<Existing> {
    Some(Existing { text: text.to_string(), mode, owner: Owner::ROOT })
}

fn machine() -> Context {
    let facts = Facts {
        passwd: existing(PASSWD, 0o644),
        group: existing(GROUP, 0o644),
        shadow: existing(SHADOW, 0o640),
        ..Facts::default()
    };
    Context { facts, ..Context::default() }
}

/// What the plan says, one line each: its actions, contents where there is room, then findings,
/// notes and jobs.
fn lines(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for action in &plan.actions {
        let text = action.to_string();
        let text = text.rsplit_once(" (").unwrap().0.to_string();
        lines.push(match &action.effect {
            Effect::File { content, .. } if content.0.len() < 80 => {
                let content = String::from_utf8_lossy(&content.0);
                let head = text.rsplitn(3, ' ').nth(2).unwrap();
                format!("{head} {content:?}")
            }
            _ => text,
        });
    }
    for finding in &plan.findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        lines.push(format!("{severity} {}: {}", finding.span.start.line, finding.message));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(plan.jobs.iter().map(|job| format!("job: {} {}", job.verb, job.unit)));
    lines
}

fn planned(config: &Config, context: &Context) -> Vec<String> {
    lines(&plan(config, context))
}

/// The machine as it is after a plan, as far as the next plan can tell.
fn after(plan: &Plan, context: &Context) -> Context {
    let mut context = context.clone();
    context.facts.ledger = plan.owned.clone();
    for action in &plan.actions {
        let Effect::File { content, mode, owner, .. } = &action.effect else { continue };
        let text = String::from_utf8(content.0.clone()).unwrap();
        let new = Some(Existing { text, mode: *mode, owner: *owner });
        match action.path.as_str() {
            "/etc/passwd" => context.facts.passwd = new,
            "/etc/group" => context.facts.group = new,
            "/etc/shadow" => context.facts.shadow = new,
            "/etc/environment" => context.facts.environment = new,
            "/etc/coreos/update.conf" => context.facts.update = new,
            _ => {}
        }
    }
    context
}

fn content<'a>(plan: &'a Plan, path: &str) -> &'a str {
    let action = plan.actions.iter().find(|action| action.path == path);
    match action.map(|action| &action.effect) {
        Some(Effect::File { content, .. }) => std::str::from_utf8(&content.0).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn an_empty_config_plans_nothing() {
    let plan = plan(&Config::default(), &machine());
    assert!(plan.actions.is_empty() && plan.findings.is_empty() && plan.jobs.is_empty());
    assert_eq!(plan.owned, Ledger::default());
}

#[test]
fn the_configured_name_wins_over_the_platforms() {
    let mut config = Config::default();
    let mut context = machine();
    context.hostname = Some("platform".into());
    assert_eq!(planned(&config, &context), ["file /etc/hostname 0644 0:0 \"platform\\n\""]);
    config.hostname = Some(text("mine"));
    assert_eq!(planned(&config, &context), ["file /etc/hostname 0644 0:0 \"mine\\n\""]);
    config.hostname = None;
    context.hostname = Some("no name".into());
    assert_eq!(
        planned(&config, &context),
        ["note: the platform's name \"no name\" is no host name"]
    );
}

#[test]
fn hosts_names_the_machine_and_localhost() {
    let mut config = Config { manage_etc_hosts: Some(line(3)), ..Config::default() };
    let mut context = machine();
    let hosts = |config: &Config, context: &Context| {
        content(&plan(config, context), "/etc/hosts").to_string()
    };
    assert_eq!(hosts(&config, &context), "127.0.0.1 localhost\n::1 localhost\n");
    context.facts.hostname = Some("old".into());
    assert_eq!(hosts(&config, &context), "127.0.0.1 old\n127.0.0.1 localhost\n::1 localhost\n");
    config.hostname = Some(text("new"));
    assert_eq!(hosts(&config, &context), "127.0.0.1 new\n127.0.0.1 localhost\n::1 localhost\n");
}

#[test]
fn files_belong_to_users_of_the_same_config() {
    let mut owned = file("/etc/app.conf", "x");
    owned.owner = Some(text("bob:docker"));
    owned.permissions = Some(0o600);
    let config = Config { users: vec![user("bob")], write_files: vec![owned], ..Config::default() };
    let found = planned(&config, &machine());
    assert_eq!(found.last().unwrap(), "file /etc/app.conf 0600 1000:998 \"x\"");
}

#[test]
fn files_in_homes_are_confined_to_them() {
    let files = [
        ("/home/core/a/b", Some("/home/core")),
        ("/home/corex/a", None),
        ("/root/a", None),
        ("/etc/a", None),
    ];
    let config = Config {
        write_files: files.iter().map(|(path, _)| file(path, "")).collect(),
        ..Config::default()
    };
    let plan = plan(&config, &machine());
    for (action, (path, home)) in plan.actions.iter().zip(files) {
        assert_eq!(action.home.as_deref(), home, "{path}");
    }
}

#[test]
fn the_later_of_two_at_one_path_wins_and_says_so() {
    let mut second = file("/etc/a", "2");
    second.path.span = line(9);
    let config = Config {
        hostname: Some(text("a")),
        write_files: vec![file("/etc/a", "1"), second, file("/etc/hostname", "b\n")],
        ..Config::default()
    };
    assert_eq!(
        planned(&config, &machine()),
        [
            "file /etc/a 0644 0:0 \"2\"",
            "file /etc/hostname 0644 0:0 \"b\\n\"",
            "warning 5: `/etc/hostname` is given twice: write_files wins over hostname, 1:1",
            "warning 9: `/etc/a` is given twice: write_files wins over write_files, 5:1",
        ]
    );
}

#[test]
fn addresses_are_merged_into_the_environment() {
    let mut context = machine();
    context.values = [
        (Variable::PublicIpv4, "198.51.100.1".to_string()),
        (Variable::PrivateIpv4, "10.0.0.1".to_string()),
        (Variable::PublicIpv6, String::new()),
    ]
    .into();
    context.facts.environment = existing("LANG=C\nCOREOS_PUBLIC_IPV4=old\n", 0o640);
    let first = plan(&Config::default(), &context);
    assert_eq!(
        lines(&first),
        [
            "file /run/metadata/coreos 0644 0:0 \"COREOS_PRIVATE_IPV4=10.0.0.1\\nCOREOS_PUBLIC_IPV4=198.51.100.1\\n\"",
            "file /etc/environment 0640 0:0 \"LANG=C\\nCOREOS_PUBLIC_IPV4=198.51.100.1\\nCOREOS_PRIVATE_IPV4=10.0.0.1\\n\"",
        ]
    );
    // The machine lost one address; what the image says stays.
    let mut later = after(&first, &context);
    later.values.remove(&Variable::PublicIpv4);
    assert_eq!(
        content(&plan(&Config::default(), &later), "/etc/environment"),
        "LANG=C\nCOREOS_PRIVATE_IPV4=10.0.0.1\n"
    );
    let config =
        Config { write_files: vec![file("/etc/environment", "A=1\n")], ..Config::default() };
    assert_eq!(content(&plan(&config, &context), "/etc/environment"), "A=1\n");
}

#[test]
fn update_settings_are_merged_and_fall_back() {
    let update = Update {
        group: Some(text("alpha")),
        server: None,
        reboot_strategy: Some(text("etcd-lock")),
    };
    let config = Config { update: Some(update), ..Config::default() };
    let mut context = machine();
    assert_eq!(
        planned(&config, &context),
        ["file /etc/coreos/update.conf 0644 0:0 \"GROUP=alpha\\nREBOOT_STRATEGY=etcd-lock\\n\""]
    );
    context.facts.update_defaults = Some("GROUP=stable\nSERVER=https://x\n".into());
    let first = plan(&config, &context);
    let merged = "GROUP=alpha\nSERVER=https://x\nREBOOT_STRATEGY=etcd-lock\n";
    assert_eq!(content(&first, "/etc/coreos/update.conf"), merged);
    let context = after(&first, &context);
    assert!(planned(&config, &context).is_empty());
    let second = plan(&Config::default(), &context);
    assert_eq!(content(&second, "/etc/coreos/update.conf"), "GROUP=stable\nSERVER=https://x\n");
    assert!(second.owned.lines.is_empty());
}

#[test]
fn units_go_where_the_service_manager_looks() {
    let mut drop_in = unit("docker.service");
    drop_in.drop_ins = vec![
        DropIn { name: text("10-a.conf"), content: "[Service]\n".into() },
        DropIn { name: text("20-b.conf"), content: String::new() },
    ];
    let mut runtime = unit("b.service");
    runtime.content = Some("[Unit]\n".into());
    runtime.runtime = true;
    let mut network = unit("10-static.network");
    network.content = Some("[Match]\n".into());
    network.enable = true;
    network.command = Some(spanned(Command::Start, 1));
    let mut runtime_network = unit("bond.netdev");
    runtime_network.content = Some("[NetDev]\n".into());
    runtime_network.runtime = true;
    let mut masked = unit("tmp.mount");
    masked.mask = true;
    let config = Config {
        units: vec![drop_in, runtime, network, runtime_network, masked],
        ..Config::default()
    };
    let mut context = machine();
    context.network = vec![("50-cloud.network".into(), "[Match]\n".into())];
    let plan = plan(&config, &context);
    assert_eq!(
        lines(&plan),
        [
            "file /run/systemd/network/50-cloud.network 0644 0:0 \"[Match]\\n\"",
            "file /etc/systemd/system/docker.service.d/10-a.conf 0644 0:0 \"[Service]\\n\"",
            "file /run/systemd/system/b.service 0644 0:0 \"[Unit]\\n\"",
            "file /etc/systemd/network/10-static.network 0644 0:0 \"[Match]\\n\"",
            "file /run/systemd/network/bond.netdev 0644 0:0 \"[NetDev]\\n\"",
            "link /etc/systemd/system/tmp.mount -> /dev/null",
        ]
    );
    let owned: Vec<_> = plan.owned.files.keys().map(String::as_str).collect();
    assert_eq!(
        owned,
        [
            "/etc/systemd/network/10-static.network",
            "/etc/systemd/system/docker.service.d/10-a.conf",
            "/etc/systemd/system/tmp.mount",
        ]
    );
}

#[test]
fn enabling_links_the_unit_and_what_it_names() {
    let mut own = unit("app.service");
    own.content = Some("[Install]\nWantedBy=multi-user.target\nAlso=app.socket\n".into());
    own.enable = true;
    let mut instance = unit("web@1.service");
    instance.enable = true;
    let mut alias = unit("sshd.service");
    alias.enable = true;
    let mut bare = unit("bare.service");
    bare.content = Some("[Service]\n".into());
    bare.enable = true;
    let mut missing = unit("missing.service");
    missing.enable = true;
    let config = Config { units: vec![own, instance, alias, bare, missing], ..Config::default() };
    let mut context = machine();
    for (name, path, text) in [
        ("app.socket", "/usr/lib/systemd/system/app.socket", "WantedBy=sockets.target"),
        ("web@.service", "/usr/lib/systemd/system/web@.service", "WantedBy=multi-user.target"),
        ("sshd.service", "/usr/lib/systemd/system/ssh.service", "WantedBy=multi-user.target"),
    ] {
        let installed = InstalledUnit { path: path.into(), text: format!("[Install]\n{text}\n") };
        context.facts.units.insert(name.into(), installed);
    }
    let links: Vec<_> = planned(&config, &context)
        .into_iter()
        .filter(|line| !line.starts_with("file "))
        .map(|line| line.replace("/etc/systemd/system/", "~/"))
        .collect();
    assert_eq!(
        links,
        [
            "link ~/multi-user.target.wants/app.service -> ~/app.service",
            "link ~/sockets.target.wants/app.socket -> /usr/lib/systemd/system/app.socket",
            "link ~/multi-user.target.wants/web@1.service -> /usr/lib/systemd/system/web@.service",
            "link ~/multi-user.target.wants/ssh.service -> /usr/lib/systemd/system/ssh.service",
            "warning 7: `bare.service` says nothing in [Install]: enabling it changes nothing",
            "warning 7: `missing.service` cannot be enabled: there is no such unit here",
        ]
    );
}

#[test]
fn commands_become_jobs_where_there_is_a_unit() {
    let command = |name: &str, command, at| {
        let mut unit = unit(name);
        unit.command = Some(spanned(command, at));
        unit
    };
    let mut own = command("own.service", Command::Restart, 1);
    own.content = Some("[Service]\n".into());
    let mut masked = command("masked.service", Command::Start, 4);
    masked.mask = true;
    let config = Config {
        write_files: vec![file("/etc/systemd/system/written.service", "[Service]\n")],
        units: vec![
            own,
            command("etcd.service", Command::Start, 2),
            command("fleet.service", Command::Start, 3),
            masked,
            command("written.service", Command::TryRestart, 5),
            command("web@2.service", Command::Start, 6),
        ],
        ..Config::default()
    };
    let mut context = machine();
    for name in ["etcd.service", "masked.service", "web@.service"] {
        let path = format!("/usr/lib/systemd/system/{name}");
        context.facts.units.insert(name.into(), InstalledUnit { path, text: String::new() });
    }
    let plan = plan(&config, &context);
    let found: Vec<_> = lines(&plan).into_iter().skip(3).collect();
    assert_eq!(
        found,
        [
            "warning 3: there is no unit `fleet.service` on this machine: `start` is left out",
            "warning 4: `masked.service` is masked: `start` is left out",
            "job: restart own.service",
            "job: start etcd.service",
            "job: try-restart written.service",
            "job: start web@2.service",
        ]
    );
    assert_eq!(
        plan.jobs[1],
        UnitJob { unit: "etcd.service".into(), verb: Verb::Start, line: Some(2) }
    );
}

#[test]
fn service_settings_are_a_drop_in_of_this_boot() {
    let service = ServiceSettings {
        secret: false,
        unit: "etcd.service",
        environment: vec![
            ("ETCD_NAME".into(), "a \"b\"".into()),
            ("ETCD_DISCOVERY".into(), "https://x/%%20".into()),
        ],
        span: line(2),
    };
    let config = Config { services: vec![service], ..Config::default() };
    let plan = plan(&config, &machine());
    assert_eq!(
        content(&plan, "/run/systemd/system/etcd.service.d/20-cloudinit.conf"),
        "[Service]\nEnvironment=\"ETCD_NAME=a \\\"b\\\"\"\nEnvironment=\"ETCD_DISCOVERY=https://x/%%20\"\n"
    );
    assert_eq!(plan.actions[0].origin.to_string(), "coreos.etcd, 2:1");
}

#[test]
fn what_is_no_longer_configured_goes() {
    let mut context = machine();
    let forms = vec![Trace::file(b"1")];
    for path in ["/etc/kept", "/etc/gone", "/etc/restored"] {
        context.facts.ledger.files.insert(path.into(), forms.clone());
    }
    let original =
        Original { content: Content(b"image".to_vec()), mode: 0o644, owner: Owner::ROOT };
    context.facts.originals.insert("/etc/restored".into(), original);
    let config = Config { write_files: vec![file("/etc/kept", "2")], ..Config::default() };
    let whole = plan(&config, &context);
    assert_eq!(
        lines(&whole),
        ["file /etc/kept 0644 0:0 \"2\"", "remove /etc/gone", "restore /etc/restored",]
    );
    let owned: Vec<_> = whole.owned.files.keys().map(String::as_str).collect();
    assert_eq!(owned, ["/etc/kept"]);
    // A refused configuration takes nothing away.
    let rescued = rescue(&config, &context);
    assert!(rescued.actions.is_empty());
    assert_eq!(rescued.owned, context.facts.ledger);
}

#[test]
fn a_refused_config_still_lets_people_in() {
    let mut network = unit("10-static.network");
    network.content = Some("[Match]\n".into());
    let mut service = unit("a.service");
    service.content = Some("[Service]\n".into());
    service.command = Some(spanned(Command::Start, 1));
    let config = Config {
        hostname: Some(text("a")),
        ssh_authorized_keys: vec![text("ssh-rsa A")],
        write_files: vec![file("/etc/a", "")],
        units: vec![network, service],
        ..Config::default()
    };
    let error = Finding::error(line(1), "unknown key `hostnam`");
    let plan = decide(&config, &[error], &machine());
    let paths: Vec<_> = plan.actions.iter().map(|action| action.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/etc/hostname",
            "/home/core",
            "/home/core/.ssh",
            "/home/core/.ssh/authorized_keys",
            "/etc/systemd/network/10-static.network",
        ]
    );
    assert!(plan.jobs.is_empty());
}

#[test]
fn contents_are_never_shown() {
    let config = Config { write_files: vec![file("/etc/token", "s3cret")], ..Config::default() };
    let plan = plan(&config, &machine());
    assert!(!format!("{plan:?}").contains("s3cret"));
    assert!(!plan.actions[0].to_string().contains("s3cret"));
    assert!(!plan.owned.text().contains("s3cret"));
}
