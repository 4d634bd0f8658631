//! The settings of updates: `update.conf`, lines of `NAME=value`.
//!
//! /usr/share/coreos/update.conf, /etc/coreos/update.conf and /etc/coreos/update.conf.d/*.conf over
//! it → [`Settings`] and what was wrong with them
//!
//! A setting that cannot be understood is told and never guessed at: where it could make a machine
//! reboot when it should not, the machine does not reboot by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use channels::policy::Channel;
use channels::time::parse_span;
use disk::entry::TRIES;

use crate::window::{Window, Windows};

/// Where the image has its defaults, and the machine its own.
pub const FILES: [&str; 2] = ["usr/share/coreos/update.conf", "etc/coreos/update.conf"];

/// Further files of the machine, in the order of their names.
pub const DIRECTORY: &str = "etc/coreos/update.conf.d";

/// How a machine reboots into a new release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// As soon as a window is open.
    #[default]
    Reboot,
    /// With one of the slots of its group, kept in etcd.
    EtcdLock,
    /// When a FleetLock server lets it.
    FleetLock,
    /// Only when somebody says so.
    Off,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 4] =
        [Strategy::Reboot, Strategy::EtcdLock, Strategy::FleetLock, Strategy::Off];

    /// Its name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Reboot => "reboot",
            Strategy::EtcdLock => "etcd-lock",
            Strategy::FleetLock => "fleet-lock",
            Strategy::Off => "off",
        }
    }

    /// Whether the machine asks for leave.
    pub const fn locks(self) -> bool {
        matches!(self, Strategy::EtcdLock | Strategy::FleetLock)
    }
}

/// Where the lock of a cluster is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// Addresses of etcd; the machine's own if there are none.
    pub endpoints: Vec<String>,
    /// The group whose slots are taken.
    pub group: Option<String>,
    /// Certificate authority, certificate and key for etcd.
    pub files: [Option<String>; 3],
    /// Address of the FleetLock server.
    pub fleet_lock: Option<String>,
}

/// When a booted release counts as good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How long a new release may take until it is good.
    pub deadline: Duration,
    /// Units that must be active.
    pub units: Vec<String>,
    /// Directories of programs that must succeed.
    pub commands: Vec<String>,
}

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `GROUP` as it is written, if it is.
    pub group: Option<String>,
    /// The channel that it names.
    pub channel: Channel,
    /// Where the repository is; none if updates are disabled.
    pub server: Option<String>,
    /// How the machine reboots.
    pub strategy: Strategy,
    /// When it may.
    pub windows: Windows,
    /// The time zone of the windows, by its name; that of the machine if it has none here.
    pub zone: Option<String>,
    /// Where the cluster's lock is.
    pub lock: Lock,
    /// From one check to the next.
    pub interval: Duration,
    /// How often a new release is tried.
    pub tries: u32,
    /// When it is good.
    pub health: Health,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            group: None,
            channel: Channel::Stable,
            server: None,
            strategy: Strategy::default(),
            windows: Windows::default(),
            zone: None,
            lock: Lock::default(),
            interval: Duration::from_secs(45 * 60),
            tries: TRIES,
            health: Health {
                deadline: Duration::from_secs(15 * 60),
                units: ["boot-complete.target", "coreos-init.service", "multi-user.target"]
                    .map(str::to_owned)
                    .into(),
                commands: ["usr/lib/coreos/health.d", "etc/coreos/health.d"]
                    .map(str::to_owned)
                    .into(),
            },
        }
    }
}

/// The shortest time between two checks: a mirror is not a chat room.
const SHORTEST: Duration = Duration::from_secs(60);

impl Settings {
    /// Reads texts of settings, each with its name for messages; later ones win. Returns what is
    /// wrong with them as well, a line each.
    pub fn read(texts: &[(&str, String)]) -> (Settings, Vec<String>) {
        let mut wrong = Vec::new();
        let mut values: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (file, text) in texts {
            for (number, line) in (1..).zip(text.lines()) {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let place = format!("{file}:{number}");
                let Some((name, value)) = line.split_once('=') else {
                    wrong.push(format!("{place}: `{line}` is not of the form NAME=value"));
                    continue;
                };
                let name = name.trim().trim_start_matches("LOCKSMITHD_").to_owned();
                values.insert(name, (place, unquote(value.trim()).to_owned()));
            }
        }
        let mut settings = Settings::default();
        let mut window: [Option<String>; 2] = [None, None];
        for (name, (place, value)) in &values {
            let problem = settings.set(name, value, &mut window);
            wrong.extend(problem.map(|problem| format!("{place}: {problem}")));
        }
        settings.add_window(window, &mut wrong);
        (settings, wrong)
    }

