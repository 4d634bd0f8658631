//! What holds for every input: nothing panics, places are inside the text, and a text without
//! variables means the same wherever it is read.

use std::collections::BTreeMap;

use cloud_config::network::{self, Format};
use cloud_config::{
    Bundle, Document, Finding, Position, Values, config_static_addresses, has_errors,
};
use proptest::prelude::*;

/// Lines as the language counts them.
fn lines(text: &str) -> Vec<usize> {
    let breaks = text.replace("\r\n", "\n").replace('\r', "\n");
    breaks.split('\n').map(|line| line.chars().count()).collect()
}

fn assert_inside(text: &str, finding: &Finding) {
    let lines = lines(text);
    for Position { line, column } in [finding.span.start, finding.span.end] {
        assert!((1..=lines.len()).contains(&line), "{finding:?}\n{text:?}");
        assert!((1..=lines[line - 1] + 1).contains(&column), "{finding:?}\n{text:?}");
    }
    assert!(finding.span.start <= finding.span.end.max(finding.span.start));
    assert!(!finding.message.contains('\n') && !finding.message.ends_with('.'), "{finding:?}");
    assert!(finding.render("f", text).starts_with(&format!("f:{}:", finding.span.start.line)));
}

/// Everything that can be done with a text.
fn exercise(text: &str) {
    let document = Document::parse(text);
    let (config, findings) = document.decode(&Values::Unknown);
    findings.iter().for_each(|finding| assert_inside(text, finding));
    let sorted = findings.windows(2).all(|pair| pair[0].span.start <= pair[1].span.start);
    assert!(sorted, "{findings:#?}");
    let _ = config_static_addresses(&config);

    let nothing = BTreeMap::new();
    let (known, known_findings) = document.decode(&Values::Known(&nothing));
    known_findings.iter().for_each(|finding| assert_inside(text, finding));
    if document.variables().is_empty() {
        assert_eq!((known, known_findings), (config, findings), "{text:?}");
    }

    for format in Format::all() {
        let (network, findings) = network::parse(format, text);
        findings.iter().for_each(|finding| assert_inside(text, finding));
        let _ = network.to_networkd();
    }
}

const SEEDS: &[&str] = &[
    include_str!("fixtures/article.yaml"),
    include_str!("fixtures/hyphens.yaml"),
    "hostname: a\nusers:\n  - name: b\n    passwd: '*'\n    groups: [c, d]\nx: &x {a: b}\n<<: *x\n",
    "version: 2\nethernets:\n  eth0:\n    match: {macaddress: '52:54:00:12:34:56'}\n    set-name: l\n    addresses: [10.0.0.5/24]\n    gateway4: 10.0.1.1\n    routes: [{to: default, via: 10.0.0.2}]\n",
    "version: 1\nconfig:\n- type: bond\n  name: bond0\n  bond_interfaces: [a, b]\n  params: {bond-mode: 4}\n  subnets: [{type: static, address: 10.0.0.5, netmask: 255.255.255.0, gateway: 10.0.0.1}]\n- {type: nameserver, address: 10.0.0.53}\n",
    "{\"links\": [{\"id\": \"a\", \"type\": \"vlan\", \"vlan_id\": 5, \"vlan_link\": \"b\"}], \"networks\": [{\"link\": \"a\", \"type\": \"ipv4\", \"ip_address\": \"10.0.0.5\", \"netmask\": \"255.0.0.0\"}]}",
    "interface.0.name=eth0\ninterface.0.ip.0.address=10.0.0.5/24\ninterface.0.route.0.gateway=10.0.0.1\ndns.server.0=10.0.0.53\n",
    "auto eth0\niface eth0 inet static\n  address 10.0.0.5\n  netmask 255.0.0.0\n  post-up route add -net 10.0.0.0/8 gw 10.1.0.1\n  bond-slaves a b\n",
    "write_files:\n- path: /etc/a\n  content: >-\n    é $private_ip\n\n    \"b\"\n- {path: 'b', content: \"\\x24private_ip \\u0024public_ipx\"}\n",
];

/// Bits of text that YAML or this language makes something of.
const SCRAPS: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    "\t",
    "  ",
    " ",
    ": ",
    ":",
    "- ",
    "-",
    "#",
    " #",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "!!binary ",
    "!x ",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "<<: ",
    "~",
    "\\",
    "$private_ip",
    "${public_ipv6}",
    "$private_x",
    "\u{feff}",
    "\0",
    "\u{85}",
    "\u{2028}",
    "é",
    "名",
    "hostname",
    "coreos:",
    "units:",
    "name: ",
    "content: ",
    "0644",
];

#[derive(Debug, Clone)]
enum Edit {
    Insert(prop::sample::Index, usize),
    Delete(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), 0..SCRAPS.len()).prop_map(|(at, scrap)| Edit::Insert(at, scrap)),
        2 => (index(), 1..8usize).prop_map(|(at, count)| Edit::Delete(at, count)),
        1 => (index(), 1..40usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
        1 => index().prop_map(Edit::Cut),
    ]
}

fn mutated(seed: &str, edits: &[Edit]) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    for edit in edits {
        let length = text.len();
        let place = |at: &prop::sample::Index| at.index(length + 1);
        match edit {
            Edit::Insert(at, scrap) => {
                let at = place(at);
                text.splice(at..at, SCRAPS[*scrap].chars());
            }
            Edit::Delete(at, count) => {
                let at = place(at);
                text.drain(at..length.min(at + count));
            }
            Edit::Repeat(at, count) => {
                let at = place(at);
                let piece = text[at..length.min(at + count)].to_vec();
                text.splice(at..at, piece);
            }
            Edit::Cut(at) => text.truncate(place(at)),
        }
    }
    text.into_iter().collect()
}

/// Some parts of a message, encoded and not.
fn as_message(bytes: &[u8]) -> Vec<u8> {
    let start =
        b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n#cloud-config\n";
    let (one, two) = bytes.split_at(bytes.len() / 2);
    let between =
        b"\n--b\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: quoted-printable\n\n";
    [start, one, between, two, b"\n--b--\n"].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_recognised_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for bundle in [Bundle::local("f", &bytes), Bundle::local("f", &as_message(&bytes))] {
            let (_, findings) = bundle.decode(&Values::Unknown);
            for finding in &findings {
                prop_assert!(!bundle.line(finding).contains('\n'));
                prop_assert!(bundle.render(finding).starts_with("f"));
            }
        }
        let mut gzip = vec![0x1f, 0x8b, 8];
        gzip.extend(&bytes);
        prop_assert!(has_errors(&Bundle::local("f", &gzip).decode(&Values::Unknown).1));
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,80}", scraps in prop::collection::vec(0..SCRAPS.len(), 0..40)) {
        exercise(&text);
        let scraps: String = scraps.iter().map(|index| SCRAPS[*index]).collect();
        exercise(&scraps);
    }

    #[test]
    fn a_configuration_with_mistakes_is_survived(
        seed in 0..SEEDS.len(),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        exercise(&mutated(SEEDS[seed], &edits));
    }
}
