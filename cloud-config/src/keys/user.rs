//! `users`, and the keys that anyone logs in with.

use super::{key_source, required};
use crate::config::{Config, KeySource, Spanned, User};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::outline::Shape;
use crate::source::lines;
use crate::syntax::ssh_key::{BadKey, key_line};
use crate::syntax::{check, date, name, password, path, sudoers};
use crate::table::{Table, idle, key, nowhere, without};
use crate::tree::{Data, Entry, Node};

/// A user of whom not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    name: Option<Spanned<String>>,
    passwd: Option<Spanned<String>>,
    clear: Option<Spanned<String>>,
    gecos: Option<String>,
    homedir: Option<String>,
    no_create_home: bool,
    primary_group: Option<String>,
    groups: Vec<Spanned<String>>,
    no_user_group: bool,
    system: bool,
    shell: Option<String>,
    uid: Option<Spanned<u32>>,
    lock_passwd: bool,
    inactive: Option<u32>,
    expires: Option<u32>,
    sudo: Vec<Spanned<String>>,
    ssh_authorized_keys: Vec<Spanned<String>>,
    key_sources: Vec<KeySource>,
}

const USER: Table<Read<Draft>> = Table {
    place: "`users`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("name", Shape::Text, "The login name.", |decoder, entry, user| {
            user.name = user_name(decoder, entry);
        }),
        key("passwd", Shape::Text, "A crypt(5) hash.", |decoder, entry, user| {
            user.passwd = passwd(decoder, entry);
        }),
        key("hashed_passwd", Shape::Text, "The same as `passwd`.", |decoder, entry, user| {
            user.passwd = passwd(decoder, entry);
        }),
        key("plain_text_passwd", Shape::Text, "A password in clear.", |d, entry, user| {
            user.clear = d.literal_line("`plain_text_passwd`", &entry.value);
        }),
        key("lock_passwd", Shape::Flag, "Nobody logs in with the password.", |d, e, user| {
            user.lock_passwd = d.flag(e).unwrap_or_default();
        }),
        key("gecos", Shape::Text, "About the person.", |decoder, entry, user| {
            user.gecos = gecos(decoder, entry);
        }),
        key("homedir", Shape::Text, "/home/NAME", |decoder, entry, user| {
            user.homedir = homedir(decoder, entry);
        }),
        key("no_create_home", Shape::Flag, "No home is made.", |decoder, entry, user| {
            user.no_create_home = decoder.flag(entry).unwrap_or_default();
        }),
        key("primary_group", Shape::Text, "Instead of one of its own.", |d, entry, user| {
            user.primary_group = user_name(d, entry).map(|group| group.value);
        }),
        key("groups", NAMES, "Further groups.", |decoder, entry, user| {
            user.groups.extend(name_list(decoder, entry));
        }),
        key("no_user_group", Shape::Flag, "No group of its own.", |decoder, entry, user| {
            user.no_user_group = decoder.flag(entry).unwrap_or_default();
        }),
        key("system", Shape::Flag, "An id below 1000.", |decoder, entry, user| {
            user.system = decoder.flag(entry).unwrap_or_default();
        }),
        key("shell", Shape::Text, "/bin/bash", |decoder, entry, user| {
            user.shell = absolute(decoder, entry);
        }),
        key("uid", Shape::Whole(1), "The user's number.", |decoder, entry, user| {
            user.uid = number(decoder, entry, "a number from 1 to 4294967293", |uid| {
                (1..u32::MAX - 1).contains(&uid)
            });
        }),
        key("inactive", Shape::Whole(0), INACTIVE, |decoder, entry, user| {
            let days = number(decoder, entry, "a number of days", |days| days < 100_000);
            user.inactive = days.map(|days| days.value);
        }),
        key("expiredate", Shape::Text, "The last day, YYYY-MM-DD.", |decoder, entry, user| {
            user.expires = expiry(decoder, entry);
        }),
        key("sudo", SUDO, "Rules of sudoers(5), without the name.", |decoder, entry, user| {
            user.sudo.extend(sudo(decoder, entry));
        }),
        key("ssh_authorized_keys", NAMES, "Public keys.", |decoder, entry, user| {
            user.ssh_authorized_keys.extend(ssh_keys(decoder, entry));
        }),
        key("ssh_import_id", NAMES, "`gh:NAME` or `lp:NAME`.", |decoder, entry, user| {
            user.key_sources.extend(key_source::of_ids(decoder, entry));
        }),
        key("coreos_ssh_import_github", Shape::Text, "A user of GitHub.", |d, entry, user| {
            user.key_sources.extend(key_source::of_github(d, entry));
        }),
        key("coreos_ssh_import_github_users", NAMES, "Users of GitHub.", |d, entry, user| {
            user.key_sources.extend(key_source::of_github(d, entry));
        }),
        key("coreos_ssh_import_url", Shape::Text, "An address of keys.", |d, entry, user| {
            user.key_sources.extend(key_source::of_url(d, entry));
        }),
        idle("no_log_init", Shape::Flag, "Logins are recorded in any case."),
        without("doas", "is not applied: there is no doas here", Some("give rights by `sudo`")),
        without("selinux_user", "is not applied: there is no SELinux here", None),
        without("ssh_redirect_user", "is not applied: logins are not redirected", None),
        without("create_groups", "is not applied: groups are made by `groups` at the top", None),
        without("snapuser", "is not applied: there are no snaps here", None),
    ],
};

