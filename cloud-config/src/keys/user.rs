//! `users`, and the keys that anyone logs in with.

use super::required;
use crate::config::{Spanned, User};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::source::lines;
use crate::syntax::ssh_key::{BadKey, key_line};
use crate::syntax::{name, password, path};
use crate::table::{KnownKey, Rule, Table, applied, ignored, nowhere};
use crate::tree::{Data, Entry, Node};

/// A user of whom not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    name: Option<Spanned<String>>,
    passwd: Option<Spanned<String>>,
    gecos: Option<String>,
    homedir: Option<String>,
    no_create_home: bool,
    primary_group: Option<String>,
    groups: Vec<Spanned<String>>,
    no_user_group: bool,
    system: bool,
    shell: Option<String>,
    ssh_authorized_keys: Vec<Spanned<String>>,
}

const USER: Table<Read<Draft>> = Table {
    place: "`users`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("name", |decoder, entry, user| user.name = user_name(decoder, entry)),
        applied("passwd", |decoder, entry, user| user.passwd = passwd(decoder, entry)),
        applied("gecos", |decoder, entry, user| user.gecos = gecos(decoder, entry)),
        applied("homedir", |decoder, entry, user| user.homedir = homedir(decoder, entry)),
        applied("no_create_home", |decoder, entry, user| {
            user.no_create_home = decoder.flag(entry).unwrap_or_default();
        }),
        applied("primary_group", |decoder, entry, user| {
            user.primary_group = user_name(decoder, entry).map(|group| group.value);
        }),
        applied("groups", |decoder, entry, user| user.groups = groups(decoder, entry)),
        applied("no_user_group", |decoder, entry, user| {
            user.no_user_group = decoder.flag(entry).unwrap_or_default();
        }),
        applied("system", |decoder, entry, user| {
            user.system = decoder.flag(entry).unwrap_or_default();
        }),
        applied("shell", |decoder, entry, user| user.shell = absolute(decoder, entry)),
        applied("ssh_authorized_keys", |decoder, entry, user| {
            user.ssh_authorized_keys = ssh_keys(decoder, entry);
        }),
        not_done("no_log_init", "is not applied: logins of the user are recorded", None),
        not_done("inactive", "is not applied: the account does not expire", None),
        not_done("expiredate", "is not applied: the account does not expire", None),
        not_done(
            "lock_passwd",
            "is not applied: the password is locked if there is no `passwd`",
            None,
        ),
        not_done(
            "sudo",
            "is not applied: no rights are given",
            Some("add the user to the group `sudo`"),
        ),
        not_done(
            "doas",
            "is not applied: no rights are given",
            Some("add the user to the group `sudo`"),
        ),
        not_done("selinux_user", "is not applied: there is no SELinux here", None),
        not_done("ssh_import_id", "is not applied: no keys are fetched", KEYS),
        not_done("coreos_ssh_import_github", "is not applied: no keys are fetched", KEYS),
        not_done("coreos_ssh_import_github_users", "is not applied: no keys are fetched", KEYS),
        not_done("coreos_ssh_import_url", "is not applied: no keys are fetched", KEYS),
        not_done("ssh_redirect_user", "is not applied: logins are not redirected", None),
        not_done("uid", "is not applied: the next free number is taken", None),
        not_done("create_groups", "is not applied: groups that do not exist are not made", None),
        not_done(
            "hashed_passwd",
            "is not applied: the password is not set",
            Some("write it as `passwd`"),
        ),
        not_done(
            "plain_text_passwd",
            "is not applied: the password is not set",
            Some("write a hash as `passwd`"),
        ),
        ignored("snapuser"),
    ],
};

const KEYS: Option<&str> = Some("list them as `ssh_authorized_keys`");

const fn not_done(
    name: &'static str,
    instead: &'static str,
    hint: Option<&'static str>,
) -> KnownKey<Read<Draft>> {
    KnownKey { name, rule: Rule::Ignored(instead, hint) }
}

