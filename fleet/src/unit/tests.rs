//! The language, by tables.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::name::Parts;
use super::*;

fn read(name: &str, section: &str, mode: Mode) -> (Requirements, Vec<String>) {
    let body = format!("[Service]\nExecStart=/bin/true\n[X-Fleet]\n{section}");
    let file = UnitFile::parse(body.as_bytes()).expect("the syntax is right");
    let (requirements, findings) = Requirements::read(name, &file, mode);
    (requirements, findings.iter().map(ToString::to_string).collect())
}

/// What fleet understood.
fn lenient(section: &str) -> Requirements {
    read("web@1.service", section, Mode::Lenient).0
}

/// What is wrong with it.
fn strict(section: &str) -> Vec<String> {
    read("web@1.service", section, Mode::Strict).1
}

#[test]
fn names() {
    for good in ["a.service", "web@.service", "web@1.service", "a:b-c_d.e\\x2d.mount", "x.target"] {
        assert!(UnitName::parse(good).is_ok(), "{good}");
    }
    let long = format!("{}.service", "a".repeat(250));
    for bad in [
        "",
        "a",
        "a.",
        ".service",
        "a.txt",
        "a b.service",
        "a/b.service",
        "@.service",
        "@1.service",
        "a@b.mount",
        "ä.service",
        &long,
    ] {
        assert!(UnitName::parse(bad).is_err(), "{bad}");
    }
    let typed = |name: &str| UnitName::parse_typed(name).expect("a name").to_string();
    assert_eq!(typed("web"), "web.service");
    assert_eq!(typed("web@1"), "web@1.service");
    assert_eq!(typed("web.1"), "web.1.service");
    assert_eq!(typed("web.timer"), "web.timer");
    let name = UnitName::parse("web@a@b.c.service").expect("a name");
    assert_eq!(name.template().expect("an instance").as_str(), "web@.service");
    assert_eq!(name.parts().instance, Some("a@b.c"));
    assert!(UnitName::parse("web@.service").expect("a name").is_template());
}

#[test]
fn specifiers() {
    let parts = Parts::of("web@1.service").expect("it has a type");
    assert_eq!(parts.expand("%n %N %p %i %%"), "web@1.service web@1 web 1 %%");
    let parts = Parts::of("web.service").expect("it has a type");
    assert_eq!(parts.expand("%p-%i"), "web-");
    assert_eq!(lenient("MachineOf=db@%i.service").machine_of, ["db@1.service"]);
    // Without a type nothing is replaced.
    assert_eq!(read("web", "MachineOf=%p.service", Mode::Lenient).0.machine_of, ["%p.service"]);
}

#[test]
fn globs() {
    let table = [
        ("web@*.service", "web@1.service", true),
        ("web@*.service", "web@.service", true),
        ("*", "a/b", false),
        ("*", "", true),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        ("[!a]x", "!x", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("[\\]]", "]", true),
        ("[]a]", "]", false),
        ("[a-]", "a", false),
        ("[-a]", "a", false),
        ("[", "[", false),
        ("a[", "a", false),
        ("*[", "abc", false),
        ("\\", "\\", false),
        ("**b", "aab", true),
        ("*a*b", "xaxxb", true),
        ("*.service", "a.service", true),
        ("web.service", "web.service", true),
        ("web", "web.service", false),
        ("", "", true),
        ("", "a", false),
        // The first place that fits is taken; another is not tried.
        ("*[a/]*b", "a/b", false),
    ];
    for (pattern, name, matches) in table {
        assert_eq!(Glob::new(pattern).matches(name), matches, "{pattern} on {name}");
    }
}

#[test]
fn values_on_one_line() {
    let metadata = |section: &str| -> Vec<String> {
        let wanted = lenient(section).metadata;
        wanted
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |v| format!("{key}={v}")))
            .collect()
    };
    assert_eq!(metadata("MachineMetadata=a=1"), ["a=1"]);
    assert_eq!(metadata("MachineMetadata=\"a=1\" \"b=2\""), ["a=1", "b=2"]);
    assert_eq!(metadata("MachineMetadata=\"a=1 2\" \"b=2\""), ["a=1 2", "b=2"]);
    assert_eq!(
        metadata("MachineMetadata=\"a=1\"\nMachineMetadata=a=2\nX-ConditionMachineMetadata=b=3"),
        ["a=1", "a=2", "b=3"]
    );
    // fleet asked for nothing here.
    for nothing in ["a=b \"c=d\"", "a", "=a", "a=", "a=b=c", ""] {
        assert!(metadata(&format!("MachineMetadata={nothing}")).is_empty(), "{nothing}");
        assert!(!strict(&format!("MachineMetadata={nothing}")).is_empty(), "{nothing}");
    }
    assert_eq!(lenient("MachineOf=a.service b.service").machine_of, ["a.service b.service"]);
    assert_eq!(
        lenient("MachineOf=\"a.service\" \"b.service\"").machine_of,
        ["a.service", "b.service"]
    );
    let conflicts =
        lenient("Conflicts=a.service  b*\nConflicts=c\nX-Conflicts=\"d e\" \"f\"").conflicts;
    let patterns: BTreeSet<&str> = conflicts.iter().map(Glob::as_str).collect();
    assert_eq!(patterns, BTreeSet::from(["a.service", "b*", "c", "d", "e", "f"]));
}

