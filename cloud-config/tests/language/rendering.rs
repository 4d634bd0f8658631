//! Findings as a terminal shows them.

use cloud_config::{Document, Values};

#[test]
fn findings_are_shown_in_the_source() {
    let text = "#cloud-config
hostname: my_host
write_files:
  - path: /usr/lib/x
    contnet: |
      hello
    permissions: 420
coreos:
  units:
    - name: etcd.service
        command: start
\tenable: true
";
    let (_, findings) = Document::parse(text).decode(&Values::Unknown);
    let shown: Vec<_> = findings.iter().map(|f| f.render("user-data", text)).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    user-data:2:11: error: `my_host` is not a host name: `_` is not allowed
     2 | hostname: my_host
       |           ^^^^^^^
      = did you mean `my-host`?
    user-data:4:11: error: file cannot be written: /usr is read-only
     4 |   - path: /usr/lib/x
       |           ^^^^^^^^^^
      = writable are /etc, /var, /home, /root, /opt, /srv, /run, /tmp
    user-data:5:5: error: unknown key `contnet` in `write_files`
     5 |     contnet: |
       |     ^^^^^^^
      = did you mean `content`?
    user-data:7:18: warning: `420` is read as octal, which is mode 0420
     7 |     permissions: 420
       |                  ^^^
      = did you mean `"0644"`, which is 420 in decimal?
    user-data:11:9: warning: `command` is indented further than `name` above it; it is read as a key beside it
     11 |         command: start
        |         ^^^^^^^
      = begin both in column 7
    user-data:12:1: error: a tab cannot be used for indentation
     12 | 	enable: true
        | ^
      = use spaces
    "#);
}
