//! What configurations say when nothing is wrong with them.

use cloud_config::{Command, Document, ExtensionSource, UnitKind, Values, has_errors};

use crate::support::{KEY, config, decode, findings};

#[test]
fn nothing_is_a_configuration() {
    for text in ["", "#cloud-config\n", "---\n", "#cloud-config\n---\n...\n", "~\n", "{}\n"] {
        assert_eq!(config(text), cloud_config::Config::default(), "{text:?}");
    }
}

#[test]
fn values_know_where_they_were_written() {
    let hostname = config("hostname: \"node-1.example.com\"\n").hostname.unwrap();
    assert_eq!(hostname.value, "node-1.example.com");
    assert_eq!((hostname.span.start.line, hostname.span.start.column), (1, 11));
    assert_eq!((hostname.span.end.line, hostname.span.end.column), (1, 31));
}

#[test]
fn a_number_or_a_word_can_be_text() {
    for (text, want) in [("123", "123"), ("off", "off"), ("1e3", "1e3"), ("0x10", "0x10")] {
        let hostname = config(&format!("hostname: {text}\n")).hostname.unwrap();
        assert_eq!(hostname.value, want);
    }
}

#[test]
fn one_value_may_hold_several_keys() {
    let text =
        format!("ssh_authorized_keys:\n  - |\n    # mine\n    {KEY}\n\n    {KEY}\r\n  - {KEY}\n");
    let keys = config(&text).ssh_authorized_keys;
    assert_eq!(keys.iter().map(|key| key.value.as_str()).collect::<Vec<_>>(), [KEY; 3]);
}

#[test]
fn users_have_all_that_is_written() {
    let text = format!(
        "users:
  - name: elroy
    passwd: $1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.
    gecos: Elroy Jetson, son
    homedir: /var/home/elroy
    no_create_home: yes
    primary_group: docker
    groups: sudo, adm
    no_user_group: true
    system: on
    shell: /bin/bash
    ssh_authorized_keys:
      - {KEY}
  - name: judy
    groups: [docker]
"
    );
    let config = config(&text);
    let [elroy, judy] = &config.users[..] else { panic!("{:?}", config.users) };
    assert_eq!(elroy.name.value, "elroy");
    assert_eq!(elroy.passwd.as_ref().unwrap().value, "$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.");
    assert_eq!(elroy.gecos.as_deref(), Some("Elroy Jetson, son"));
    assert_eq!(elroy.homedir.as_deref(), Some("/var/home/elroy"));
    assert_eq!(elroy.primary_group.as_deref(), Some("docker"));
    assert_eq!(elroy.shell.as_deref(), Some("/bin/bash"));
    assert!(elroy.no_create_home && elroy.no_user_group && elroy.system);
    assert_eq!(elroy.ssh_authorized_keys[0].value, KEY);
    let groups: Vec<_> = elroy.groups.iter().map(|group| group.value.as_str()).collect();
    assert_eq!(groups, ["sudo", "adm"]);
    assert_eq!(judy.groups[0].value, "docker");
    assert!(!judy.no_create_home && !judy.system && judy.passwd.is_none());
}

#[test]
fn files_are_decoded() {
    for (text, content) in [
        ("content: plain", "plain"),
        ("content: |\n      two\n      lines", "two\nlines\n"),
        ("content: \"\"", ""),
        ("owner: root", ""),
        ("encoding: ''\n    content: a", "a"),
        ("encoding: b64\n    content: aGVsbG8=", "hello"),
        ("encoding: base64\n    content: |\n      aGVs\n      bG8=", "hello"),
        ("content: !!binary aGVsbG8=", "hello"),
        ("encoding: base64\n    content: !!binary YUdWc2JHOD0=", "hello"),
        ("content: !!str 12", "12"),
    ] {
        let files = config(&format!("write_files:\n  - path: /etc/a\n    {text}\n")).write_files;
        assert_eq!(String::from_utf8_lossy(&files[0].content), content, "{text}");
    }
}