    /// Takes one setting; tells what is wrong with it.
    fn set(&mut self, name: &str, value: &str, window: &mut [Option<String>; 2]) -> Option<String> {
        let some = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        let words = |value: &str| {
            let words = value.split([' ', ',', '\t']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        match name {
            "GROUP" => {
                self.group = some(value);
                match value.parse() {
                    Ok(channel) => self.channel = channel,
                    Err(error) => return Some(format!("GROUP: {error}")),
                }
            }
            "SERVER" => {
                self.server = some(value).filter(|server| server != "disabled");
                let web = value.starts_with("http://") || value.starts_with("https://");
                if self.server.is_some() && !web {
                    self.server = None;
                    return Some(format!("SERVER: `{value}` is no address of http or https"));
                }
            }
            "REBOOT_STRATEGY" => {
                let found = Strategy::ALL.into_iter().find(|strategy| strategy.name() == value);
                self.strategy = found.unwrap_or(Strategy::Off);
                // Named by those who upgraded from a system that had it.
                if value == "best-effort" {
                    self.strategy = Strategy::EtcdLock;
                    return Some("REBOOT_STRATEGY: best-effort is gone, taken as etcd-lock".into());
                }
                if found.is_none() {
                    let names = Strategy::ALL.map(Strategy::name).join(", ");
                    return Some(format!(
                        "REBOOT_STRATEGY: `{value}` is none of {names}; the machine does not \
                         reboot by itself"
                    ));
                }
            }
            "REBOOT_WINDOW_START" => window[0] = some(value),
            "REBOOT_WINDOW_LENGTH" => window[1] = some(value),
            "REBOOT_WINDOWS" => match value.parse::<Windows>() {
                Ok(windows) => self.windows.0.extend(windows.0),
                Err(error) => {
                    self.strategy = Strategy::Off;
                    return Some(format!(
                        "REBOOT_WINDOWS: {error}; the machine does not reboot by itself"
                    ));
                }
            },
            "REBOOT_TIMEZONE" => self.zone = some(value),
            "ENDPOINT" | "ENDPOINTS" => self.lock.endpoints = words(value),
            "GROUP_LOCK" | "REBOOT_GROUP" => self.lock.group = some(value),
            "ETCD_CAFILE" => self.lock.files[0] = some(value),
            "ETCD_CERTFILE" => self.lock.files[1] = some(value),
            "ETCD_KEYFILE" => self.lock.files[2] = some(value),
            "FLEET_LOCK_URL" => self.lock.fleet_lock = some(value),
            "CHECK_INTERVAL" => match parse_span(value) {
                Ok(span) => self.interval = span.max(SHORTEST),
                Err(error) => return Some(format!("CHECK_INTERVAL: {error}")),
            },
            "TRIES" => match value.parse() {
                Ok(tries) if (1..=9).contains(&tries) => self.tries = tries,
                _ => return Some(format!("TRIES: `{value}` is no number from 1 to 9")),
            },
            "HEALTH_DEADLINE" => match parse_span(value) {
                Ok(span) if !span.is_zero() => self.health.deadline = span,
                Ok(_) => return Some("HEALTH_DEADLINE: it cannot be zero".to_owned()),
                Err(error) => return Some(format!("HEALTH_DEADLINE: {error}")),
            },
            "HEALTH_UNITS" => self.health.units.extend(words(value)),
            _ => return Some(format!("unknown setting {name}")),
        }
        None
    }

    fn add_window(&mut self, window: [Option<String>; 2], wrong: &mut Vec<String>) {
        let problem = match window {
            [None, None] => return,
            [Some(start), Some(length)] => match Window::new(&start, &length) {
                Ok(window) => {
                    self.windows.0.push(window);
                    return;
                }
                Err(error) => error.to_string(),
            },
            [Some(_), None] => "REBOOT_WINDOW_START without REBOOT_WINDOW_LENGTH".to_owned(),
            [None, Some(_)] => "REBOOT_WINDOW_LENGTH without REBOOT_WINDOW_START".to_owned(),
        };
        self.strategy = Strategy::Off;
        wrong.push(format!("{problem}; the machine does not reboot by itself"));
    }
}

fn unquote(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{SHORTEST, Settings, Strategy};
    use channels::policy::Channel;
    use proptest::prelude::{prop_assert, proptest};

    fn read(text: &str) -> (Settings, Vec<String>) {
        Settings::read(&[("update.conf", text.to_owned())])
    }

    #[test]
    fn what_provisioning_writes_is_understood() {
        let (settings, wrong) = read(
            "# a comment\nGROUP=beta\nSERVER=https://updates.example/coreos\n\
             REBOOT_STRATEGY=etcd-lock\nLOCKSMITHD_REBOOT_WINDOW_START=\"Sun 04:00\"\n\
             LOCKSMITHD_REBOOT_WINDOW_LENGTH=1h30m\nLOCKSMITHD_ENDPOINT=http://a:2379,http://b:2379\n\
             LOCKSMITHD_ETCD_CAFILE=/etc/ca.pem\nREBOOT_GROUP=web\nTRIES=1\n",
        );
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(settings.channel, Channel::Beta);
        assert_eq!(settings.server.as_deref(), Some("https://updates.example/coreos"));
        assert_eq!(settings.strategy, Strategy::EtcdLock);
        assert_eq!(settings.windows.to_string(), "Sun 04:00 1h30m");
        assert_eq!(settings.lock.endpoints, ["http://a:2379", "http://b:2379"]);
        assert_eq!(settings.lock.files[0].as_deref(), Some("/etc/ca.pem"));
        assert_eq!(settings.lock.group.as_deref(), Some("web"));
        assert_eq!(settings.tries, 1);
    }

    #[test]
    fn the_machine_s_own_file_wins_over_the_image_s() {
        let (settings, wrong) = Settings::read(&[
            ("image", "GROUP=alpha\nSERVER=http://one\nREBOOT_STRATEGY=off".to_owned()),
            ("machine", "GROUP=stable\nSERVER=disabled\n".to_owned()),
        ]);
        assert!(wrong.is_empty());
        assert_eq!((settings.channel, settings.server), (Channel::Stable, None));
        assert_eq!(settings.strategy, Strategy::Off);
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_never_make_a_machine_reboot() {
        for (text, told, off) in [
            ("GROUP=edge", "update.conf:1: GROUP: `edge` is no channel", false),
            ("\nSERVER=file:///srv", "update.conf:2: SERVER: `file:///srv`", false),
            ("REBOOT_STRATEGY=sometimes", "does not reboot by itself", true),
            ("REBOOT_WINDOW_START=04:00", "without REBOOT_WINDOW_LENGTH", true),
            ("REBOOT_WINDOW_LENGTH=1h", "without REBOOT_WINDOW_START", true),
            ("REBOOT_WINDOW_START=4\nREBOOT_WINDOW_LENGTH=1h", "no reboot window", true),
            ("REBOOT_WINDOWS=Mon 1h", "no reboot window", true),
            ("TRIES=0", "no number from 1 to 9", false),
            ("CHECK_INTERVAL=often", "not a span", false),
            ("HEALTH_DEADLINE=0s", "cannot be zero", false),
            ("COLOUR=red", "unknown setting COLOUR", false),
            ("nonsense", "not of the form", false),
        ] {
            let (settings, wrong) = read(text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
            assert!(wrong[0].contains(told), "{text}: {wrong:?}");
            assert_eq!(settings.strategy == Strategy::Off, off, "{text}");
            assert_eq!(settings.server, None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([A-Z_]{0,22}=?\\PC{0,20}\n){0,6}") {
            let (settings, _) = read(&text);
            prop_assert!(settings.interval >= SHORTEST);
        }
    }
}