#[test]
fn spellings_and_their_order() {
    let id = |section: &str| lenient(section).machine_id;
    assert_eq!(id("MachineID=a\nMachineID=b").as_deref(), Some("a"));
    assert_eq!(
        id("X-ConditionMachineBootID=c\nX-ConditionMachineID=b\nMachineID=a").as_deref(),
        Some("a")
    );
    assert_eq!(id("X-ConditionMachineBootID=c\nX-ConditionMachineID=b").as_deref(), Some("b"));
    assert_eq!(id("X-ConditionMachineBootID=c").as_deref(), Some("c"));
    assert_eq!(id("MachineId=a"), None);
    assert_eq!(lenient("X-ConditionMachineOf=a.service\nMachineOf=b.service").machine_of.len(), 2);
    for yes in ["true", "True", "YES", "1", "on", "t", "T"] {
        assert!(lenient(&format!("Global={yes}")).global, "{yes}");
    }
    for no in ["false", "y", "", "2", "enable"] {
        assert!(!lenient(&format!("Global={no}")).global, "{no}");
    }
    assert!(!lenient("Global=true\nGlobal=false").global);
    assert!(!lenient("X-Global=true").global);
}

#[test]
fn mistakes_are_errors_with_their_line() {
    assert_eq!(
        strict("MachineId=a"),
        ["4: unknown key `MachineId` in [X-Fleet], did you mean `MachineID`?"]
    );
    assert_eq!(strict("Weight=3"), ["4: unknown key `Weight` in [X-Fleet]"]);
    assert_eq!(
        strict("Conflicts=a\nMachineMetadata=region=us \"disk=ssd\""),
        ["5: MachineMetadata: `region=us \"disk=ssd\"` is not key=value"]
    );
    assert_eq!(strict("Global=maybe"), ["4: Global: `maybe` is neither true nor false"]);
    assert_eq!(
        strict("Conflicts=a["),
        ["4: Conflicts: `a[` is a malformed pattern, it matches nothing"]
    );
    assert!(strict("MachineOf=a.service b.service")[0].ends_with("write one MachineOf for each"));
    assert!(strict("MachineOf=a")[0].contains("must end in a type"));
    assert_eq!(strict("MachineID="), ["4: `MachineID` has an empty value"]);
    assert!(strict("Conflicts=a \\\nb")[0].contains("cannot go on in the next line"));
    let warnings = read("a.service", "MachineId=a", Mode::Lenient).1;
    assert_eq!(
        warnings,
        ["4: warning: unknown key `MachineId` in [X-Fleet], did you mean `MachineID`? (ignored)"]
    );
    // What an instance will fill in is no mistake of its template.
    assert!(
        read("web@.service", "MachineMetadata=hostname=%i\nMachineID=%i", Mode::Strict)
            .1
            .is_empty()
    );
    assert!(!read("web.service", "MachineMetadata=hostname=%i", Mode::Strict).1.is_empty());
}