const INACTIVE: &str = "Days after which an expired password locks the account.";
const NAMES: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);
const SUDO: Shape = Shape::Either(&[Shape::Text, Shape::Flag, Shape::List(&Shape::Text)]);
const ONE: Shape =
    Shape::Either(&[Shape::Words(&["default"]), Shape::Keys(|| USER.outline(&["name"]))]);
pub(super) const SHAPE: Shape = Shape::List(&ONE);

/// Reads the list of users into a configuration.
pub(super) fn users(decoder: &mut Decoder<'_>, entry: &Entry, config: &mut Config) {
    for node in decoder.list(entry) {
        user(decoder, node, config);
    }
}

fn user(decoder: &mut Decoder<'_>, node: &Node, config: &mut Config) {
    if let Data::Scalar(scalar) = &node.data {
        match &*scalar.text {
            "default" => {} // the user `core`, who always exists
            name => decoder.report(
                Finding::error(node.span, "an entry of `users` must be a mapping")
                    .with_hint(format!("write {}", quoted(&format!("- name: {name}")))),
            ),
        }
        return;
    }
    let mut draft = Draft::default();
    let whole = decoder.read(node, &USER, &mut draft);
    required(decoder, node, "`users`", "name");
    let Some(name) = draft.name.filter(|_| whole) else { return };
    if let Some(text) = draft.clear {
        config.passwords.extend(super::password::clear(decoder, name.clone(), text));
    }
    config.users.push(User {
        name,
        span: node.span,
        passwd: draft.passwd,
        gecos: draft.gecos,
        homedir: draft.homedir,
        no_create_home: draft.no_create_home,
        primary_group: draft.primary_group,
        groups: draft.groups,
        no_user_group: draft.no_user_group,
        system: draft.system,
        shell: draft.shell,
        uid: draft.uid,
        lock_passwd: draft.lock_passwd,
        inactive: draft.inactive,
        expires: draft.expires,
        sudo: draft.sudo,
        ssh_authorized_keys: draft.ssh_authorized_keys,
        key_sources: draft.key_sources,
    });
}

fn number(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    kind: &str,
    fits: fn(u32) -> bool,
) -> Option<Spanned<u32>> {
    let text = decoder.entry_line(entry)?;
    let value = check::whole(&text.value).and_then(|number| u32::try_from(number).ok());
    if let Some(value) = value.filter(|value| fits(*value)) {
        return Some(Spanned { value, span: text.span });
    }
    let (key, found) = (quoted(&entry.key.written), quoted(&text.value));
    decoder.error(text.span, format!("{key} must be {kind}, found {found}"));
    None
}

/// The day on which an account expires, as shadow(5) counts it.
fn expiry(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<u32> {
    let text = decoder.entry_line(entry)?;
    let day = date::days(&text.value).and_then(|days| u32::try_from(days).ok());
    if day.is_none() {
        let message = format!("{} is no date", quoted(&text.value));
        decoder.report(Finding::error(text.span, message).with_hint("write it as `2032-09-01`"));
    }
    day
}

/// Rules of sudoers(5); `false` is none.
fn sudo(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Spanned<String>> {
    let nodes: Vec<&Node> = match &entry.value.data {
        Data::List(items) => items.iter().collect(),
        _ => vec![&entry.value],
    };
    let mut rules = Vec::new();
    for node in nodes {
        let Some(text) = decoder.line("a rule of `sudo`", node) else { continue };
        if check::flag(&text.value) == Some(false) {
            continue;
        }
        match sudoers::rule(&text.value) {
            Ok(()) => rules.push(text.spanned()),
            Err(why) => decoder.report(
                Finding::error(text.span, format!("this rule of `sudo` {why}"))
                    .with_hint("such as `ALL=(ALL) NOPASSWD:ALL`; see sudoers(5)"),
            ),
        }
    }
    rules
}

fn user_name(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Spanned<String>> {
    let text = decoder.entry_line(entry)?;
    checked_name(decoder, text.spanned())
}

pub(super) fn checked_name(
    decoder: &mut Decoder<'_>,
    text: Spanned<String>,
) -> Option<Spanned<String>> {
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
pub(super) fn name_list(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Spanned<String>> {
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
            let text = decoder.line("a name", node)?;
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
