//! fleet's spellings of a flag → the one that clap takes.

use std::ffi::OsString;

/// Long flags that may be written with one dash, as with fleet's early versions, and whether
/// they take a value.
const LONG: [(&str, bool); 33] = [
    ("block-attempts", true),
    ("ca-file", true),
    ("cert-file", true),
    ("debug", false),
    ("driver", true),
    ("endpoint", true),
    ("etcd-cafile", true),
    ("etcd-certfile", true),
    ("etcd-key-prefix", true),
    ("etcd-keyfile", true),
    ("experimental-api", true),
    ("fields", true),
    ("follow", false),
    ("forward-agent", false),
    ("full", false),
    ("help", false),
    ("key-file", true),
    ("known-hosts-file", true),
    ("lines", true),
    ("machine", true),
    ("no-block", false),
    ("no-legend", false),
    ("output", true),
    ("replace", false),
    ("request-timeout", true),
    ("sign", false),
    ("ssh-port", true),
    ("ssh-timeout", true),
    ("ssh-username", true),
    ("strict-host-key-checking", true),
    ("sudo", false),
    ("tunnel", true),
    ("unit", true),
];

/// Flags that a variable sets, without the dashes.
pub(super) const FROM_ENVIRONMENT: [&str; 12] = [
    "endpoint",
    "tunnel",
    "ssh-username",
    "ssh-timeout",
    "known-hosts-file",
    "strict-host-key-checking",
    "request-timeout",
    "driver",
    "key-file",
    "cert-file",
    "ca-file",
    "etcd-key-prefix",
];

/// The words as clap takes them: `-no-legend`, `--l` and `--full=true` become `--no-legend`,
/// `--full` and `--full`; `--full=false` goes. Behind `--`, and behind the first word for `ssh`
/// that is no flag, nothing is changed. `words` is without the program's name.
pub fn normalize(words: Vec<OsString>) -> Vec<OsString> {
    let mut done = Vec::new();
    let mut words = words.into_iter();
    let mut command: Option<String> = None;
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            done.push(word);
            continue;
        };
        let free = !text.starts_with('-') && !takes_next(done.last());
        if text == "--" || (free && command.as_deref() == Some("ssh")) {
            done.push(word);
            done.extend(words);
            return done;
        }
        if free && command.is_none() {
            command = Some(text.to_string());
        }
        done.extend(one_word(text).map(OsString::from));
    }
    done
}

/// Whether the word before is a flag that takes this one as its value.
fn takes_next(before: Option<&OsString>) -> bool {
    let Some(flag) = before.and_then(|word| word.to_str()?.strip_prefix("--")) else {
        return false;
    };
    LONG.iter().any(|(name, value)| *value && *name == flag)
}

fn one_word(word: &str) -> Option<String> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    let Some(name) = name else { return Some(word.to_string()) };
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    let name = match (name, word.starts_with("--")) {
        ("l", true) => "full",
        ("f", true) => "follow",
        ("h", true) => "help",
        ("A", true) => "forward-agent",
        (name, _) => name,
    };
    let Some((_, takes)) = LONG.iter().find(|(known, _)| *known == name) else {
        return Some(word.to_string());
    };
    match (takes, value) {
        (false, Some("true" | "1")) | (_, None) => Some(format!("--{name}")),
        (false, Some("false" | "0")) => None,
        (_, Some(value)) => Some(format!("--{name}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::arguments::{Arguments, Command};
    use super::*;

    fn parsed(line: &str) -> Arguments {
        let words = normalize(line.split_whitespace().map(OsString::from).collect());
        let words = std::iter::once(OsString::from("fleetctl")).chain(words);
        Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn both_spellings_of_a_flag() {
        for line in [
            "list-units -l -fields active -no-legend",
            "list-units --l --fields=active --no-legend=true",
            "list-units -full -fields=active --no-legend",
            "list-units --full=true -fields active -no-legend --debug=false",
        ] {
            let Command::ListUnits(list) = parsed(line).command else { panic!("{line}") };
            assert!(list.full && list.no_legend, "{line}");
            assert_eq!(list.fields.as_deref(), Some("active"), "{line}");
        }
    }

    #[test]
    fn global_flags_anywhere_and_the_last_one_counts() {
        let line = "-endpoint http://a:1 start -no-block --endpoint=http://b:2 x.service";
        let arguments = parsed(line);
        assert_eq!(arguments.global.endpoint, "http://b:2");
        let Command::Start(change) = arguments.command else { panic!("not start") };
        assert!(change.wait.no_block);
        assert_eq!(change.submit.units, ["x.service"]);
        assert!(parsed("version").global.strict_host_key_checking);
        assert!(!parsed("-strict-host-key-checking=false version").global.strict_host_key_checking);
    }

    #[test]
    fn what_ssh_runs_is_left_alone() {
        let Command::Ssh(ssh) = parsed("ssh -A abc ls -full --l").command else {
            panic!("not ssh")
        };
        assert!(ssh.forward_agent);
        assert_eq!(ssh.words, ["abc", "ls", "-full", "--l"]);
        let Command::Ssh(ssh) = parsed("ssh --machine abc ls -full").command else {
            panic!("not ssh")
        };
        assert_eq!(ssh.machine.as_deref(), Some("abc"));
        assert_eq!(ssh.words, ["ls", "-full"]);
    }

    #[test]
    fn a_command_may_be_shortened() {
        assert!(matches!(parsed("list-m").command, Command::ListMachines(_)));
        assert!(matches!(parsed("watch").command, Command::Top(_)));
    }
}