#[test]
fn permissions_are_octal_however_they_are_written() {
    for (written, want) in
        [("0644", 0o644), ("\"0755\"", 0o755), ("'600'", 0o600), ("1777", 0o1777)]
    {
        let text = format!("write_files:\n  - path: /etc/a\n    permissions: {written}\n");
        assert_eq!(config(&text).write_files[0].permissions, Some(want), "{written}");
    }
    let (config, _) = decode("write_files:\n  - path: etc/a\n    permissions: 420\n");
    assert_eq!(config.write_files[0].permissions, Some(0o420));
    assert_eq!(config.write_files[0].path.value, "/etc/a");
}

#[test]
fn units_are_of_a_kind_and_have_their_flags() {
    let config = config(
        "coreos:
  units:
    - name: a.service
      command: reload-or-try-restart
      enable: true
      runtime: yes
    - name: b.mount
      mask: on
    - name: c.netdev
      content: |
        [NetDev]
        Name=c
",
    );
    let [a, b, c] = &config.units[..] else { panic!("{:?}", config.units) };
    assert_eq!(a.kind, UnitKind::System);
    assert_eq!(a.command.as_ref().unwrap().value, Command::ReloadOrTryRestart);
    assert!(a.enable && a.runtime && !a.mask && a.content.is_none());
    assert!(b.mask && !b.enable);
    assert_eq!(c.kind, UnitKind::Network);
    assert_eq!(c.content.as_deref(), Some("[NetDev]\nName=c\n"));
}

#[test]
fn every_verb_is_a_command() {
    for verb in [
        "start",
        "stop",
        "restart",
        "reload",
        "try-restart",
        "reload-or-restart",
        "reload-or-try-restart",
    ] {
        let text = format!("coreos: {{units: [{{name: a.service, command: {verb}}}]}}");
        assert!(config(&text).units[0].command.is_some(), "{verb}");
    }
}

#[test]
fn units_of_both_places_are_kept_in_order() {
    let (config, _) = decode(
        "units:
  - name: a.service
coreos:
  units:
    - name: b.service
",
    );
    let names: Vec<_> = config.units.iter().map(|unit| unit.name.value.as_str()).collect();
    assert_eq!(names, ["a.service", "b.service"]);
}

#[test]
fn an_unquoted_off_stays_a_word() {
    let update = config("coreos: {update: {reboot_strategy: off, group: beta}}").update.unwrap();
    assert_eq!(update.reboot_strategy.unwrap().value, "off");
    assert_eq!(update.group.unwrap().value, "beta");
    assert_eq!(update.server, None);
}

#[test]
fn merge_keys_add_what_is_not_there() {
    let (config, found) = decode(
        "base: &base
  owner: root
  permissions: '0600'
other: &other
  permissions: '0640'
  encoding: b64
write_files:
  - <<: *base
    path: /etc/a
  - path: /etc/b
    permissions: '0644'
    <<: [*base, *other]
    content: aGVsbG8=
",
    );
    assert!(!has_errors(&found), "{found:#?}");
    let [a, b] = &config.write_files[..] else { panic!("{:?}", config.write_files) };
    assert_eq!((a.permissions, a.owner.as_ref().unwrap().value.as_str()), (Some(0o600), "root"));
    assert_eq!((b.permissions, b.content.as_slice()), (Some(0o644), &b"hello"[..]));
}

#[test]
fn line_ends_of_another_system_make_no_difference() {
    let text = "#cloud-config\nhostname: a\nwrite_files:\n  - path: /etc/a\n    content: |\n      b\n      c\n";
    let values = |config: cloud_config::Config| {
        (config.hostname.unwrap(), config.write_files[0].content.clone())
    };
    assert_eq!(values(config(&text.replace('\n', "\r\n"))), values(config(text)));
}

