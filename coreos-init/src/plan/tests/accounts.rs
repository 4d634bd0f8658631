//! Who may use the machine, and what becomes of those who no longer may.

use cloud_config::Config;

use super::super::sample::{file, line, spanned, text, user};
use super::super::{Context, Effect, decide, plan};
use super::{SHADOW, after, content, existing, lines, machine, planned};
use crate::ledger::{OwnedAccount, sha256};

#[test]
fn cores_keys_are_joined_without_repetition() {
    let mut core = user("core");
    core.ssh_authorized_keys = vec![text("ssh-rsa B"), text("ssh-rsa C")];
    let config = Config {
        ssh_authorized_keys: vec![text("ssh-rsa A core@coreos"), text(" ssh-rsa B ")],
        users: vec![core],
        ..Config::default()
    };
    let mut context = machine();
    context.keys = vec!["ssh-rsa C".into(), "ssh-rsa D\nssh-rsa E\n".into()];
    let plan = plan(&config, &context);
    assert_eq!(
        lines(&plan),
        [
            "home /home/core 0700 500:500 0 entries",
            "directory /home/core/.ssh 0700 500:500",
            "file /home/core/.ssh/authorized_keys 0600 500:500 \"ssh-rsa A core@coreos\\nssh-rsa B\\nssh-rsa C\\nssh-rsa D\\nssh-rsa E\\n\"",
        ]
    );
    let homes: Vec<_> = plan.actions.iter().map(|action| action.home.as_deref()).collect();
    assert_eq!(homes, [None, Some("/home/core"), Some("/home/core")]);
}

#[test]
fn a_root_without_core_gets_core_with_its_keys() {
    let config = Config { ssh_authorized_keys: vec![text("ssh-rsa A")], ..Config::default() };
    let found = planned(&config, &Context::default());
    assert_eq!(found[0], "file /etc/group 0644 0:0 \"core:x:1000:\\n\"");
    assert_eq!(found[2], "file /etc/passwd 0644 0:0 \"core:x:1000:1000::/home/core:/bin/bash\\n\"");
    assert!(found[5].starts_with("file /home/core/.ssh/authorized_keys 0600 1000:1000"));
}

#[test]
fn a_new_user_has_a_home_groups_and_keys() {
    let mut bob = user("bob");
    bob.passwd = Some(text("$6$x$y"));
    bob.groups = vec![text("docker")];
    bob.ssh_authorized_keys = vec![text("ssh-rsa B")];
    let config = Config { users: vec![bob], ..Config::default() };
    let plan = plan(&config, &machine());
    assert!(content(&plan, "/etc/passwd").ends_with("bob:x:1000:1000::/home/bob:/bin/bash\n"));
    assert!(content(&plan, "/etc/shadow").ends_with("bob:$6$x$y::0:99999:7:::\n"));
    assert!(content(&plan, "/etc/group").contains("docker:x:998:bob\n"));
    assert_eq!(
        lines(&plan)[3..5],
        ["home /home/bob 0700 1000:1000 0 entries", "directory /home/bob/.ssh 0700 1000:1000",]
    );
    assert_eq!(
        plan.owned.accounts["bob"],
        OwnedAccount { uid: 1000, groups: vec!["docker".into()], present: true }
    );
    let shadow = plan.actions.iter().find(|action| action.path == "/etc/shadow").unwrap();
    assert!(matches!(shadow.effect, Effect::File { mode: 0o640, owned: false, .. }));
}

#[test]
fn an_account_of_the_image_gets_password_and_keys_only() {
    let mut core = user("core");
    core.passwd = Some(text("$6$x$y"));
    core.shell = Some("/bin/zsh".into());
    let config = Config { users: vec![core], ..Config::default() };
    let plan = plan(&config, &machine());
    assert_eq!(
        lines(&plan)[1..],
        [
            "warning 1: user `core` exists already: only `passwd` and `ssh_authorized_keys` are applied to it",
        ]
    );
    assert!(content(&plan, "/etc/shadow").contains("core:$6$x$y:19000:"));
}

