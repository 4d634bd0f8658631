//! The configuration as the rest of the system sees it: checked, typed, every value still
//! knowing where it was written.

use crate::finding::Span;

/// A value and the place in the source it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the source.
    pub span: Span,
}

/// One machine's configuration, as written in a cloud-config.
///
/// Nothing is defaulted here that depends on the machine; nothing is left that a later stage
/// would have to check for syntax.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `hostname`.
    pub hostname: Option<Spanned<String>>,
    /// `ssh_authorized_keys`: keys of the user `core`, one line of `authorized_keys` each.
    pub ssh_authorized_keys: Vec<Spanned<String>>,
    /// `manage_etc_hosts: localhost`: `/etc/hosts` names this machine.
    pub manage_etc_hosts: Option<Span>,
    /// `users`, in order.
    pub users: Vec<User>,
    /// `write_files`, in order, with their content decoded.
    pub write_files: Vec<File>,
    /// `coreos.units` (and the article's top-level `units`), in order.
    pub units: Vec<Unit>,
    /// `coreos.etcd`, `coreos.etcd2`, `coreos.fleet`: settings of a service, as the environment
    /// of a drop-in. At most one entry per unit.
    pub services: Vec<ServiceSettings>,
    /// `coreos.update`.
    pub update: Option<Update>,
}

/// An entry of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `name`: a valid login name.
    pub name: Spanned<String>,
    /// `passwd`: a crypt(5) hash, never a clear password.
    pub passwd: Option<Spanned<String>>,
    /// `gecos`: the comment field.
    pub gecos: Option<String>,
    /// `homedir`.
    pub homedir: Option<String>,
    /// `no_create_home`.
    pub no_create_home: bool,
    /// `primary_group`.
    pub primary_group: Option<String>,
    /// `groups`: further groups.
    pub groups: Vec<Spanned<String>>,
    /// `no_user_group`.
    pub no_user_group: bool,
    /// `system`: an id below 1000.
    pub system: bool,
    /// `shell`.
    pub shell: Option<String>,
    /// `ssh_authorized_keys`.
    pub ssh_authorized_keys: Vec<Spanned<String>>,
}

/// An entry of `write_files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `path`: absolute, without `.` and `..`, at a writable place.
    pub path: Spanned<String>,
    /// `content`, decoded and with variables replaced.
    pub content: Vec<u8>,
    /// `permissions`: mode bits, 0o644 by default.
    pub permissions: u32,
    /// `owner`: `user`, `user:group` or `:group`, by name or number, as chown(1) takes it.
    pub owner: Option<Spanned<String>>,
}

/// What a file of `coreos.units` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// A unit of the service manager, under `systemd/system`.
    System,
    /// A `.network`, `.netdev` or `.link` file, under `systemd/network`.
    Network,
}

/// An entry of `coreos.units`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `name`, with a suffix that systemd knows.
    pub name: Spanned<String>,
    /// By the suffix.
    pub kind: UnitKind,
    /// `content`, with variables replaced.
    pub content: Option<String>,
    /// `drop_ins`, in order.
    pub drop_ins: Vec<DropIn>,
    /// `enable`.
    pub enable: bool,
    /// `mask`.
    pub mask: bool,
    /// `runtime`: under `/run` instead of `/etc`.
    pub runtime: bool,
    /// `command`.
    pub command: Option<Spanned<Command>>,
}

/// An entry of a unit's `drop_ins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// `name`, ending in `.conf`.
    pub name: Spanned<String>,
    /// `content`, with variables replaced.
    pub content: String,
}

/// A unit's `command`: what the service manager is asked to do once the machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the systemd verb of the same name
pub enum Command {
    Start,
    Stop,
    Restart,
    Reload,
    TryRestart,
    ReloadOrRestart,
    ReloadOrTryRestart,
}

/// The settings of one service, translated to what its program reads today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The unit the drop-in belongs to, such as `etcd.service`.
    pub unit: &'static str,
    /// Variable and value, in the order they are written. A value is one line without control
    /// characters, in which systemd's specifiers count: a percent sign that is meant is doubled.
    /// Quotes and backslashes are as the program is to see them.
    pub environment: Vec<(String, String)>,
    /// The section in the source.
    pub span: Span,
}

/// `coreos.update`: who updates this machine and how it reboots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// `group`: the channel.
    pub group: Option<Spanned<String>>,
    /// `server`.
    pub server: Option<Spanned<String>>,
    /// `reboot_strategy`: `etcd-lock`, `reboot` or `off`.
    pub reboot_strategy: Option<Spanned<String>>,
}
