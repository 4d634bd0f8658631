//! Mistakes of syntax.

use super::check;

#[test]
fn mistakes_of_syntax_are_explained() {
    check(&[
        (
            "hostname: a
hostname: b
ssh-authorized-keys: []
ssh_authorized_keys: []
",
            &[
                "2:1: error: the key `hostname` is given twice; the first is on line 1",
                "4:1: error: the key `ssh_authorized_keys` is given twice; the first is on line 3",
            ],
        ),
        (
            "hostname: a
---
hostname: b
",
            &[
                "2:1: error: a second document starts here; a configuration is one document: remove this `---`",
            ],
        ),
        (
            "hostname: a\n\tusers: b\n\twrite_files: c\n",
            &[
                "2:1: error: a tab cannot be used for indentation; use spaces",
                "3:1: error: a tab cannot be used for indentation; use spaces",
            ],
        ),
        (
            "users:\n  - name: x\n  \tgecos: y\n",
            &["3:3: error: a tab cannot be used for indentation; use spaces"],
        ),
        (
            r#"hostname: "a
users: []
"#,
            &[
                "1:11: error: this quote is not closed before the next line; close it, or indent the line that it goes on in",
            ],
        ),
        (
            "hostname: [a
users: []
",
            &[
                "1:11: error: `hostname` must be text, found a list",
                "2:6: error: a `:` cannot stand here; is a bracket or a quote left open before it?",
            ],
        ),
        (
            "hostname: a: b
",
            &[
                "1:12: error: a second `key: value` in one place; check the indentation, or quote a value that contains `: `",
            ],
        ),
        (
            "hostname: @a
",
            &["1:11: error: a value cannot begin with `@`; quote it"],
        ),
        (
            "hostname: *a
",
            &[
                "1:11: error: this alias names an anchor that does not exist; quote a value that begins with `*`",
            ],
        ),
        (
            "a: &a [*a]
",
            &[
                "1:1: warning: unknown key `a`; docs/cloud-config.md has all that are known",
                "1:8: error: this alias contains itself",
            ],
        ),
        (
            r#"hostname: "\d"
"#,
            &[
                "1:11: error: unknown escape between double quotes; double the backslash, or use single quotes",
            ],
        ),
        (
            "hostname: !foo a
",
            &[
                "1:11: error: the tag `!foo` means nothing here; quote the value if it begins with `!`",
            ],
        ),
        (
            "? [a]
: b
",
            &["1:3: error: a key cannot be a list; quote a value that begins with `{` or `[`"],
        ),
        (
            "users:
  - name: a
  passwd: x
",
            &[
                "3:3: error: this does not fit its surroundings: a `- ` was expected; entries of one list begin in the same column",
            ],
        ),
        (
            "hostname: a
<<: b
",
            &["2:1: error: `<<` takes mappings; name one by its anchor: `<<: *name`"],
        ),
        (
            "coreos:
  units:
    - {name: a.service]
",
            &[
                "3:23: error: this `{` mapping is not closed: `,` or `}` was expected; close it, or quote the value",
            ],
        ),
    ]);
}

#[test]
fn a_key_that_is_indented_too_far_is_read_as_it_was_meant() {
    check(&[
        (
            r#"units:
  - name: "etcd.service"
      command: start
"#,
            &[
                "1:1: warning: `units` belongs under `coreos`; it is applied all the same; move it to `coreos`, indented like its other keys",
                "3:7: warning: `command` is indented further than `name` above it; it is read as a key beside it; begin both in column 5",
            ],
        ),
        (
            "hostname: a
  users: []
",
            &[
                "2:3: warning: `users` is indented further than `hostname` above it; it is read as a key beside it; begin both in column 1",
            ],
        ),
        (
            "coreos:
  units:
    - name: a.service
        command: start
        content: |
          [Service]
          Environment=A=$private_ipx
",
            &[
                "4:9: warning: `command` is indented further than `name` above it; it is read as a key beside it; begin both in column 7",
                "7:25: error: unknown variable `$private_ipx`; did you mean `${private_ip}x`?",
            ],
        ),
    ]);
}
