//! Parts of configurations for tests.

use cloud_config::{File, Position, Span, Spanned, Unit, UnitKind, User};

pub(crate) fn line(line: usize) -> Span {
    let at = Position { line, column: 1 };
    Span::new(at, at)
}

pub(crate) fn spanned<T>(value: T, at: usize) -> Spanned<T> {
    Spanned { value, span: line(at) }
}

pub(crate) fn text(value: &str) -> Spanned<String> {
    spanned(value.to_string(), 1)
}

pub(crate) fn user(name: &str) -> User {
    User {
        name: text(name),
        span: line(1),
        passwd: None,
        gecos: None,
        homedir: None,
        no_create_home: false,
        primary_group: None,
        groups: Vec::new(),
        no_user_group: false,
        system: false,
        shell: None,
        uid: None,
        lock_passwd: false,
        inactive: None,
        expires: None,
        sudo: Vec::new(),
        key_sources: Vec::new(),
        ssh_authorized_keys: Vec::new(),
    }
}

pub(crate) fn unit(name: &str) -> Unit {
    let network = [".network", ".netdev", ".link"].iter().any(|suffix| name.ends_with(suffix));
    Unit {
        name: spanned(name.to_string(), 7),
        span: line(7),
        kind: if network { UnitKind::Network } else { UnitKind::System },
        content: None,
        drop_ins: Vec::new(),
        enable: false,
        mask: false,
        runtime: false,
        command: None,
    }
}

pub(crate) fn file(path: &str, content: &str) -> File {
    File {
        path: spanned(path.to_string(), 5),
        span: line(5),
        content: content.into(),
        source: None,
        append: false,
        permissions: None,
        owner: None,
    }
}
