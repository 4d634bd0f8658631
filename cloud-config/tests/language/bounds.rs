//! What is too large, too deep or too many is refused, with little said.

use std::fmt::Write as _;

use cloud_config::{Document, MAX_USER_DATA, Values, has_errors};

use crate::support::{decode, findings, lines};

#[test]
fn a_text_that_is_too_large_is_one_finding() {
    let text = "hostname: a\n".repeat(10 << 20 >> 3);
    assert!(text.len() > MAX_USER_DATA);
    let (config, found) = decode(&text);
    assert_eq!(config.hostname, None);
    let found = lines(&found);
    assert!(matches!(&found[..], [one] if one.starts_with("1:1: error:")), "{found:?}");
}

#[test]
fn aliases_of_aliases_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = format!("*a{}", level - 1);
        let list = vec![below; 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{list}]").unwrap();
    }
    let errors: Vec<_> =
        findings(&text).into_iter().filter(|line| line.contains("error")).collect();
    assert_eq!(errors, ["4:5: error: anchors and aliases stand for more than 20000 values"]);
}

#[test]
fn long_text_cannot_be_multiplied_by_aliases() {
    let mut text = format!("a: &a {}\nwrite_files:\n", "x".repeat(1 << 20));
    for index in 0..1000 {
        writeln!(text, "  - {{path: /etc/f{index}, content: *a}}").unwrap();
    }
    let (config, found) = decode(&text);
    assert!(has_errors(&found));
    assert!(config.write_files.len() < 10);
}

#[test]
fn nesting_has_an_end() {
    for (text, want) in [
        (format!("a: {}", "[".repeat(1000)), "nested too deeply"),
        ("- ".repeat(1000), "nested deeper than 64 levels"),
        ("[".repeat(200_000), "brackets, colons and commas in one line"),
    ] {
        let found = findings(&text);
        assert!(found.iter().any(|line| line.contains(want)), "{found:?}");
    }
}

#[test]
fn many_mistakes_are_counted_not_listed() {
    let text: String = (0..5000).fold(String::new(), |mut text, index| {
        writeln!(text, "k{index}: 1").unwrap();
        text
    });
    let (_, found) = Document::parse(&text).decode(&Values::Unknown);
    assert_eq!(found.len(), 201);
    assert_eq!(found[200].message, "4800 further findings are not shown");
    assert!(!has_errors(&found));
}

#[test]
fn files_have_a_size_together() {
    // 12 MiB of zeros, compressed.
    let zeros = {
        use base64::Engine as _;
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 12 << 20]).unwrap();
        base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap())
    };
    let mut text = "write_files:\n".to_owned();
    for index in 0..4 {
        writeln!(text, "  - {{path: /etc/f{index}, encoding: gz+b64, content: {zeros}}}").unwrap();
    }
    let (config, found) = decode(&text);
    assert_eq!(config.write_files.len(), 2);
    assert!(found.iter().all(|finding| finding.message.ends_with("too large when unpacked")));
}