#[test]
fn keys_that_fleet_did_not_have() {
    let (wanted, findings) = read(
        "web@1.service",
        "CPURequest=0.25\nMemoryRequest=512M\nSpread=rack\nUpdateMaxParallel=2\nUpdateMinHealthy=1\n\
         HealthCmd=curl -f \"http://localhost:%i/\"\nAutoRevert=yes\nOnPartition=stop-after=45s\nDrainTimeout=2min",
        Mode::Strict,
    );
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(wanted.cpu, Some(250));
    assert_eq!(wanted.memory, Some(512 << 20));
    assert_eq!(wanted.spread.as_deref(), Some("rack"));
    assert_eq!(
        wanted.update,
        Update { max_parallel: Some(2), min_healthy: Some(1), auto_revert: true }
    );
    assert_eq!(wanted.health.as_deref(), Some("curl -f \"http://localhost:1/\""));
    assert_eq!(wanted.on_partition, OnPartition::StopAfter(Duration::from_secs(45)));
    assert_eq!(wanted.drain_timeout, Some(Duration::from_secs(120)));
    for bad in [
        "CPURequest=much",
        "CPURequest=0",
        "CPURequest=1.2345",
        "CPURequest=-1",
        "MemoryRequest=1X",
        "MemoryRequest=0",
        "MemoryRequest=99999999999T",
        "UpdateMaxParallel=0",
        "UpdateMinHealthy=-1",
        "AutoRevert=maybe",
        "OnPartition=stop",
        "OnPartition=stop-after=2h",
        "DrainTimeout=soon",
        "Spread=a=b",
        "HealthCmd=",
        "CPURequest=99999999999999999999",
    ] {
        assert_eq!(strict(bad).len(), 1, "{bad}");
    }
    assert_eq!(read("a.service", "CPURequest=250m", Mode::Strict).0.cpu, Some(250));
    assert_eq!(read("a.service", "CPURequest=2", Mode::Strict).0.cpu, Some(2000));
}

#[test]
fn what_cannot_go_together() {
    for bad in [
        "MachineID=a\nMachineOf=b.service",
        "MachineID=a\nConflicts=b.service",
        "MachineID=a\nGlobal=true",
        "MachineID=a\nReplaces=b.service",
        "Global=true\nMachineOf=b.service",
        "Global=true\nReplaces=b.service",
        "Conflicts=a.service\nReplaces=b.service",
        "MachineOf=b.service\nConflicts=b*",
        "MachineOf=b.service\nReplaces=b*",
    ] {
        assert!(rejected(&lenient(bad)).is_some(), "{bad}");
    }
    for good in [
        "Global=true\nConflicts=b.service",
        "Global=true\nMachineMetadata=a=b",
        "MachineOf=a.service\nConflicts=b*",
        "MachineID=a\nMachineMetadata=a=b",
        "Replaces=a.service\nMachineOf=b.service",
    ] {
        assert_eq!(rejected(&lenient(good)), None, "{good}");
    }
}

#[test]
fn syntax() {
    let file = UnitFile::parse(
        b"# comment\n\n[Unit]\nDescription = a = b \r\n; other\n[Service]\nExecStart=/bin/sh -c \\\n  true\n\
          [Unit]\nAfter=x\n[X-Fleet]\n# Conflicts=a \\\nConflicts=b\nGlobal=true",
    )
    .expect("a unit file");
    let options: Vec<(&str, &str, &str, usize)> = file
        .options()
        .iter()
        .map(|o| (o.section.as_str(), o.name.as_str(), o.value.as_str(), o.line))
        .collect();
    assert_eq!(
        options,
        [
            ("Unit", "Description", "a = b", 4),
            ("Service", "ExecStart", "/bin/sh -c \\\n  true", 7),
            ("Unit", "After", "x", 10),
            ("X-Fleet", "Global", "true", 14),
        ]
    );
    for (body, message) in [
        (&b"a=b\n[Unit]\n"[..], "1: an option before the first section"),
        (b"[Unit\n", "1: a section without its `]`"),
        (b"[Unit] x\n", "1: text behind the section [Unit]"),
        (b"[Unit]\nfoo\n", "2: `foo` is no option: `=` is missing"),
        (b"[Unit]\n\xff\n", "2: not UTF-8"),
        (b"[Unit]\na=\0\n", "2: a zero byte: this is not a unit file"),
    ] {
        let findings = UnitFile::parse(body).expect_err("it is wrong");
        assert_eq!(findings[0].to_string(), message);
    }
    let large = vec![b'#'; 1 << 20];
    assert!(UnitFile::parse(&large).expect_err("too large")[0].message.contains("at most 524288"));
}

