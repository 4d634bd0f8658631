//! `chpasswd`, and passwords in clear.

use super::required;
use crate::config::{Password, Secret, Spanned};
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, Span, quoted};
use crate::outline::Shape;
use crate::source::lines;
use crate::syntax::{name, password};
use crate::table::{Table, key, nowhere};
use crate::tree::{Data, Entry, Node};

/// `chpasswd`, not read yet to the end.
#[derive(Debug, Default)]
struct Draft {
    expire: Option<bool>,
    passwords: Vec<Password>,
}

const CHPASSWD: Table<Read<Draft>> = Table {
    place: "`chpasswd`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key(
            "expire",
            Shape::Flag,
            "Whether the passwords must be changed at the first login.",
            |decoder, entry, draft| draft.expire = decoder.flag(entry),
        ),
        key("users", USERS_SHAPE, "Whose passwords, and which.", |decoder, entry, draft| {
            for node in decoder.list(entry) {
                draft.passwords.extend(user(decoder, node));
            }
        }),
        key("list", LIST_SHAPE, "Lines `name:password`.", |decoder, entry, draft| {
            draft.passwords.extend(list(decoder, entry));
        }),
    ],
};

pub(super) const SHAPE: Shape = Shape::Keys(|| CHPASSWD.outline(&[]));
const LIST_SHAPE: Shape = Shape::Either(&[Shape::Text, Shape::List(&Shape::Text)]);
const USERS_SHAPE: Shape = Shape::List(&Shape::Keys(|| USER.outline(&["name"])));

#[derive(Default)]
struct UserDraft {
    name: Option<Spanned<String>>,
    password: Option<Spanned<String>>,
    kind: Option<String>,
}

const TYPES: &[&str] = &["hash", "text", "RANDOM"];

const USER: Table<Read<UserDraft>> = Table {
    place: "`chpasswd.users`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("name", Shape::Text, "Whose.", |decoder, entry, user| {
            user.name = decoder.entry_line(entry).map(crate::decoder::Text::spanned);
        }),
        key("password", Shape::Text, "A hash, or the password.", |decoder, entry, user| {
            user.password = decoder.literal_line("`password`", &entry.value);
        }),
        key("type", Shape::Words(TYPES), "What `password` is.", |decoder, entry, user| {
            let Some(text) = decoder.entry_line(entry) else { return };
            if TYPES.contains(&text.value.as_str()) {
                user.kind = Some(text.value);
            } else {
                let message = format!("`type` cannot be {}", quoted(&text.value));
                decoder
                    .report(Finding::error(text.span, message).with_hint("it is `hash` or `text`"));
            }
        }),
    ],
};

/// Reads `chpasswd`.
pub(super) fn chpasswd(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Password> {
    decoder.secret(entry.value.span);
    let mut draft = Draft::default();
    decoder.read(&entry.value, &CHPASSWD, &mut draft);
    let expire = draft.expire.unwrap_or(true);
    draft.passwords.into_iter().map(|password| Password { expire, ..password }).collect()
}

fn user(decoder: &mut Decoder<'_>, node: &Node) -> Option<Password> {
    let mut draft = UserDraft::default();
    let whole = decoder.read(node, &USER, &mut draft);
    required(decoder, node, "`chpasswd.users`", "name");
    let name = draft.name.filter(|_| whole)?;
    match (draft.kind.as_deref(), draft.password) {
        (Some("RANDOM"), _) => random(decoder, name.span),
        (_, None) => {
            decoder.error(name.span, format!("{} is given no password", quoted(&name.value)));
            None
        }
        (Some("text"), Some(text)) => clear(decoder, name, text),
        // What is no hash was never meant as one.
        (Some("hash"), Some(text)) => hashed(decoder, name, text),
        (_, Some(text)) if is_hash(&text.value) => hashed(decoder, name, text),
        (_, Some(text)) => clear(decoder, name, text),
    }
}

/// Lines `name:password`, as one text or as a list.
fn list(decoder: &mut Decoder<'_>, entry: &Entry) -> Vec<Password> {
    let mut given: Vec<Spanned<String>> = Vec::new();
    let nodes: Vec<&Node> = match &entry.value.data {
        Data::List(items) => items.iter().collect(),
        _ => vec![&entry.value],
    };
    for node in nodes {
        let Some(scalar) = decoder.scalar("`list`", "text", node) else { continue };
        let texts = lines(&scalar.text).map(str::trim).filter(|line| !line.is_empty());
        given.extend(texts.map(|line| Spanned { value: line.to_owned(), span: node.span }));
    }
    let mut passwords = Vec::new();
    for Spanned { value, span } in given {
        let Some((user, secret)) = value.split_once(':') else {
            decoder.error(span, "a line of `list` is `name:password`");
            continue;
        };
        if let Err(mistake) = name::user(user) {
            decoder.report(mistake.error(span));
            continue;
        }
        let name = Spanned { value: user.to_owned(), span };
        let text = Spanned { value: secret.to_owned(), span };
        passwords.extend(match secret {
            "RANDOM" | "R" => random(decoder, span),
            _ if is_hash(secret) => hashed(decoder, name, text),
            _ => clear(decoder, name, text),
        });
    }
    passwords
}

fn is_hash(text: &str) -> bool {
    text.starts_with('$') || matches!(text, "!" | "*" | "!!")
}

fn random(decoder: &mut Decoder<'_>, span: Span) -> Option<Password> {
    decoder.report(
        Finding::error(span, "a random password would be known to nobody")
            .with_hint("give a hash, such as `mkpasswd --method=yescrypt` prints"),
    );
    None
}

fn hashed(
    decoder: &mut Decoder<'_>,
    user: Spanned<String>,
    text: Spanned<String>,
) -> Option<Password> {
    if let Err(why) = password::hash(&text.value) {
        decoder.report(
            Finding::error(text.span, format!("the password of {} {why}", quoted(&user.value)))
                .with_hint("make a hash with `mkpasswd --method=yescrypt`"),
        );
        return None;
    }
    Some(Password { user, secret: Secret::Hash(text.value), expire: false })
}

/// A password in clear: everybody who sees the configuration knows it.
pub(super) fn clear(
    decoder: &mut Decoder<'_>,
    user: Spanned<String>,
    text: Spanned<String>,
) -> Option<Password> {
    if text.value.is_empty() {
        decoder.error(text.span, format!("the password of {} is empty", quoted(&user.value)));
        return None;
    }
    decoder.report(
        Finding::warning(text.span, "a password in clear is known to whoever sees this file")
            .with_hint("give a hash, such as `mkpasswd --method=yescrypt` prints"),
    );
    Some(Password { user, secret: Secret::Clear(text.value), expire: false })
}
