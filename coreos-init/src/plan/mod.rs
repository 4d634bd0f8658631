//! Config + [`Context`] → [`Plan`]: what will be on the machine, decided and rendered before
//! the first byte of it is written.
//!
//! Nothing here touches anything: the same arguments give the same plan everywhere, so that a
//! workstation can show what a machine would do.

mod access; // accounts, and who may log in
mod action; // what a plan is made of
mod append; // files that something is added to
mod block; // a marked part of a file that others write too
mod context; // what it depends on besides the configuration
mod extension; // `coreos.extensions`
mod file; // `write_files`
mod group; // `groups`
mod install; // `[Install]`, and the links that enable a unit
mod line; // `KEY=value` files that others write too
mod old_service; // flannel, and the vendor's release file
mod password; // who logs in with which password, and until when
mod setting; // the machine's name, addresses and update settings
mod shell; // commands and scripts that are run once
mod storage; // swap and fstab
mod system; // the clock, the time zone, whom TLS trusts
mod unit; // units, drop-ins, networkd files, and what is asked of the service manager

use std::collections::{BTreeMap, BTreeSet};

use cloud_config::{Config, Finding, Span, UnitKind, has_errors};

pub use action::{Action, Content, Effect, HOME_MODE, Origin, Original, Owner, Plan, Skeleton};
pub(crate) use action::{file_name, parent};
pub use context::{Context, Existing, ExistingBytes, Facts, InstalledUnit};
pub(crate) use install::{also, template_of};
pub use system::{CA_BUNDLE, CA_DEFAULTS};

use crate::accounts::Accounts;
use crate::extension::merged::Expected;
use crate::ledger::{Ledger, Trace};
use crate::verbs::UnitJob;

/// Plans the whole configuration, or, where it or this machine has an error against it, what
/// [`rescue`] plans. `findings` are those of reading the configuration; the plan's own come on
/// top.
pub fn decide(config: &Config, findings: &[Finding], context: &Context) -> Plan {
    let whole = plan(config, context);
    if has_errors(findings) || has_errors(&whole.findings) {
        let mut plan = rescue(config, context);
        plan.findings = whole.findings;
        return plan;
    }
    whole
}

/// Plans the whole configuration. With error findings in the result it must not be applied.
pub fn plan(config: &Config, context: &Context) -> Plan {
    let mut draft = Draft::new(context);
    draft.hostname(config);
    draft.accounts(config, true);
    draft.keys(config);
    draft.files(config);
    draft.extensions(config);
    draft.update(config);
    draft.hosts(config);
    draft.environment(config);
    draft.clock(config);
    draft.trust(config);
    draft.storage(config);
    draft.network(config);
    draft.services(config);
    draft.old_services(config);
    draft.commands(config);
    draft.units(config);
    draft.removals();
    draft.finish()
}

/// Plans what lets a person reach a machine whose configuration is refused: its name, its
/// accounts and their keys, its network. Nothing an earlier configuration left is removed.
pub fn rescue(config: &Config, context: &Context) -> Plan {
    let mut draft = Draft::new(context);
    draft.hostname(config);
    draft.accounts(config, false);
    draft.keys(config);
    draft.network(config);
    let mut reachable = config.clone();
    reachable.units.retain(|unit| unit.kind == UnitKind::Network);
    draft.units(&reachable);
    let mut plan = draft.finish();
    plan.owned = plan.previous.joined(&plan.owned, Vec::new());
    plan
}

/// A plan being made.
struct Draft<'a> {
    context: &'a Context,
    accounts: Accounts,
    /// In order; none where a later action took over the path.
    actions: Vec<Option<Action>>,
    by_path: BTreeMap<String, usize>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    jobs: Vec<UnitJob>,
    scripts: Vec<String>,
    extensions: Vec<Expected>,
    owned: Ledger,
    /// Home directories of people, before and after.
    homes: BTreeSet<String>,
    hostname: Option<String>,
}