#[test]
fn an_empty_password_opens_nothing() {
    let mut core = user("core");
    core.passwd = Some(text(""));
    let config = Config { users: vec![core], ..Config::default() };
    assert!(planned(&config, &machine()).is_empty());
}

#[test]
fn a_password_that_is_no_longer_configured_is_locked() {
    let mut core = user("core");
    core.passwd = Some(text("$6$x$y"));
    let config = Config { users: vec![core], ..Config::default() };
    let first = plan(&config, &machine());
    assert_eq!(first.owned.passwords["core"], [sha256(b"$6$x$y")]);
    let context = after(&first, &machine());
    let second = plan(&Config::default(), &context);
    assert_eq!(content(&second, "/etc/shadow"), SHADOW);
    assert!(second.owned.passwords.is_empty());

    let mut changed = context;
    changed.facts.shadow = existing("core:$6$other:19000:0:99999:7:::\n", 0o640);
    assert_eq!(
        planned(&Config::default(), &changed),
        ["note: the password of `core` is no longer configured, but was changed since: kept"]
    );
}

#[test]
fn a_user_who_is_no_longer_configured_goes_and_comes_back_the_same() {
    let config = Config { users: vec![user("ann"), user("bob")], ..Config::default() };
    let first = plan(&config, &machine());
    let context = after(&first, &machine());
    assert!(planned(&config, &context).iter().all(|line| line.starts_with("home ")));

    let only_bob = Config { users: vec![user("bob")], ..Config::default() };
    let second = plan(&only_bob, &context);
    assert_eq!(
        second.notes,
        ["the account `ann` is no longer configured: removed; its files in /home/ann stay"]
    );
    assert!(!content(&second, "/etc/passwd").contains("ann"));
    let context = after(&second, &context);

    let config = Config { users: vec![user("eve"), user("ann"), user("bob")], ..config };
    let third = plan(&config, &context);
    let passwd = content(&third, "/etc/passwd");
    assert!(passwd.contains("ann:x:1000:1000:"), "{passwd}");
    assert!(passwd.contains("bob:x:1001:1001:"), "{passwd}");
    assert!(passwd.contains("eve:x:1002:1002:"), "{passwd}");
}

#[test]
fn an_account_made_earlier_follows_the_configuration() {
    let mut bob = user("bob");
    bob.groups = vec![text("docker")];
    let first = plan(&Config { users: vec![bob.clone()], ..Config::default() }, &machine());
    let context = after(&first, &machine());
    bob.groups.clear();
    bob.shell = Some("/bin/sh".into());
    let second = plan(&Config { users: vec![bob], ..Config::default() }, &context);
    assert!(content(&second, "/etc/passwd").contains("bob:x:1000:1000::/home/bob:/bin/sh\n"));
    assert!(content(&second, "/etc/group").contains("docker:x:998:\n"));
    assert!(second.findings.is_empty());
}

#[test]
fn what_this_machine_lacks_is_an_error_at_its_place() {
    let mut bob = user("bob");
    bob.groups = vec![spanned("sudo".to_string(), 12)];
    let mut docker = user("docker");
    docker.name.span = line(14);
    let mut secret = file("/etc/secret", "x");
    secret.owner = Some(spanned("nobody".to_string(), 20));
    let config = Config {
        hostname: Some(text("a")),
        users: vec![bob, docker],
        write_files: vec![secret, file("/etc/plain", "x")],
        ..Config::default()
    };
    let plan = decide(&config, &[], &machine());
    let errors: Vec<_> = lines(&plan).into_iter().filter(|l| l.starts_with("error")).collect();
    assert_eq!(
        errors,
        [
            "error 12: there is no group `sudo` on this machine",
            "error 14: user `docker`: a group `docker` exists already: set `primary_group` to use it",
            "error 20: there is no user `nobody` on this machine",
        ]
    );
    let paths: Vec<_> = plan.actions.iter().map(|action| action.path.as_str()).collect();
    assert_eq!(paths, ["/etc/hostname", "/etc/group", "/etc/shadow", "/etc/passwd", "/home/bob"]);
}
