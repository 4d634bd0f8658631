//! Options of a section → the environment of etcd 3.5, and what will not work.

use super::address::{self, Address};
use super::options::{Becomes, CLIENTS, PEERS, Side};
use super::{Given, Section};
use crate::config::ServiceSettings;
use crate::decoder::Decoder;
use crate::finding::{Finding, Span, quoted};
use crate::keys::setting::{variable, without_specifiers};
use crate::syntax::{check, url};

/// The unit's specifier for the id of its machine: a name that no other member has.
const MACHINE_ID: &str = "%m";

/// etcd compacts nothing by itself, and stops at a size that it does not tell.
const UPKEEP: &[(&str, &str)] = &[
    ("auto_compaction_mode", "periodic"),
    ("auto_compaction_retention", "1h"),
    ("quota_backend_bytes", "2147483648"),
];

impl Section {
    /// The settings of etcd; none if anything is wrong with them, for a member that does not
    /// know its cluster would found one of its own.
    pub(in crate::keys) fn translate(
        &self,
        decoder: &mut Decoder<'_>,
        hostname: Option<&str>,
    ) -> Option<ServiceSettings> {
        let errors = decoder.findings.errors();
        let mut translation = Translation { section: self, decoder, settings: Vec::new() };
        self.options.iter().for_each(|given| translation.option(given));
        translation.side(CLIENTS);
        translation.side(PEERS);
        if self.sound && translation.decoder.findings.errors() == errors {
            translation.membership(hostname);
            translation.upkeep();
            translation.timeouts();
        }
        let environment = translation
            .settings
            .into_iter()
            .map(|setting| (variable("ETCD", setting.option), setting.value))
            .collect();
        let sound = self.sound && decoder.findings.errors() == errors;
        sound.then_some(ServiceSettings {
            unit: "etcd.service",
            secret: false,
            environment,
            span: self.span,
        })
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.options.iter().find(|given| given.name == name)
    }
}

/// An option of today with its value as a unit has it.
#[derive(Debug)]
struct Setting {
    option: &'static str,
    value: String,
    /// The option that it comes from, as written, and where.
    origin: Option<(String, Span)>,
}

#[derive(Debug)]
struct Translation<'s, 'd, 'v> {
    section: &'s Section,
    decoder: &'d mut Decoder<'v>,
    settings: Vec<Setting>,
}