impl<'a> Draft<'a> {
    fn new(context: &'a Context) -> Draft<'a> {
        let facts = &context.facts;
        let text = |existing: &'a Option<context::Existing>| {
            existing.as_ref().map(|existing| existing.text.as_str())
        };
        let accounts = Accounts::parse(
            text(&facts.passwd).unwrap_or(""),
            text(&facts.group).unwrap_or(""),
            text(&facts.shadow).unwrap_or(""),
            text(&facts.gshadow),
        );
        let owned = Ledger {
            accounts: facts.ledger.accounts.clone(),
            groups: facts.ledger.groups.clone(),
            ..Ledger::default()
        };
        let mut draft = Draft {
            context,
            accounts,
            actions: Vec::new(),
            by_path: BTreeMap::new(),
            findings: Vec::new(),
            notes: Vec::new(),
            jobs: Vec::new(),
            scripts: Vec::new(),
            extensions: Vec::new(),
            owned,
            homes: BTreeSet::new(),
            hostname: None,
        };
        draft.note_homes();
        draft
    }

    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.find(Finding::warning(span, message));
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.find(Finding::error(span, message));
    }

    fn find(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Adds an action. A later one at the same path takes the place of an earlier.
    fn put(&mut self, path: String, origin: Origin, effect: Effect) {
        let home = self.home_of(&path);
        let action = Action { path, home, origin, effect };
        if let Some(earlier) = self.by_path.insert(action.path.clone(), self.actions.len()) {
            let earlier = self.actions[earlier].take();
            if let (Some(earlier), Some(span)) = (earlier, origin.span)
                && earlier.effect != action.effect
            {
                let (path, before, after) = (&action.path, earlier.origin, origin.section);
                self.warn(span, format!("`{path}` is given twice: {after} wins over {before}"));
            }
        }
        self.actions.push(Some(action));
    }

    /// A file that is the configuration's alone.
    fn put_file(&mut self, path: String, origin: Origin, content: impl Into<Vec<u8>>, mode: u32) {
        let content = Content(content.into());
        self.put(path, origin, Effect::File { content, mode, owner: Owner::ROOT, owned: true });
    }

    /// A file that is edited: what it was given by others stays.
    fn put_edited(
        &mut self,
        path: &str,
        origin: Origin,
        existing: Option<&Existing>,
        text: String,
        mode: u32,
    ) {
        if !self.is_planned(path) && existing.is_some_and(|existing| existing.text == text) {
            return;
        }
        let (mode, owner) = existing.map_or((mode, Owner::ROOT), |e| (e.mode, e.owner));
        let content = Content(text.into_bytes());
        let effect = Effect::File { content, mode, owner, owned: false };
        self.put(path.to_string(), origin, effect);
    }

    fn is_planned(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// Learns where people's homes are. What root owns is nobody's to tamper with.
    fn note_homes(&mut self) {
        let homes = self.accounts.homes().filter(|user| user.uid != 0);
        let homes = homes.map(|user| user.home.trim_end_matches('/'));
        self.homes.extend(homes.filter(|home| home.len() > 1).map(String::from));
    }

    /// The home directory that a path lies below.
    fn home_of(&self, path: &str) -> Option<String> {
        let mut directory = path;
        loop {
            directory = parent(directory);
            if directory == "/" {
                return None;
            }
            if self.homes.contains(directory) {
                return Some(directory.to_string());
            }
        }
    }

    /// What the last configuration owned and this one does not.
    fn removals(&mut self) {
        let facts = &self.context.facts;
        let gone: Vec<_> =
            facts.ledger.files.iter().filter(|(path, _)| !self.is_planned(path)).collect();
        let origin = Origin { section: "no longer configured", span: None, entry: None };
        for (path, forms) in gone {
            let original = facts.originals.get(path).cloned();
            let forms = forms.clone();
            self.put(path.clone(), origin, Effect::Remove { forms, original });
        }
    }

    fn finish(mut self) -> Plan {
        let actions: Vec<Action> = self.actions.into_iter().flatten().collect();
        for action in actions.iter().filter(|action| !action.path.starts_with("/run/")) {
            let trace = match &action.effect {
                Effect::File { content, owned: true, .. } => Trace::file(&content.0),
                Effect::Link { target } => Trace::link(target),
                _ => continue,
            };
            self.owned.files.insert(action.path.clone(), vec![trace]);
        }
        self.findings.sort_by_key(|finding| (finding.span.part, finding.span.start));
        Plan {
            actions,
            findings: self.findings,
            notes: self.notes,
            jobs: self.jobs,
            scripts: self.scripts,
            extensions: self.extensions,
            owned: self.owned,
            previous: self.context.facts.ledger.clone(),
        }
    }
}

/// The part of the configuration that is named by its place in it.
fn at(section: &'static str, span: Span) -> Origin {
    Origin { section, span: Some(span), entry: None }
}

/// The same, with all of the entry that stands there.
fn in_entry(section: &'static str, span: Span, entry: Span) -> Origin {
    Origin { section, span: Some(span), entry: Some(entry) }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
