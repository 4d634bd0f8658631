//! The configuration as the rest of the system sees it: checked, typed, every value still
//! knowing where it was written.

use crate::finding::Span;
use crate::network::Network;

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
    /// `hostname`, or the first part of `fqdn`.
    pub hostname: Option<Spanned<String>>,
    /// `fqdn`: the name with its domain.
    pub fqdn: Option<Spanned<String>>,
    /// `ssh_authorized_keys`: keys of the user `core`, one line of `authorized_keys` each.
    pub ssh_authorized_keys: Vec<Spanned<String>>,
    /// `manage_etc_hosts`: `/etc/hosts` names this machine.
    pub manage_etc_hosts: Option<Span>,
    /// `groups`, in order.
    pub groups: Vec<Group>,
    /// `users`, in order.
    pub users: Vec<User>,
    /// `chpasswd`, and passwords that `users` gives in clear: they come after `passwd`.
    pub passwords: Vec<Password>,
    /// `write_files`, in order, with their content decoded.
    pub write_files: Vec<File>,
    /// `coreos.units` (and the article's top-level `units`), in order.
    pub units: Vec<Unit>,
    /// `coreos.etcd`, `coreos.etcd2`, `coreos.fleet`, `coreos.locksmith`: settings of a service,
    /// as the environment of a drop-in. At most one entry per unit.
    pub services: Vec<ServiceSettings>,
    /// `coreos.extensions`, in order.
    pub extensions: Vec<Extension>,
    /// `coreos.flannel`: the variables of its file.
    pub flannel: Option<ServiceSettings>,
    /// `coreos.update`.
    pub update: Option<Update>,
    /// `coreos.oem`: the lines of `/etc/oem-release`.
    pub oem: Option<ServiceSettings>,
    /// `runcmd`, in order: each a command of a shell.
    pub runcmd: Vec<Spanned<String>>,
    /// `network`: in place of what the platform says of it.
    pub network: Option<Spanned<Network>>,
    /// `ntp`.
    pub ntp: Option<Ntp>,
    /// `timezone`: a name of the time zone database.
    pub timezone: Option<Spanned<String>>,
    /// `ca_certs`.
    pub ca_certs: Option<CaCerts>,
    /// `swap`.
    pub swap: Option<Swap>,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// Scripts, in order.
    pub scripts: Vec<Script>,
}

/// A script given as user-data, or as a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// All of it, from its `#!`, with variables replaced.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// An entry of `groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Spanned<String>,
    /// Who is in it besides those whose own `groups` say so.
    pub members: Vec<Spanned<String>>,
}

/// An entry of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `name`: a valid login name.
    pub name: Spanned<String>,
    /// All of the entry.
    pub span: Span,
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
    /// `uid`.
    pub uid: Option<Spanned<u32>>,
    /// `lock_passwd`: nobody logs in with the password.
    pub lock_passwd: bool,
    /// `inactive`: days after which an expired password locks the account.
    pub inactive: Option<u32>,
    /// `expiredate`: the day on which the account expires, counted from 1970-01-01.
    pub expires: Option<u32>,
    /// `sudo`: rules of sudoers(5), without the user's name.
    pub sudo: Vec<Spanned<String>>,
    /// `ssh_authorized_keys`.
    pub ssh_authorized_keys: Vec<Spanned<String>>,
    /// `ssh_import_id`, `coreos_ssh_import_github` and the like: where more keys come from.
    pub key_sources: Vec<KeySource>,
}

/// Where keys of a user come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// An address of `https`.
    pub url: String,
    /// What the address answers with.
    pub form: KeyForm,
    /// Where it was written.
    pub span: Span,
}

/// How keys are written that come from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Lines of `authorized_keys`.
    Lines,
    /// `[{"key": "..."}]`, as GitHub's API has it.
    Json,
}

/// A password that an account gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// Whose.
    pub user: Spanned<String>,
    /// The password.
    pub secret: Secret,
    /// It must be changed at the first login.
    pub expire: bool,
}

/// Shown without the password.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A password as it was given. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A crypt(5) hash.
    Hash(String),
    /// Itself.
    Clear(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// An entry of `write_files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `path`: absolute, without `.` and `..`, at a writable place.
    pub path: Spanned<String>,
    /// All of the entry.
    pub span: Span,
    /// `content`, decoded and with variables replaced.
    pub content: Vec<u8>,
    /// `source`: where the content comes from instead.
    pub source: Option<Remote>,
    /// `append`: the content is added to what the file has.
    pub append: bool,
    /// `permissions`: mode bits, 0o644 by default; none where an existing file keeps its own.
    pub permissions: Option<u32>,
    /// `owner`: `user`, `user:group` or `:group`, by name or number, as chown(1) takes it.
    pub owner: Option<Spanned<String>>,
}

/// What is fetched when the machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `http` or `https`.
    pub url: String,
    /// The SHA-256 that the bytes must have, in lower-case hex.
    pub sha256: String,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
    /// Where it was written.
    pub span: Span,
}

/// An entry of `coreos.extensions`: an image that is laid over `/usr` and `/opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// `name`: that of its file without `.raw`, and of its release file.
    pub name: Spanned<String>,
    /// All of the entry.
    pub span: Span,
    /// `source`, `sha256` and `headers`.
    pub source: ExtensionSource,
    /// `root_hash` of its verity tree, in lower-case hex; without it blocks are not checked.
    pub root_hash: Option<Spanned<String>>,
}

/// Where the image of an extension is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtensionSource {
    /// It is fetched when the machine boots.
    Remote(Remote),
    /// It is on the machine already.
    File {
        /// Absolute, without `.` and `..`.
        path: String,
        /// The SHA-256 that it must have, in lower-case hex.
        sha256: Option<String>,
        /// Where it was written.
        span: Span,
    },
}

/// `ntp`: the servers that the clock is set by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ntp {
    /// `enabled`: false leaves the clock alone.
    pub enabled: bool,
    /// `servers` and `pools`, in order.
    pub servers: Vec<String>,
    /// The key.
    pub span: Span,
}

/// `ca_certs`: whom TLS trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCerts {
    /// `remove_defaults`: only those given here.
    pub remove_defaults: bool,
    /// `trusted`: each one or more certificates in PEM.
    pub trusted: Vec<Spanned<String>>,
    /// The key.
    pub span: Span,
}

/// `swap`: a file to swap to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// `filename`.
    pub path: Spanned<String>,
    /// `size` in bytes; none for one that fits the machine.
    pub size: Option<u64>,
    /// `maxsize` in bytes.
    pub most: Option<u64>,
}

/// An entry of `mounts`: a line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The six fields.
    pub fields: [String; 6],
    /// The entry.
    pub span: Span,
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
    /// All of the entry.
    pub span: Span,
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
    /// A password is among them.
    pub secret: bool,
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
    /// `reboot_strategy`: `etcd-lock`, `fleet-lock`, `reboot` or `off`.
    pub reboot_strategy: Option<Spanned<String>>,
}

impl Update {
    /// What another part of the user-data says comes first where both say something.
    pub(crate) fn or(self, earlier: Update) -> Update {
        Update {
            group: self.group.or(earlier.group),
            server: self.server.or(earlier.server),
            reboot_strategy: self.reboot_strategy.or(earlier.reboot_strategy),
        }
    }
}
