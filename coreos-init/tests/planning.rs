//! Whatever somebody writes into a configuration, it is planned without a panic and the plan
//! keeps to its promises.

use std::collections::BTreeSet;

use cloud_config::{Document, Values, Variable};
use coreos_init::ledger::Ledger;
use coreos_init::plan::{
    Action, Context, Effect, Existing, Facts, InstalledUnit, Owner, Plan, plan, rescue,
};
use proptest::prelude::*;

const FIXTURES: [&str; 2] =
    [include_str!("fixtures/everything.yaml"), include_str!("fixtures/article.yaml")];

/// What gets into a file by mistake or by malice.
const FRAGMENTS: [&str; 24] = [
    "",
    " ",
    "\n",
    ":",
    "-",
    "#",
    "/",
    "..",
    "%",
    "@",
    "\\",
    "\"",
    "[]",
    "{}",
    "null",
    "true",
    "0",
    "root",
    "core",
    "/dev/null",
    "\u{0}",
    "é",
    "[Install]",
    "name: ../../etc/passwd\n",
];

#[derive(Debug, Clone)]
struct Edit {
    at: prop::sample::Index,
    cut: usize,
    insert: &'static str,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = (any::<prop::sample::Index>(), 0_usize..12, prop::sample::select(&FRAGMENTS[..]));
    prop::collection::vec(edit.prop_map(|(at, cut, insert)| Edit { at, cut, insert }), 0..8)
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for Edit { at, cut, insert } in edits {
        let start = at.index(chars.len() + 1);
        let end = (start + cut).min(chars.len());
        chars.splice(start..end, insert.chars());
    }
    chars.into_iter().collect()
}

fn context() -> Context {
    let existing =
        |text: &str| Some(Existing { text: text.to_string(), mode: 0o644, owner: Owner::ROOT });
    let installed = |name: &str| {
        let path = format!("/usr/lib/systemd/system/{name}");
        (name.to_string(), InstalledUnit { path, text: "[Install]\nWantedBy=a.target\n".into() })
    };
    Context {
        values: [(Variable::PrivateIpv4, "10.0.0.1".to_string())].into(),
        facts: Facts {
            passwd: existing(
                "root:x:0:0::/root:/bin/sh\nnonsense\ncore:x:500:500::/home/core:/bin/sh\n",
            ),
            group: existing("root:x:0:\ndocker:x:998:\n"),
            shadow: existing(""),
            units: [installed("etcd.service"), installed("docker.service")].into(),
            ..Facts::default()
        },
        ..Context::default()
    }
}

fn keeps_its_promises(plan: &Plan, context: &Context) -> Result<(), TestCaseError> {
    let mut paths = BTreeSet::new();
    for action in &plan.actions {
        prop_assert!(action.path.starts_with('/'), "{action}");
        prop_assert!(action.path.split('/').all(|part| part != ".."), "{action}");
        prop_assert!(paths.insert(&action.path), "twice: {action}");
        if let Effect::File { content, .. } = &action.effect
            && action.path == "/etc/passwd"
        {
            let text = std::str::from_utf8(&content.0).unwrap();
            let before = context.facts.passwd.as_ref().map_or("", |file| file.text.as_str());
            let roots = |text: &str| {
                text.lines().filter(|line| line.split(':').nth(2) == Some("0")).count()
            };
            prop_assert_eq!(roots(text), roots(before), "{}", text);
        }
    }
    let text = plan.owned.text();
    prop_assert_eq!(&Ledger::parse(&text).unwrap(), &plan.owned);
    prop_assert!(plan.owned.files.keys().all(|path| !path.starts_with("/run/")));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_config_can_be_planned(
        fixture in prop::sample::select(&FIXTURES[..]),
        edits in edits(),
    ) {
        let document = Document::parse(&edited(fixture, &edits));
        let context = context();
        for values in [Values::Unknown, Values::Known(&context.values)] {
            let (config, _) = document.decode(&values);
            for context in [&context, &Context::default()] {
                keeps_its_promises(&plan(&config, context), context)?;
                keeps_its_promises(&rescue(&config, context), context)?;
            }
        }
    }

    #[test]
    fn a_plan_that_was_carried_out_removes_nothing(edits in edits()) {
        let document = Document::parse(&edited(FIXTURES[0], &edits));
        let mut context = context();
        let (config, _) = document.decode(&Values::Known(&context.values));
        context.facts.ledger = plan(&config, &context).owned;
        let again = plan(&config, &context);
        let removes = |action: &Action| matches!(action.effect, Effect::Remove { .. });
        prop_assert!(!again.actions.iter().any(removes));
        prop_assert_eq!(&again.owned.files, &context.facts.ledger.files);
    }
}