/// What stands before a mistake of syntax is applied as far as it can be: a machine keeps its
/// name and its keys.
#[test]
fn what_stands_before_a_mistake_of_syntax_is_understood() {
    let text = format!(
        "hostname: a
ssh_authorized_keys:
  - {KEY}
write_files:
  - path: /etc/whole
    content: x
  - path: /etc/cut
    content: \"never closed
"
    );
    let (config, found) = decode(&text);
    assert!(has_errors(&found));
    assert_eq!(config.hostname.unwrap().value, "a");
    assert_eq!(config.ssh_authorized_keys.len(), 1);
    let paths: Vec<_> = config.write_files.iter().map(|file| file.path.value.as_str()).collect();
    assert_eq!(paths, ["/etc/whole"]);
}

#[test]
fn a_value_in_the_line_of_a_mistake_of_syntax_is_not_understood() {
    for text in ["hostname: a: b\n", "hostname: a\n  b: c: d\n", "hostname: \"a\" b\n"] {
        let (config, found) = decode(text);
        assert!(has_errors(&found), "{text}");
        assert_eq!(config.hostname, None, "{text}");
    }
}

#[test]
fn an_entry_with_a_mistake_is_left_out() {
    let (config, found) = decode(
        "write_files:
  - path: /etc/a
    contnet: x
  - path: /etc/b
coreos:
  units:
    - name: a.service
      enable: perhaps
    - name: b.service
",
    );
    assert!(has_errors(&found));
    assert_eq!(config.write_files.len(), 1);
    assert_eq!(config.units.len(), 1);
}

#[test]
fn secrets_are_in_no_finding() {
    for text in [
        "users:\n  - name: a\n    passwd: geheim\n",
        "users:\n  - {name: a, nmae: b, passwd: geheim}\n",
        "users:\n  - name: a\n    paswd: geheim\n",
        "users:\n  - name: a\n    plain_text_passwd: geheim\n",
        "password: geheim\n",
        "chpasswd:\n  list: |\n    a:geheim\n",
        "chpasswd: {list: geheim}\n",
        "users:\n  - name: a\n    passwd: \"geheim\n",
        "coreos:\n  fleet:\n    etcd_password: \"geheim\\n1\"\n",
        "coreos: {fleet: {etcd_password: [geheim], x: y}}\n",
        "write_files:\n  - path: /etc/a\n    content: |\n      geheim $private_ipx\n",
        "write_files:\n  - path: /etc/a\n    encoding: b64\n    content: 'geheim!'\n",
        "write_files:\n  - {path: /etc/a, content: geheim, contnet: b}\n",
        "ssh_authorized_keys:\n  - |\n    -----BEGIN RSA PRIVATE KEY-----\n    geheim\n",
    ] {
        let (_, found) = Document::parse(text).decode(&Values::Unknown);
        assert!(!found.is_empty(), "{text}");
        for finding in found {
            let shown = format!("{}\n{}", finding.line("f"), finding.render("f", text));
            assert!(!shown.contains("geheim"), "{shown}");
        }
    }
    assert_eq!(findings("users: [{name: a, passwd: '*'}]"), Vec::<String>::new());
}

#[test]
fn an_extension_is_fetched_or_there_already() {
    let hash = "AB".repeat(32);
    let config = config(&format!(
        "coreos:\n  extensions:\n    - {{name: a, source: 'https://h/a.raw', sha256: {hash}, root-hash: {hash}}}\n    \
         - {{name: b, source: //opt/./b.raw, root_hash: {hash}}}\n"
    ));
    let [a, b] = config.extensions.as_slice() else { panic!("{config:?}") };
    let lower = hash.to_lowercase();
    assert_eq!(a.root_hash.as_ref().map(|hash| &hash.value), Some(&lower));
    let ExtensionSource::Remote(remote) = &a.source else { panic!("{a:?}") };
    assert_eq!((remote.url.as_str(), &remote.sha256), ("https://h/a.raw", &lower));
    let ExtensionSource::File { path, sha256, .. } = &b.source else { panic!("{b:?}") };
    assert_eq!((path.as_str(), sha256), ("/opt/b.raw", &None));
}
