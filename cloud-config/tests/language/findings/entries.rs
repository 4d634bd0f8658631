//! Entries of lists: keys, users, files, units.

use super::check;

#[test]
fn ssh_keys() {
    check(&[
        (
            "ssh_authorized_keys: ssh-rsa AAAA
",
            &[
                "1:22: error: `ssh_authorized_keys` must be a list, found a single value; put each value on a line of its own, after `- `",
            ],
        ),
        (
            r#"ssh_authorized_keys:
  - ssh-rsa VOTRE_CLE_PUBLIQUE core@coreos
  - ""
  - |
    -----BEGIN OPENSSH PRIVATE KEY-----
    abc
  - {a: b}
  - "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC0g+ZTxC7weoIJLUafOgrm+h..."
"#,
            &[
                "2:5: error: not a public key: what follows `ssh-rsa` is not base64; put the line of a `.pub` file here, such as `ssh-ed25519 AAAA... name`",
                "3:5: error: this key is empty",
                "5:5: error: this is a private key, which must stay secret; put the line of its `.pub` file here, and make a new pair",
                "7:5: error: a key must be text, found a mapping; quote a value that contains `: ` or begins with `{`",
                "8:5: error: not a public key: what follows `ssh-rsa` is not base64; put the line of a `.pub` file here, such as `ssh-ed25519 AAAA... name`",
            ],
        ),
    ]);
}

#[test]
fn users() {
    check(&[
        (
            "users:
  - default
  - bob
  - name: bob
    nmae: x
  - passwd: hunter2
  - name: b b
  - name: root
  - name: root
",
            &[
                "3:5: error: an entry of `users` must be a mapping; write `- name: bob`",
                "5:5: error: unknown key `nmae` in `users`; did you mean `name`?",
                "6:5: error: this entry of `users` has no `name`",
                "6:13: error: `passwd` is not a hash; make a hash with `mkpasswd --method=yescrypt`",
                "7:11: error: `b b` is not a user or group name: only letters, digits, `_`, `-` and `.` are allowed",
                "9:11: warning: the user `root` is given again: the first is on line 8, the last one counts",
            ],
        ),
        (
            r#"users:
  - name: a
    passwd: hunter2
    lock_passwd: true
    sudo: ALL
    inactive: 30
    selinux-user: x
    ssh-import-id: x
    coreos-ssh-import-github: x
    coreos-ssh-import-github-users: [x]
    coreos-ssh-import-url: x
    no-log-init: true
    no-create-home: maybe
    gecos: "a:b"
    homedir: home
    shell: bash
    groups: [docker, "a b"]
    primary-group: 1x
    system: yes
    plain_text_passwd: geheim
    uid: 1000
"#,
            &[
                "3:13: error: `passwd` is not a hash; make a hash with `mkpasswd --method=yescrypt`",
                "5:11: error: this rule of `sudo` has no `=` between hosts and commands; such as `ALL=(ALL) NOPASSWD:ALL`; see sudoers(5)",
                "7:5: warning: `selinux-user` is not applied: there is no SELinux here",
                "11:28: error: `x` does not begin with `http://` or `https://`",
                "13:21: error: `no-create-home` must be true or false, found `maybe`",
                "14:12: error: `gecos` cannot contain `:`",
                "15:14: error: `homedir` is not an absolute path",
                "16:12: error: `shell` is not an absolute path",
                "17:22: error: `a b` is not a user or group name: only letters, digits, `_`, `-` and `.` are allowed",
                "18:20: error: `1x` is not a user or group name: it must begin with a letter or `_`",
                "20:24: warning: a password in clear is known to whoever sees this file; give a hash, such as `mkpasswd --method=yescrypt` prints",
            ],
        ),
        (
            "users:
  - name: a
    homedir: /usr/x
",
            &[
                "3:14: error: `homedir` cannot be made: /usr is read-only; writable are /etc, /var, /home, /root, /opt, /srv, /run, /tmp",
            ],
        ),
    ]);
}