/// Reads the list of users.
pub(super) fn users(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<User> {
    decoder.list(entry).iter().filter_map(|node| user(decoder, node)).collect()
}

fn user(decoder: &mut Decoder<'_>, node: &Node) -> Option<User> {
    if let Data::Scalar(scalar) = &node.data {
        match &*scalar.text {
            "default" => decoder.warn(node.span, "`default` adds nothing: `core` always exists"),
            name => decoder.report(
                Finding::error(node.span, "an entry of `users` must be a mapping")
                    .with_hint(format!("write {}", quoted(&format!("- name: {name}")))),
            ),
        }
        return None;
    }
    let mut draft = Draft::default();
    let whole = decoder.read(node, &USER, &mut draft);
    required(decoder, node, "`users`", "name");
    let name = draft.name.filter(|_| whole)?;
    Some(User {
        name,
        passwd: draft.passwd,
        gecos: draft.gecos,
        homedir: draft.homedir,
        no_create_home: draft.no_create_home,
        primary_group: draft.primary_group,
        groups: draft.groups,
        no_user_group: draft.no_user_group,
        system: draft.system,
        shell: draft.shell,
        ssh_authorized_keys: draft.ssh_authorized_keys,
    })
}

fn user_name(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    checked_name(decoder, text.spanned())
}

fn checked_name(decoder: &mut Decoder<'_>, text: Spanned<String>) -> Option<Spanned<String>> {
    match name::user(&text.value) {
        Ok(()) => Some(text),
        Err(mistake) => {
            decoder.report(mistake.error(text.span));
            None
        }
    }
}

/// A hash has dollar signs of its own: variables are not replaced in it.
fn passwd(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.literal_line("`passwd`", &entry.value)?;
    match password::hash(&text.value) {
        Ok(()) => Some(text),
        Err(why) => {
            decoder.report(
                Finding::error(text.span, format!("`passwd` {why}"))
                    .with_hint("make a hash with `mkpasswd --method=yescrypt`"),
            );
            None
        }
    }
}

fn gecos(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    if text.value.contains(':') {
        decoder.error(text.span, "`gecos` cannot contain `:`");
        return None;
    }
    Some(text.value)
}

fn homedir(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<String> {
    let home = absolute(decoder, entry)?;
    if let Err(mistake) = path::writable(&format!("{home}/x")) {
        let message = mistake.message.replace("file cannot be written", "`homedir` cannot be made");
        decoder.report(Finding { hint: mistake.hint, ..Finding::error(entry.value.span, message) });
        return None;
    }
    Some(home)
}

fn absolute(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<String> {
    let text = decoder.entry_line(entry)?;
    if let Err(why) = path::absolute(&text.value) {
        decoder.error(text.span, format!("{} {why}", quoted(&entry.key.written)));
        return None;
    }
    Some(text.value)
}

/// A list, or one text with commas, as cloud-init also has it.
fn groups(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Spanned<String>> {
    if let Data::Scalar(_) = entry.value.data {
        let Some(text) = decoder.entry_line(entry) else { return Vec::new() };
        let names = text.value.split(',').map(str::trim).filter(|name| !name.is_empty());
        return names
            .filter_map(|name| {
                let name = Spanned { value: name.to_owned(), span: text.span };
                checked_name(decoder, name)
            })
            .collect();
    }
    decoder
        .list(entry)
        .iter()
        .filter_map(|node| {
            let text = decoder.line("a group", node)?;
            checked_name(decoder, text.spanned())
        })
        .collect()
}

/// Reads a list of lines of `authorized_keys`; one value may hold several.
pub(super) fn ssh_keys(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Spanned<String>> {
    let mut keys = Vec::new();
    for node in decoder.list(entry) {
        let Some(text) = decoder.text("a key", node) else { continue };
        let mut found = false;
        for line in lines(&text.value).map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            found = true;
            match key_line(line) {
                Ok(doubt) => {
                    if let Some(doubt) = doubt {
                        decoder.report(doubt.warning(text.span));
                    }
                    keys.push(Spanned { value: line.to_owned(), span: text.span });
                }
                Err(BadKey::Mistake(mistake)) => decoder.report(mistake.error(text.span)),
                Err(BadKey::Private) => {
                    decoder.secret(text.span);
                    decoder.report(
                        Finding::error(text.span, "this is a private key, which must stay secret")
                            .with_hint("put the line of its `.pub` file here, and make a new pair"),
                    );
                    break;
                }
            }
        }
        if !found {
            decoder.error(text.span, "this key is empty");
        }
    }
    keys
}
