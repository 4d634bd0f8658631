//! Keys: which are known, where they belong, what they take.

use super::check;

#[test]
fn unknown_keys_are_told_with_what_was_meant() {
    check(&[
        (
            "hostnme: a
",
            &["1:1: warning: unknown key `hostnme`; did you mean `hostname`?"],
        ),
        (
            "Hostname: a
",
            &["1:1: warning: unknown key `Hostname`; did you mean `hostname`?"],
        ),
        (
            "ssh-authorized-kyes: []
",
            &[
                "1:1: warning: unknown key `ssh-authorized-kyes`; did you mean `ssh-authorized-keys`?",
            ],
        ),
        (
            "zebra: 1
",
            &["1:1: warning: unknown key `zebra`; docs/cloud-config.md has all that are known"],
        ),
        (
            "coreos:
  unit: []
  flet: {}
",
            &[
                "2:3: warning: unknown key `unit` in `coreos`; did you mean `units`?",
                "3:3: warning: unknown key `flet` in `coreos`; did you mean `fleet`?",
            ],
        ),
        (
            "coreos:
  update:
    grop: beta
",
            &["3:5: warning: unknown key `grop` in `coreos.update`; did you mean `group`?"],
        ),
        (
            "write_files:
  - path: /etc/x
    contnet: y
",
            &["3:5: error: unknown key `contnet` in `write_files`; did you mean `content`?"],
        ),
        (
            r#"coreos:
  units:
    - name: a.service
      drop-ins:
        - name: b.conf
          content: "[Service]"
          contents: x
      enabled: true
"#,
            &[
                "7:11: error: unknown key `contents` in `drop_ins`; did you mean `content`?",
                "8:7: error: unknown key `enabled` in `units`; did you mean `enable`?",
            ],
        ),
    ]);
}

#[test]
fn keys_of_other_systems_are_told_with_what_to_use_instead() {
    check(&[(
        "packages: [a]
bootcmd: [ls]
storage: {}
power-state: {}
",
        &[
            "1:1: warning: `packages` of cloud-init is not applied here; the system is one image: run the program in a container, or make it one of `coreos.extensions` (docs/migrating.md)",
            "2:1: warning: `bootcmd` of cloud-init is not applied here; write a service with `DefaultDependencies=no` under `coreos.units` (docs/migrating.md)",
            "3:1: warning: `storage` of Ignition is not applied here; list files under `write_files` and file systems under `mounts` (docs/migrating.md)",
            "4:1: warning: `power-state` of cloud-init is not applied here; start `reboot.target` or `poweroff.target` from a service (docs/migrating.md)",
        ],
    )]);
}

#[test]
fn misplaced_keys_are_told_where_they_belong() {
    check(&[
        (
            "etcd: {}
fleet: {}
update: {}
",
            &[
                "1:1: warning: unknown key `etcd`; it belongs under `coreos`",
                "2:1: warning: unknown key `fleet`; it belongs under `coreos`",
                "3:1: warning: unknown key `update`; it belongs under `coreos`",
            ],
        ),
        (
            "coreos:
  write_files: []
  hostname: a
",
            &[
                "2:3: warning: unknown key `write_files` in `coreos`; it belongs at the top level, not under `coreos`",
                "3:3: warning: unknown key `hostname` in `coreos`; it belongs at the top level, not under `coreos`",
            ],
        ),
        (
            "units:
  - name: etcd.service
    command: start
",
            &[
                "1:1: warning: `units` belongs under `coreos`; it is applied all the same; move it to `coreos`, indented like its other keys",
            ],
        ),
    ]);
}

#[test]
fn values_of_the_wrong_type_are_errors() {
    check(&[
        (
            "hostname: [a]
",
            &["1:11: error: `hostname` must be text, found a list"],
        ),
        (
            "hostname: {{ name }}
",
            &[
                "1:11: error: `hostname` must be text, found a mapping; quote a value that contains `: ` or begins with `{`",
                "1:12: error: a key cannot be a mapping; quote a value that begins with `{` or `[`",
            ],
        ),
        (
            "- a
",
            &[
                "1:1: error: expected the keys of a configuration, found a list; write one `key: value` on each line",
            ],
        ),
        (
            "just text
",
            &[
                "1:1: error: expected the keys of a configuration, found a single value; write one `key: value` on each line",
            ],
        ),
        (
            "users: bob
",
            &[
                "1:8: error: `users` must be a list, found a single value; put each value on a line of its own, after `- `",
            ],
        ),
        (
            "users: {a: b}
",
            &[
                "1:8: error: `users` must be a list, found a mapping; put each value on a line of its own, after `- `",
            ],
        ),
        (
            "users: [[x]]
",
            &[
                "1:9: error: expected the keys of `users`, found a list; write one `key: value` on each line",
            ],
        ),
        (
            "coreos: x
",
            &[
                "1:9: error: expected the keys of `coreos`, found a single value; write one `key: value` on each line",
            ],
        ),
        (
            "coreos:
  units: etcd.service
",
            &[
                "2:10: error: `units` must be a list, found a single value; put each value on a line of its own, after `- `",
            ],
        ),
        (
            "coreos:
  units:
    - etcd.service
",
            &[
                "3:7: error: expected the keys of `units`, found a single value; write one `key: value` on each line",
            ],
        ),
        (
            "coreos:
  units:
    - name: a.service
      enable: maybe
      mask: [true]
",
            &[
                "4:15: error: `enable` must be true or false, found `maybe`",
                "5:13: error: `mask` must be true or false, found a list",
            ],
        ),
        (
            "write_files:
  - path: [a]
    content: {a: b}
",
            &[
                "2:11: error: `path` must be text, found a list",
                "3:14: error: `content` must be text, found a mapping; quote a value that contains `: ` or begins with `{`",
            ],
        ),
    ]);
}

#[test]
fn keys_without_a_value_are_told() {
    check(&[
        (
            "hostname:
users: ~
coreos:
",
            &[
                "1:1: warning: `hostname` has no value",
                "2:1: warning: `users` has no value",
                "3:1: warning: `coreos` has no value",
            ],
        ),
        (
            "write_files:
  - path: /etc/empty
    content:
",
            &["3:5: warning: `content` has no value"],
        ),
    ]);
}

#[test]
fn host_names() {
    check(&[
        (
            "hostname: my_host
",
            &[
                "1:11: error: `my_host` is not a host name: `_` is not allowed; did you mean `my-host`?",
            ],
        ),
        (
            "hostname: a b
",
            &[
                "1:11: error: `a b` is not a host name: only letters, digits, `-` and `.` are allowed",
            ],
        ),
        (
            r#"hostname: ""
"#,
            &["1:11: error: the host name is empty"],
        ),
        (
            "hostname: é
",
            &["1:11: error: `é` is not a host name: only letters, digits, `-` and `.` are allowed"],
        ),
        (
            r#"hostname: "a\nb"
"#,
            &["1:11: error: `hostname` must be one line, without control characters"],
        ),
        (
            "hostname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
",
            &[
                "1:11: error: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbb…` is not a host name: it is longer than 64 characters",
            ],
        ),
    ]);
}

#[test]
fn etc_hosts() {
    check(&[
        (
            "manage_etc_hosts: always
",
            &[
                "1:19: error: `manage_etc_hosts` cannot be `always`; `localhost` and `true` name this machine, `false` does not",
            ],
        ),
        (
            "manage_etc_hosts: false
",
            &[],
        ),
        (
            "manage-etc-hosts: localhost
",
            &[],
        ),
    ]);
}