#[test]
fn extensions() {
    check(&[
        (
            "coreos:
  extensions:
    - name: tools
      source: https://example.org/tools.raw
      sha256: abababababababababababababababababababababababababababababababab
      root_hash: abababababababababababababababababababababababababababababababab
      headers: {Authorization: x}
    - name: local
      source: /opt/local.raw
      root_hash: abababababababababababababababababababababababababababababababab
",
            &[],
        ),
        (
            "coreos:
  extensions:
    - name: tools
      source: http://$private_ipv4/tools.raw
      sha256: ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB
    - name: tools
      source: /opt/tools.raw
      root_hash: abababababababababababababababababababababababababababababababab
",
            &[
                "4:15: warning: this extension has no `root_hash`: what is read of it is not checked; `image sysext` prints it; with it the kernel checks every block",
                "6:13: warning: the extension `tools` is given again: the first is on line 3, the last one counts",
            ],
        ),
        (
            "coreos:
  extensions:
    - source: /opt/a.raw
    - name: a
    - name: a.raw
      source: /opt/a.raw
    - name: a b
      source: opt/a.raw
      sha256: 12
      root_hash: xy
      hash: x
    - name: b
      source: opt/b.raw
    - name: c
      source: http://example.org/c.raw
    - name: d
      source: /var/lib/extensions/d.raw
    - name: e
      source: /opt/../e.raw
    - name: f
      source: /opt/f.raw
      headers: {X: y}
    - g
  extension: []
",
            &[
                "3:7: error: this entry of `extensions` has no `name`",
                "4:7: error: this entry of `extensions` has no `source`",
                "5:13: error: `a.raw` is no name of an extension: it is without the end of the file's; did you mean `a`?",
                "7:13: error: `a b` is no name of an extension: only letters, digits, `-`, `_` and `.` are allowed",
                "9:15: error: a SHA-256 has 64 hex digits; `sha256sum FILE` prints it",
                "10:18: error: a root hash has 64 hex digits; `image sysext` prints it beside the SHA-256 of the file",
                "11:7: error: unknown key `hash` in `extensions`; known are name, source, sha256, root_hash, headers",
                "13:15: error: `source` does not begin with `http://` or `https://`; write an address, or the absolute path of a file of the machine",
                "15:15: error: this `source` has no `sha256`: it could be anything; `curl URI | sha256sum` prints it; the bytes must never change",
                "17:15: error: what is in /var/lib/extensions/ is merged already; keep it elsewhere, such as in /opt, and name it here",
                "19:15: error: `/opt/../e.raw` is not a file's path: `..` is not allowed; write the path that is meant",
                "21:15: error: a file is asked for without `headers`",
                "23:7: error: expected the keys of `extensions`, found a single value; write one `key: value` on each line",
                "24:3: warning: unknown key `extension` in `coreos`; did you mean `extensions`?",
            ],
        ),
    ]);
}

#[test]
fn files() {
    check(&[
        (
            "write_files:
  - content: x
  - path: etc/x
  - path: /usr/bin/x
  - path: /lib64/x
  - path: /proc/sys/kernel/x
  - path: /data/x
  - path: /etc/../x
  - path: /etc/
  - path: /tmp/x
  - path: /etc/x
    append: true
    defer: true
    source: {uri: x}
",
            &[
                "2:5: error: this entry of `write_files` has no `path`",
                "3:11: warning: this path is relative; it is taken as `/etc/x`",
                "4:11: error: file cannot be written: /usr is read-only; writable are /etc, /var, /home, /root, /opt, /srv, /run, /tmp",
                "5:11: error: file cannot be written: /lib64 is read-only; writable are /etc, /var, /home, /root, /opt, /srv, /run, /tmp",
                "6:11: error: file cannot be written: /proc is the kernel's; writable are /etc, /var, /home, /root, /opt, /srv, /run, /tmp",
                "7:11: error: file cannot be written: / is read-only; writable are /etc, /var, /home, /root, /opt, /srv, /run, /tmp",
                "8:11: error: `/etc/../x` is not a file's path: `..` is not allowed; write the path that is meant",
                "9:11: error: `/etc/` is not a file's path: it names a directory",
                "10:11: warning: what is in /tmp does not outlive a boot; use /var/tmp, or /run for what only this boot needs",
                "14:19: error: `uri` does not begin with `http://` or `https://`",
            ],
        ),
        (
            r#"write_files:
  - path: /etc/a
    permissions: 420
  - path: /etc/b
    permissions: 0o644
  - path: /etc/c
    permissions: rw-r--r--
  - path: /etc/d
    permissions: 493
  - path: /etc/a
  - path: /etc/e
    owner: "a b"
"#,
            &[
                r#"3:18: warning: `420` is read as octal, which is mode 0420; did you mean `"0644"`, which is 420 in decimal?"#,
                r#"5:18: error: `0o644` are not permissions: octal digits without a prefix are expected; did you mean `"0644"`?"#,
                r#"7:18: error: `rw-r--r--` are not permissions: octal digits are expected; such as `"0644"`"#,
                r#"9:18: error: `493` are not permissions: 8 and 9 are not octal digits; did you mean `"0755"`?"#,
                "10:11: warning: the file `/etc/a` is given again: the first is on line 2, the last one counts",
                "12:12: error: `a b` is not a user or group name: only letters, digits, `_`, `-` and `.` are allowed; an owner is written `user`, `user:group` or `:group`",
            ],
        ),
        (
            r#"write_files:
  - path: /etc/a
    encoding: base-64
  - path: /etc/b
    encoding: rot13
  - path: /etc/c
    encoding: b64
    content: "***"
  - path: /etc/d
    encoding: gzip
    content: abc
  - path: /etc/e
    encoding: gz+b64
    content: aGVsbG8=
  - path: /etc/f
    content: !!binary |
      *
"#,
            &[
                "3:15: error: unknown encoding `base-64`; did you mean `base64`?",
                "5:15: error: unknown encoding `rot13`; known are `text/plain`, `base64`, `b64`, `gzip`, `gz`, `gzip+base64`, `gzip+b64`, `gz+base64` and `gz+b64`",
                "8:14: error: `content` cannot be decoded as `base64`: it has characters that base64 does not have, or is cut off",
                "11:14: error: `content` cannot be decoded as `gzip`: it is not gzip data; write it in base64, and `gzip+base64` as the encoding",
                "14:14: error: `content` cannot be decoded as `gzip+base64`: it is not gzip data",
                "16:14: error: `content` cannot be decoded as `!!binary`: it has characters that base64 does not have, or is cut off",
            ],
        ),
    ]);
}

