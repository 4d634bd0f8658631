use super::*;

const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What a text says and every finding, with what `fetch` knows by address.
fn read(text: &str, known: &[(&str, &str)]) -> (Config, Vec<String>, Bundle) {
    let mut fetch = |include: &Include| match known.iter().find(|(url, _)| *url == include.url) {
        Some((_, text)) => Ok(Some(text.as_bytes().to_vec())),
        None => Err(format!("cannot fetch {}", include.shown())),
    };
    let bundle = Bundle::read("f", text.as_bytes(), &mut fetch);
    let (config, findings) = bundle.decode(&Values::Unknown);
    let lines = findings.iter().map(|finding| bundle.line(finding)).collect();
    (config, lines, bundle)
}

fn message(parts: &[(&str, &str)]) -> String {
    let mut text =
        "Content-Type: multipart/mixed; boundary=\"b\"\nMIME-Version: 1.0\n\n".to_owned();
    for (headers, body) in parts {
        text.push_str(&format!("--b\n{headers}\n\n{body}\n"));
    }
    text + "--b--\n"
}

#[test]
fn all_parts_of_a_message_are_one_configuration() {
    let text = message(&[
        (
            "Content-Type: text/cloud-config",
            "#cloud-config\nhostname: a\nruncmd: [one]\nhostnme: x",
        ),
        ("Content-Type: text/x-shellscript", "#!/bin/sh\necho $private_ip"),
        (
            "Content-Type: text/cloud-config; name=b.yaml\nContent-Transfer-Encoding: base64",
            // runcmd: [two], zone_: x, hostname: b
            "I2Nsb3VkLWNvbmZpZwpydW5jbWQ6IFt0d29dCnpvbmVfOiB4Cmhvc3RuYW1lOiBiCg==",
        ),
        ("Content-Type: text/plain", "#cloud-config\nruncmd: [three]"),
        ("Content-Type: text/cloud-config", "runcmd: [four]"),
    ]);
    let (config, findings, bundle) = read(&text, &[]);
    let commands: Vec<_> = config.runcmd.iter().map(|command| command.value.as_str()).collect();
    assert_eq!(commands, ["one", "two", "three", "four"]);
    assert_eq!(config.hostname.unwrap().value, "b");
    assert_eq!(config.scripts[0].text, "#!/bin/sh\necho $private_ip\n");
    assert_eq!(
        findings,
        [
            "f:10:1: warning: unknown key `hostnme`; did you mean `hostname`?",
            "f, part 3 (b.yaml):3:1: warning: unknown key `zone_`; docs/cloud-config.md has \
             all that are known",
            "f, part 3 (b.yaml):4:1: warning: `hostname` is given again: the first is on line 8, \
             this one counts",
        ]
    );
    assert_eq!(bundle.variables()[0].span.start.line, 15);
    let (_, findings) = bundle.decode(&Values::Unknown);
    assert!(
        bundle.render(&findings[0]).contains(" 10 | hostnme: x\n"),
        "{}",
        bundle.render(&findings[0])
    );
    assert!(bundle.render(&findings[1]).contains(" 3 | zone_: x\n"));
}

#[test]
fn what_a_part_cannot_be_is_told() {
    let text = message(&[
        ("Content-Type: text/cloud-boothook", "#!/bin/sh"),
        ("Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64", "*"),
        ("Content-Type: text/plain", "hello"),
    ]);
    let (config, findings, _) = read(&text, &[]);
    assert_eq!(config, Config::default());
    assert_eq!(findings.len(), 3, "{findings:?}");
    assert!(
        findings[0].starts_with("f:7:1: error: a part of the type `text/cloud-boothook` is not")
    );
    assert!(findings[1].starts_with("f:12:1: error: part 2 of this message cannot be decoded"));
    assert!(
        findings[2].starts_with("f:16:1: error: the first line must be exactly"),
        "{findings:?}"
    );
}

#[test]
fn what_is_included_is_part_of_it() {
    let text =
        format!("#include\nhttps://a/one\nhttp://a/two sha256={HASH}\nhttps://a/three?t=s3cret\n");
    let known = [
        ("https://a/one", "#cloud-config\nhostname: one\n"),
        ("http://a/two", "#include\nhttps://a/one\n"),
    ];
    let (config, findings, _) = read(&text, &known);
    assert_eq!(config.hostname.unwrap().value, "one");
    assert_eq!(
        findings,
        [
            "f:4:1: error: cannot fetch https://a/three?...",
            "https://a/one:2:1: warning: `hostname` is given again: the first is on line 2, this \
             one counts",
        ]
    );
    let bundle = Bundle::local("f", text.as_bytes());
    assert_eq!(bundle.unfetched().len(), 3);
    assert!(!bundle.is_empty());
}

#[test]
fn includes_that_include_themselves_end() {
    let known = [("https://a/", "#include\nhttps://a/\nhttps://a/\n")];
    let (_, findings, _) = read("#include\nhttps://a/\n", &known);
    assert!(findings.iter().any(|line| line.ends_with("nested too deeply")), "{findings:?}");
}

#[test]
fn variables_of_scripts_are_replaced_or_told() {
    let bundle = Bundle::local("f", b"#!/bin/sh\necho $private_ipv4 \\$hostname ${zone:-z} $1\n");
    assert!(bundle.is_script());
    let values = [(crate::Variable::PrivateIpv4, "10.0.0.1".to_owned())].into();
    let (config, findings) = bundle.decode(&Values::Known(&values));
    assert_eq!(findings, []);
    assert_eq!(config.scripts[0].text, "#!/bin/sh\necho 10.0.0.1 $hostname z $1\n");
    let (config, findings) = bundle.decode(&Values::Known(&[].into()));
    assert_eq!(config.scripts, []);
    assert_eq!((findings[0].span.start.line, findings[0].span.start.column), (2, 6));
}