#[test]
fn old_files_are_read_from_their_first_section_on() {
    let body = "Written by hand, see [the page\n[Unit]\nA=1\n[X-Fleet]\nGlobal=true\n";
    for (body, expected) in [
        (body.replace("[the page", "the page"), Some("Unit:A=1@3 X-Fleet:Global=true@5")),
        ("# [Old] \\\n[Older]\nx\n[Unit]\nA=1\n".to_string(), Some("Unit:A=1@5")),
        ("x ; [No]\n x [Unit]\r\nA=1 \r\n\r\nB=2\r\n".to_string(), Some("Unit:A=1@3 Unit:B=2@5")),
        ("no section at all\n".to_string(), Some("")),
        (body.to_string(), Some("the page\n[Unit:A=1@3 X-Fleet:Global=true@5")),
        ("[Unit\nA=1\n[X-Fleet]\nB=2\n".to_string(), Some("Unit\nA=1\n[X-Fleet:B=2@4")),
        ("[Unit\nA=1\n".to_string(), None),
        ("[Unit\nA=1] x\n".to_string(), None),
        ("x\n[Unit] y\n".to_string(), None),
        ("x\n[Unit]\nfoo\n".to_string(), None),
    ] {
        assert!(UnitFile::read(body.as_bytes(), Mode::Strict).is_err(), "{body}");
        let read = UnitFile::read(body.as_bytes(), Mode::Lenient).ok();
        let got = read.as_ref().map(|file| {
            assert_eq!(file.text(), body);
            assert!(!file.ignored().is_empty(), "{body}");
            let options = file.options().iter();
            let shown = options.map(|o| format!("{}:{}={}@{}", o.section, o.name, o.value, o.line));
            shown.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(got.as_deref(), expected, "{body}");
    }
    // What is right is read the same way, and a file of DOS's is right.
    let body = b"# a \\\r\n[Unit]\r\nA=b \\\r\n  c\r\n";
    let strict = UnitFile::parse(body).expect("a unit file");
    assert_eq!(UnitFile::read(body, Mode::Lenient), Ok(strict.clone()));
    assert_eq!(strict.options()[0].value, "b \\\n  c");
}

#[test]
fn options_become_a_file_as_fleet_wrote_it() {
    let file =
        UnitFile::from_options([("Unit", "A", "1"), ("Service", "B", "2"), ("Unit", "C", "3")]);
    assert_eq!(file.text(), "[Unit]\nA=1\nC=3\n\n[Service]\nB=2\n");
    assert_eq!(file.options().len(), 3);
}

#[test]
fn only_what_systemd_reads_restarts_a_unit() {
    let parse = |text: &str| UnitFile::parse(text.as_bytes()).expect("a unit file");
    let old = parse("[Service]\nExecStart=/a\n[X-Fleet]\nConflicts=b\n");
    assert!(
        old.same_for_systemd(&parse("# new\n[Service]\nExecStart=/a\n[X-Fleet]\nConflicts=c\n"))
    );
    assert!(!old.same_for_systemd(&parse("[Service]\nExecStart=/b\n[X-Fleet]\nConflicts=b\n")));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(file) = UnitFile::parse(&bytes) {
            prop_assert_eq!(file.text().as_bytes(), &bytes[..]);
            let _ = Requirements::read("a@b.service", &file, Mode::Strict);
        }
    }

    #[test]
    fn any_section_is_read(text in "(MachineID|Conflicts|MachineOf|MachineMetadata|CPURequest|OnPartition|X)=[ -~]{0,30}\n(Global|Replaces|DrainTimeout)=[ -~]{0,20}") {
        let (wanted, findings) = read("a@b.service", &text, Mode::Strict);
        // What is accepted is understood the same way by both readers.
        if findings.iter().all(|finding| finding.contains("warning")) {
            prop_assert_eq!(wanted, read("a@b.service", &text, Mode::Lenient).0);
        }
    }

    #[test]
    fn any_pattern_is_matched(pattern in "[a-c*?\\[\\]^\\\\-]{0,12}", name in "[a-c/]{0,12}") {
        let glob = Glob::new(&pattern);
        prop_assert!(glob.is_well_formed() || !glob.matches(&name));
    }
}