#[test]
fn units() {
    check(&[
        (
            "coreos:
  units:
    - name: a
    - name: a.servce
    - name: a/b.service
    - enable: true
    - name: b.service
      command: strat
    - name: c.service
      command: kill
",
            &[
                "3:13: error: `a` is not a unit's name: it does not end in the kind of unit; such as `a.service`",
                "4:13: error: `a.servce` is not a unit's name: there are no units of the kind `servce`; did you mean `a.service`?",
                r"5:13: error: `a/b.service` is not a unit's name: only letters, digits and : - _ . \ @ are allowed",
                "6:7: error: this entry of `units` has no `name`",
                "8:16: error: unknown command `strat`; did you mean `start`?",
                "10:16: error: unknown command `kill`; it can be `start`, `stop`, `restart`, `reload`, `try-restart`, `reload-or-restart` or `reload-or-try-restart`",
            ],
        ),
        (
            r#"coreos:
  units:
    - name: a.service
      drop-ins:
        - name: x
          content: "[Unit]"
        - name: a.conf
        - content: "[Service]"
"#,
            &[
                "5:17: error: `x` is not a drop-in's name: it does not end in `.conf`; did you mean `x.conf`?",
                "7:11: error: this entry of `drop_ins` has no `content`",
                "8:11: error: this entry of `drop_ins` has no `name`",
            ],
        ),
        (
            r#"coreos:
  units:
    - name: d.network
      command: start
    - name: e@.service
      command: start
    - name: f.service
      mask: true
      enable: true
    - name: g.service
      content: |
        # what
        ExecStart=/bin/x
    - name: g.service
      content: "[Unit]"
    - name: h.service
      content: "[Unit]\0"
"#,
            &[
                "3:13: warning: `enable` and `command` have no effect on `d.network`: it is read, not started",
                "6:16: warning: `e@.service` is a template and has no instance to act on",
                "7:13: warning: `f.service` is masked: nothing else has an effect",
                "13:9: warning: what comes before the first section has no effect; a section begins with its name in brackets, such as `[Service]`",
                "14:13: warning: the unit `g.service` is given again: the first is on line 10, the last one counts",
                "17:16: error: `content` has a NUL character, which no unit can have",
            ],
        ),
    ]);
}

#[test]
fn variables() {
    check(&[
        (
            r#"write_files:
  - path: /etc/a
    content: "$private_ipx $private_ip4 ${private_ipv4:-x} $private_ivp4 \\$private_key"
"#,
            &[
                "3:15: error: unknown variable `$private_ipx`; did you mean `${private_ip}x`?",
                "3:28: error: unknown variable `$private_ip4`; did you mean `${private_ip}4`?",
                r"3:60: error: unknown variable `$private_ivp4`; did you mean `$private_ipv4`? If it is for a shell, write `\$private_ivp4`",
            ],
        ),
        (
            "hostname: node-$private_ip4
",
            &["1:16: error: unknown variable `$private_ip4`; did you mean `${private_ip}4`?"],
        ),
    ]);
}
