//! `/etc/fleet/fleet.conf` and the variables `FLEET_*`, which count before it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How the daemon is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// URLs of etcd's members.
    pub etcd_servers: Vec<String>,
    /// The prefix of every key.
    pub etcd_key_prefix: String,
    /// The authority that etcd's certificates come from.
    pub etcd_cafile: Option<PathBuf>,
    /// What is shown to etcd.
    pub etcd_certfile: Option<PathBuf>,
    /// Its key.
    pub etcd_keyfile: Option<PathBuf>,
    /// A user of etcd.
    pub etcd_username: Option<String>,
    /// Its password.
    pub etcd_password: Option<String>,
    /// How long a request to etcd may take.
    pub etcd_request_timeout: Duration,
    /// The address that others see.
    pub public_ip: String,
    /// The machine's metadata.
    pub metadata: BTreeMap<String, String>,
    /// How long the machine counts as present without a sign of life.
    pub agent_ttl: Duration,
    /// How long a machine has to have been missing before its units move.
    pub engine_grace: Duration,
    /// Never decide for the cluster.
    pub disable_engine: bool,
    /// Units of a page of the API.
    pub token_limit: usize,
    /// 0 is normal, 1 and more say what is done.
    pub verbosity: u8,
    /// Where unit files go.
    pub units_directory: PathBuf,
    /// What survives a reboot.
    pub state_directory: PathBuf,
    /// Where other daemons ask this one for status and journal; nowhere if empty.
    pub relay_listen: String,
    /// systemd: `system` for the system bus, or the path of a socket it answers on itself.
    pub systemd_bus: String,
    /// What was in the settings and is not used any more, for a warning.
    pub unused: Vec<String>,
}

/// Something is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct SettingsError {
    /// File and line, or the variable.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            etcd_servers: vec!["http://127.0.0.1:2379".into()],
            etcd_key_prefix: "/fleet/v1".into(),
            etcd_cafile: None,
            etcd_certfile: None,
            etcd_keyfile: None,
            etcd_username: None,
            etcd_password: None,
            etcd_request_timeout: Duration::from_secs(5),
            public_ip: String::new(),
            metadata: BTreeMap::new(),
            agent_ttl: crate::timing::LEASE,
            engine_grace: crate::timing::GRACE,
            disable_engine: false,
            token_limit: 100,
            verbosity: 0,
            units_directory: "/run/fleet/units".into(),
            state_directory: "/var/lib/fleet".into(),
            relay_listen: String::new(),
            systemd_bus: "system".into(),
            unused: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the file's text, then the variables over it. All that is wrong is told.
    pub fn read<'a>(
        file: Option<(&str, &str)>,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, Vec<SettingsError>> {
        let mut settings = Settings::default();
        let mut errors = Vec::new();
        let (name, text) = file.unwrap_or_default();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';', '[']) {
                continue;
            }
            let place = format!("{name}:{number}");
            match line.split_once('=') {
                Some((key, value)) => settings.set(&place, key.trim(), value.trim(), &mut errors),
                None => errors.push(SettingsError { place, message: "expected key=value".into() }),
            }
        }
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort_unstable();
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix("FLEET_") {
                settings.set(name, &key.to_lowercase(), value.trim(), &mut errors);
            }
        }
        if settings.etcd_certfile.is_some() != settings.etcd_keyfile.is_some() {
            let message = "etcd_certfile and etcd_keyfile go together".to_string();
            errors.push(SettingsError { place: "settings".into(), message });
        }
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }

    fn set(&mut self, place: &str, key: &str, raw: &str, errors: &mut Vec<SettingsError>) {
        let value = unquote(raw);
        let mut wrong = |expected: &str| {
            let message = format!("{key}: `{value}` is not {expected}");
            errors.push(SettingsError { place: place.to_string(), message });
        };
        let path = || (!value.is_empty()).then(|| PathBuf::from(value));
        let text = || (!value.is_empty()).then(|| value.to_string());
        match key {
            "etcd_servers" => {
                let servers = list(value);
                let odd = servers
                    .iter()
                    .any(|url| !url.starts_with("http://") && !url.starts_with("https://"));
                if servers.is_empty() || odd {
                    wrong("a list of URLs, such as http://10.0.0.1:2379");
                } else {
                    self.etcd_servers = servers;
                }
            }
            "etcd_key_prefix" => {
                // The old default names a place in etcd v2, which is not there any more.
                if value != "/_coreos.com/fleet/" && value != "/_coreos.com/fleet" {
                    self.etcd_key_prefix = value.to_string();
                }
            }
            "etcd_cafile" => self.etcd_cafile = path(),
            "etcd_certfile" => self.etcd_certfile = path(),
            "etcd_keyfile" => self.etcd_keyfile = path(),
            "etcd_username" => self.etcd_username = text(),
            "etcd_password" => self.etcd_password = text(),
            "etcd_request_timeout" => match value.trim_end_matches('s').parse::<f64>() {
                // fleet's own default, one second, is too short for an election.
                Ok(seconds) if seconds > 0.0 && seconds < 3600.0 => {
                    self.etcd_request_timeout = Duration::from_secs_f64(seconds.max(2.0));
                }
                _ => wrong("a number of seconds"),
            },
            "public_ip" => self.public_ip = value.to_string(),
            "metadata" => {
                for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
                    match pair.split_once('=') {
                        Some((key, value)) if !key.trim().is_empty() => {
                            self.metadata.insert(key.trim().to_string(), value.trim().to_string());
                        }
                        _ => wrong("key=value,key=value"),
                    }
                }
            }
            "agent_ttl" => match value.trim_end_matches('s').parse::<u64>() {
                Ok(seconds) if (5..=300).contains(&seconds) => {
                    self.agent_ttl = Duration::from_secs(seconds);
                }
                _ => wrong("a time from 5s to 300s"),
            },
            "engine_grace" => match value.trim_end_matches('s').parse::<u64>() {
                Ok(seconds) if (5..=3600).contains(&seconds) => {
                    self.engine_grace = Duration::from_secs(seconds);
                }
                _ => wrong("a time from 5s to 3600s"),
            },
            "disable_engine" => match value {
                "true" | "1" | "yes" => self.disable_engine = true,
                "false" | "0" | "no" | "" => self.disable_engine = false,
                _ => wrong("true or false"),
            },
            "token_limit" => match value.parse() {
                Ok(limit) if (1..=65_535).contains(&limit) => self.token_limit = limit,
                _ => wrong("a number from 1 to 65535"),
            },
            "verbosity" => match value.parse() {
                Ok(verbosity) => self.verbosity = verbosity,
                Err(_) => wrong("a number"),
            },
            "units_directory" => self.units_directory = PathBuf::from(value),
            "state_directory" => self.state_directory = PathBuf::from(value),
            "relay_listen" => self.relay_listen = value.to_string(),
            "systemd_bus" => self.systemd_bus = value.to_string(),
            "engine_reconcile_interval"
            | "enable_grpc"
            | "disable_watches"
            | "verify_units"
            | "authorized_keys_file"
            | "systemd_user" => self.unused.push(key.to_string()),
            _ => self.unused.push(format!("{key} (unknown)")),
        }
    }
}

fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// `["http://a", "http://b"]` as in fleet.conf, or `http://a,http://b` as in a variable.
fn list(value: &str) -> Vec<String> {
    value
        .trim_start_matches('[')
        .trim_end_matches(']')
        .split([',', ' '])
        .map(|part| unquote(part.trim()).to_string())
        .filter(|part| !part.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_variables_over_it() {
        let text = "# fleet\n[Main]\netcd_servers=[\"http://a:2379\", \"https://b:2379\"]\n\
                    metadata=\"region=us,disk=ssd, disk = hdd\"\npublic_ip=\"1.2.3.4\"\nverbosity=1\n\
                    etcd_request_timeout=1.0\nagent_ttl=\"120s\"\nverify_units=true\nfoo=bar\n";
        let settings = Settings::read(
            Some(("fleet.conf", text)),
            [("FLEET_PUBLIC_IP", "5.6.7.8"), ("FLEET_DISABLE_ENGINE", "true"), ("PATH", "/bin")],
        )
        .expect("good settings");
        assert_eq!(settings.etcd_servers, ["http://a:2379", "https://b:2379"]);
        assert_eq!(settings.metadata["disk"], "hdd");
        assert_eq!(settings.public_ip, "5.6.7.8");
        assert_eq!(settings.agent_ttl, Duration::from_secs(120));
        assert!(settings.disable_engine);
        assert_eq!(settings.unused, ["verify_units", "foo (unknown)"]);
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let text =
            "etcd_servers=a:1\nnonsense\nagent_ttl=1s\ntoken_limit=0\nmetadata=a\netcd_certfile=/a";
        let errors = Settings::read(Some(("fleet.conf", text)), []).expect_err("bad settings");
        assert_eq!(errors.len(), 6, "{errors:?}");
        assert_eq!(errors[1].to_string(), "fleet.conf:2: expected key=value");
    }

    #[test]
    fn variables_as_provisioning_writes_them() {
        let variables = [
            ("FLEET_ETCD_SERVERS", "http://10.0.0.1:2379,http://10.0.0.2:2379"),
            ("FLEET_ETCD_KEY_PREFIX", "/_coreos.com/fleet/"),
            ("FLEET_ENGINE_RECONCILE_INTERVAL", "2.0"),
            ("FLEET_METADATA", "region=us-west,role=web"),
        ];
        let settings = Settings::read(None, variables).expect("good settings");
        assert_eq!(settings.etcd_servers.len(), 2);
        assert_eq!(settings.etcd_key_prefix, "/fleet/v1");
        assert_eq!(settings.metadata.len(), 2);
    }
}