impl Translation<'_, '_, '_> {
    fn value(&self, option: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.option == option);
        setting.map(|setting| setting.value.as_str())
    }

    fn set(&mut self, option: &'static str, value: impl Into<String>) {
        let value = value.into();
        self.settings.push(Setting { option, value, origin: None });
    }

    fn set_default(&mut self, option: &'static str, value: impl Into<String>) {
        if self.value(option).is_none() {
            self.set(option, value);
        }
    }

    /// Sets what the user's option says, unless another of theirs said it already.
    fn set_for(&mut self, given: &Given, option: &'static str, value: String) {
        let before = self.settings.iter().find(|setting| setting.option == option);
        if let Some((other, _)) = before.and_then(|setting| setting.origin.as_ref()) {
            let message =
                format!("{} and {} say the same thing", quoted(other), quoted(&given.written));
            let hint = format!("give `{option}` only");
            self.decoder.report(Finding::error(given.key, message).with_hint(hint));
            return;
        }
        let origin = Some((given.written.to_string(), given.key));
        self.settings.push(Setting { option, value, origin });
    }

    fn renamed(&mut self, given: &Given, today: &str, hint: &str) {
        let message = format!("{} is an old option: today it is {today}", quoted(&given.written));
        self.decoder.report(Finding::warning(given.key, message).with_hint(hint));
    }

    fn option(&mut self, given: &Given) {
        let value = without_specifiers(&given.value.value);
        match given.becomes {
            Becomes::Same(_) => {
                if given.name == "discovery" {
                    self.discovery(given);
                }
                self.set_for(given, given.name, value);
            }
            Becomes::Renamed(today, _) => {
                let hint = format!("write `{today}: {}`", given.value.value);
                self.renamed(given, &format!("`{today}`"), &hint);
                self.set_for(given, today, value);
            }
            Becomes::Authority(file, auth) => {
                let hint = format!("write `{file}` and `{auth}: true`");
                self.renamed(given, &format!("`{file}`"), &hint);
                self.set_for(given, file, value);
                if self.section.given(auth).is_none() {
                    self.set(auth, "true");
                }
            }
            Becomes::Debug => {
                self.renamed(given, "`log_level`", "write `log_level: debug`");
                if value == "true" {
                    self.set_for(given, "log_level", "debug".to_owned());
                }
            }
            Becomes::Fallback if value == "exit" => {}
            Becomes::Proxy if value == "off" => {}
            Becomes::Fallback | Becomes::Proxy => self.decoder.report(
                Finding::warning(
                    given.key,
                    format!("{} has no effect in etcd 3.5", quoted(&given.written)),
                )
                .with_hint("a proxy of etcd 2 cannot answer the clients of today"),
            ),
            Becomes::Peers => self.peers(given),
            Becomes::Address(_) | Becomes::Bind(_) => {}
        }
    }

    /// Members by address alone, which is not enough to find them.
    fn peers(&mut self, given: &Given) {
        let others = ["discovery", "discovery_srv", "initial_cluster"];
        let message = format!("{} names no members", quoted(&given.written));
        let finding = match others.iter().find(|other| self.section.given(other).is_some()) {
            Some(other) => Finding::warning(given.key, format!("{message}: it is not used"))
                .with_hint(format!("`{other}` says who the members are")),
            None => Finding::error(given.key, message).with_hint(
                "write `initial_cluster: NAME=http://HOST:PORT,...` with the name of each member",
            ),
        };
        self.decoder.report(finding);
    }

    /// The addresses of one side.
    fn side(&mut self, side: &'static Side) {
        let section = self.section;
        let old = |bind: bool| {
            section.options.iter().find(|given| match given.becomes {
                Becomes::Address(of) => !bind && of == side,
                Becomes::Bind(of) => bind && of == side,
                _ => false,
            })
        };
        let secure = section.given(side.certificate).is_some();
        let scheme = if secure { "https" } else { "http" };
        let advertised = old(false).and_then(|g| Some((g, self.address(g, address::advertised)?)));
        let bound = old(true).and_then(|given| Some((given, self.address(given, address::bound)?)));
        let listen = address::listen_urls(
            side,
            scheme,
            advertised.as_ref().map(|(_, address)| address),
            bound.as_ref().map(|(_, address)| address),
        );
        let Side { advertise: advertise_option, listen: listen_option, .. } = *side;
        if let Some((given, address)) = &advertised {
            let port = address.port.unwrap_or(side.port);
            let url = address.url(scheme, port);
            self.renamed(
                given,
                &format!("`{advertise_option}` and `{listen_option}`"),
                &format!("write `{advertise_option}: {url}`"),
            );
            self.set_for(given, advertise_option, without_specifiers(&url));
        }
        if let (Some((given, address)), Some(urls)) = (&bound, &listen) {
            self.renamed(
                given,
                &format!("`{listen_option}`"),
                &format!("write `{listen_option}: {urls}`"),
            );
            self.set_for(given, listen_option, without_specifiers(urls));
            if self.value(advertise_option).is_none() && !address.is_wildcard() {
                let url = address.url(scheme, address.port.unwrap_or(side.port));
                self.set(advertise_option, without_specifiers(&url));
            }
        } else if let Some(urls) = listen {
            self.set_default(listen_option, without_specifiers(&urls));
        }
        let listens = self.settings.iter().find(|setting| setting.option == listen_option);
        let origin = listens.and_then(|setting| setting.origin.clone());
        let untold = section.sound && self.value(advertise_option).is_none();
        if let Some((written, key)) = origin.filter(|_| untold) {
            let hint = match side == CLIENTS {
                true => format!("etcd does not start without `{advertise_option}`"),
                false => format!("give `{advertise_option}` too"),
            };
            self.decoder.report(
                Finding::warning(key, format!("others are not told of {}", quoted(&written)))
                    .with_hint(hint),
            );
        }
    }

    fn address(
        &mut self,
        given: &Given,
        read: fn(&crate::decoder::Text) -> Result<Address, &'static str>,
    ) -> Option<Address> {
        match read(&given.value) {
            Ok(address) => Some(address),
            Err(why) => {
                let message = format!("{} {why}", quoted(&given.written));
                self.decoder.report(
                    Finding::error(given.value.span, message)
                        .with_hint("an address is written `HOST:PORT`, IPv6 as `[HOST]:PORT`"),
                );
                None
            }
        }
    }

    /// Who this member is and how it finds the others.
    fn membership(&mut self, hostname: Option<&str>) {
        self.set_default("name", hostname.unwrap_or(MACHINE_ID));
        let section = self.section;
        if section.given("discovery").is_some() {
            self.set("discovery_fallback", "exit");
        }
        let finding_others = ["discovery", "discovery_srv", "initial_cluster"];
        let ways: Vec<_> = finding_others.iter().filter_map(|way| section.given(way)).collect();
        if let [first, second, ..] = ways[..] {
            let message = format!(
                "etcd finds its members by {} or by {}, not by both",
                quoted(&first.written),
                quoted(&second.written)
            );
            self.decoder.error(second.key, message);
        }
        match (ways.first(), self.value(PEERS.advertise).map(str::to_owned)) {
            (None, Some(urls)) => {
                let name = self.value("name").unwrap_or(MACHINE_ID);
                let members: Vec<_> =
                    urls.split(',').map(|url| format!("{name}={}", url.trim())).collect();
                self.set("initial_cluster", members.join(","));
            }
            (Some(way), None) if way.name != "initial_cluster" => self.decoder.report(
                Finding::warning(
                    way.key,
                    format!("{} tells the others no address of this member", quoted(&way.written)),
                )
                .with_hint(format!("give `{}`", PEERS.advertise)),
            ),
            _ => {}
        }
        if let Some(given) = section.given("force_new_cluster")
            && given.value.value == "true"
        {
            let message = format!("{} makes a new cluster at every boot", quoted(&given.written));
            self.decoder.warn(given.key, message);
        }
    }

    /// A service that makes clusters is not a cluster.
    fn discovery(&mut self, given: &Given) {
        let Ok(url) = url::url(given.value.probe()) else { return };
        let token = url.path.trim_matches('/');
        if token.is_empty() || token.starts_with("new?") || token == "new" {
            self.decoder.report(
                Finding::error(given.value.span, "`discovery` names no cluster").with_hint(
                    "make one with `curl URL/new?size=3` and put the URL that it answers here",
                ),
            );
        }
    }

    fn upkeep(&mut self) {
        let by_revision = self.value("auto_compaction_mode") == Some("revision");
        for (option, value) in UPKEEP {
            let value = match *option {
                // A duration means nothing there.
                "auto_compaction_retention" if by_revision => "1000",
                _ => value,
            };
            self.set_default(option, value);
        }
    }

    /// etcd refuses to start if an election takes less than five heartbeats, or too long.
    fn timeouts(&mut self) {
        let number = |option| self.value(option).and_then(check::whole);
        let heartbeat = number("heartbeat_interval").unwrap_or(100);
        let election = number("election_timeout").unwrap_or(1000);
        let set = ["election_timeout", "heartbeat_interval"].iter().find_map(|option| {
            let setting = self.settings.iter().find(|setting| setting.option == *option)?;
            setting.origin.as_ref().map(|(_, key)| *key)
        });
        let Some(key) = set else { return };
        if election < heartbeat.saturating_mul(5) {
            let message = format!(
                "the election timeout, {election} ms, is less than five heartbeats of {heartbeat} ms"
            );
            self.decoder.report(
                Finding::error(key, message).with_hint("etcd does not start with such a value"),
            );
        } else if election > 50_000 {
            self.decoder.report(
                Finding::error(key, "the election timeout is more than 50000 ms")
                    .with_hint("etcd does not start with such a value"),
            );
        }
    }
}
