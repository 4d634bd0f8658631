//! network-config version 2, which is netplan's language: a table for each mapping.

use std::net::IpAddr;

use super::interface::{Bond, Bridge, Kind, Match, Overrides, Route, Vlan};
use super::values::{self, Draft, ENTRY, INTERFACE, PATTERN};
use super::{Placed, devices};
use crate::address::Address;
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::table::{KnownKey, Table, applied, ignored, nowhere};
use crate::tree::{Entry, Node};

/// The whole of which not everything is read yet.
#[derive(Debug, Default)]
struct Whole {
    interfaces: Vec<Placed>,
    versioned: bool,
}

const TOP: Table<Read<Whole>> = Table {
    place: "",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("network", |decoder, entry, whole| {
            decoder.read(&entry.value, &TOP, whole);
        }),
        applied("version", version),
        applied("ethernets", |decoder, entry, whole| {
            devices(decoder, entry, whole, &Kind::Ethernet, &ETHERNET);
        }),
        applied("bonds", |decoder, entry, whole| {
            devices(decoder, entry, whole, &Kind::Bond(Bond::default()), &BOND);
        }),
        applied("bridges", |decoder, entry, whole| {
            devices(decoder, entry, whole, &Kind::Bridge(Bridge::default()), &BRIDGE);
        }),
        applied("vlans", |decoder, entry, whole| {
            devices(decoder, entry, whole, &Kind::Vlan(Vlan::default()), &VLAN);
        }),
        applied("dummy_devices", |decoder, entry, whole| {
            devices(decoder, entry, whole, &Kind::Dummy, &DUMMY);
        }),
        applied("renderer", |decoder, entry, _| renderer(decoder, entry)),
        left_out("modems"),
        left_out("nm_devices"),
        left_out("openvswitch"),
        left_out("tunnels"),
        left_out("virtual_ethernets"),
        left_out("vrfs"),
        left_out("wifis"),
    ],
};

/// Known, and to go on without it would leave a machine without its network.
const fn left_out(name: &'static str) -> KnownKey<Read<Whole>> {
    applied(name, |decoder, entry, _| {
        let message = format!("{} is not supported", quoted(&entry.key.written));
        decoder.report(Finding::error(entry.key.span, message).with_hint(
            "write `.netdev` and `.network` units under `coreos.units` in the cloud-config",
        ));
    })
}

/// What every kind of interface may have, after its own keys.
macro_rules! table {
    ($place:literal, $($own:expr),* $(,)?) => {
        Table {
            place: $place,
            unknown: Severity::Error,
            elsewhere: nowhere,
            keys: &[
                $($own,)*
                applied("dhcp4", |decoder, entry, draft| {
                    draft.interface.dhcp4 = decoder.flag(entry).unwrap_or_default();
                }),
                applied("dhcp6", |decoder, entry, draft| {
                    draft.interface.dhcp6 = decoder.flag(entry).unwrap_or_default();
                }),
                applied("accept_ra", |decoder, entry, draft| {
                    draft.interface.accept_ra = decoder.flag(entry);
                }),
                applied("dhcp4_overrides", |decoder, entry, draft| {
                    decoder.read(&entry.value, &OVERRIDES, &mut draft.interface.dhcp4_overrides);
                }),
                applied("dhcp6_overrides", |decoder, entry, draft| {
                    decoder.read(&entry.value, &OVERRIDES, &mut draft.interface.dhcp6_overrides);
                }),
                applied("addresses", |decoder, entry, draft| {
                    draft.interface.addresses = values::addresses(decoder, entry);
                }),
                applied("gateway4", |decoder, entry, draft| gateway(decoder, entry, draft, true)),
                applied("gateway6", |decoder, entry, draft| gateway(decoder, entry, draft, false)),
                applied("routes", routes),
                applied("nameservers", |decoder, entry, draft| {
                    decoder.read(&entry.value, &NAMESERVERS, draft);
                }),
                applied("macaddress", |decoder, entry, draft| {
                    draft.interface.macaddress = values::macaddress(decoder, entry);
                }),
                applied("mtu", |decoder, entry, draft| {
                    draft.interface.mtu = values::number(decoder, entry, 68);
                }),
                applied("optional", |decoder, entry, draft| {
                    draft.interface.optional = decoder.flag(entry).unwrap_or_default();
                }),
                ignored("critical"),
                ignored("dhcp_identifier"),
                ignored("ipv6_address_generation"),
                ignored("ipv6_mtu"),
                ignored("ipv6_privacy"),
                ignored("link_local"),
                ignored("optional_addresses"),
                ignored("renderer"),
                ignored("routing_policy"),
            ],
        }
    };
}

const ETHERNET: Table<Read<Draft>> = table!(
    "`ethernets`",
    applied("match", |decoder, entry, draft| {
        let mut matching = Match::default();
        decoder.read(&entry.value, &MATCH, &mut matching);
        draft.interface.matching = Some(matching).filter(|m| *m != Match::default());
    }),
    applied("set_name", |decoder, entry, draft| {
        draft.interface.set_name = values::interface_name(decoder, entry, INTERFACE);
    }),
    applied("wakeonlan", |decoder, entry, draft| {
        draft.interface.wakeonlan = decoder.flag(entry).unwrap_or_default();
    }),
);

const BOND: Table<Read<Draft>> = table!(
    "`bonds`",
    applied("interfaces", devices::members),
    applied("parameters", |decoder, entry, draft| {
        if let Kind::Bond(bond) = &mut draft.interface.kind {
            decoder.read(&entry.value, &devices::BOND_PARAMETERS, bond);
        }
    }),
);

const BRIDGE: Table<Read<Draft>> = table!(
    "`bridges`",
    applied("interfaces", devices::members),
    applied("parameters", |decoder, entry, draft| {
        if let Kind::Bridge(bridge) = &mut draft.interface.kind {
            decoder.read(&entry.value, &devices::BRIDGE_PARAMETERS, bridge);
        }
    }),
);

const VLAN: Table<Read<Draft>> =
    table!("`vlans`", applied("id", devices::vlan_id), applied("link", devices::vlan_link));

const DUMMY: Table<Read<Draft>> = table!("`dummy-devices`",);

const MATCH: Table<Read<Match>> = Table {
    place: "`match`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("macaddress", |decoder, entry, matching| {
            matching.macaddress = values::macaddress(decoder, entry);
        }),
        applied("name", |decoder, entry, matching| {
            matching.name = values::interface_name(decoder, entry, PATTERN);
        }),
        applied("driver", |decoder, entry, matching| {
            matching.driver = values::interface_name(decoder, entry, PATTERN);
        }),
    ],
};

const OVERRIDES: Table<Read<Overrides>> = Table {
    place: "the overrides",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("use_dns", |decoder, entry, all| all.use_dns = decoder.flag(entry)),
        applied("use_domains", |decoder, entry, all| all.use_domains = decoder.flag(entry)),
        applied("use_hostname", |decoder, entry, all| all.use_hostname = decoder.flag(entry)),
        applied("use_mtu", |decoder, entry, all| all.use_mtu = decoder.flag(entry)),
        applied("use_ntp", |decoder, entry, all| all.use_ntp = decoder.flag(entry)),
        applied("use_routes", |decoder, entry, all| all.use_routes = decoder.flag(entry)),
        applied("send_hostname", |decoder, entry, all| all.send_hostname = decoder.flag(entry)),
        applied("hostname", |decoder, entry, all| {
            all.hostname = values::interface_name(decoder, entry, ENTRY);
        }),
        applied("route_metric", |decoder, entry, all| {
            all.route_metric = values::number(decoder, entry, 0);
        }),
    ],
};

const NAMESERVERS: Table<Read<Draft>> = Table {
    place: "`nameservers`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("addresses", |decoder, entry, draft| {
            draft.interface.nameservers = values::servers(decoder, entry);
        }),
        applied("search", |decoder, entry, draft| {
            draft.interface.search = values::domains(decoder, entry);
        }),
    ],
};

/// A route of which not everything is read yet.
#[derive(Debug, Default)]
struct RouteDraft {
    /// Nothing inside: the default route.
    to: Option<Option<Address>>,
    via: Option<IpAddr>,
    metric: Option<u32>,
    on_link: bool,
    /// A value could not be read; a finding says so.
    bad: bool,
}

const ROUTE: Table<Read<RouteDraft>> = Table {
    place: "`routes`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        applied("to", |decoder, entry, route| {
            route.to = destination(decoder, entry);
            route.bad |= route.to.is_none();
        }),
        applied("via", |decoder, entry, route| {
            let text = decoder.entry_line(entry);
            route.via = text.and_then(|text| values::ip(decoder, &text, "`via`"));
            route.bad |= route.via.is_none();
        }),
        applied("metric", |decoder, entry, route| {
            route.metric = values::number(decoder, entry, 0);
        }),
        applied("on_link", |decoder, entry, route| {
            route.on_link = decoder.flag(entry).unwrap_or_default();
        }),
        ignored("from"),
        ignored("mtu"),
        ignored("scope"),
        ignored("table"),
        ignored("type"),
    ],
};

/// Reads a whole network-config.
pub(super) fn interfaces(decoder: &mut Decoder<'_>, root: &Node) -> Vec<Placed> {
    let mut whole = Whole::default();
    let complete = decoder.read(root, &TOP, &mut whole);
    if complete && !whole.versioned {
        decoder.report(
            Finding::error(root.span, "no `version` is given").with_hint("write `version: 2`"),
        );
    }
    whole.interfaces
}

fn version(decoder: &mut Decoder<'_>, entry: &Entry, whole: &mut Whole) {
    whole.versioned = true;
    let Some(text) = decoder.entry_line(entry) else { return };
    if text.value != "2" {
        let message = format!("version {} of network-config is not supported", quoted(&text.value));
        decoder.report(
            Finding::error(text.span, message).with_hint("write `version: 2` and `ethernets`"),
        );
    }
}

fn renderer(decoder: &mut Decoder<'_>, entry: &Entry) {
    let Some(text) = decoder.entry_line(entry) else { return };
    if text.value != "networkd" {
        decoder.warn(text.span, "`networkd` renders every network of this system");
    }
}

/// Reads a mapping from names to interfaces of one kind.
fn devices(
    decoder: &mut Decoder<'_>,
    entry: &Entry,
    whole: &mut Whole,
    kind: &Kind,
    table: &Table<Read<Draft>>,
) {
    for entry in values::entries(decoder, entry) {
        let id = entry.key.written.to_string();
        let mut draft = Draft { key: entry.key.span, ..Draft::default() };
        draft.interface.kind = kind.clone();
        // The name of one that is made is the kernel's, too.
        let longest = if draft.interface.kind == Kind::Ethernet { ENTRY } else { INTERFACE };
        if !values::is_name(&id, longest) {
            let message = format!("{} cannot be the name of an interface", quoted(&id));
            decoder.error(entry.key.span, message);
            continue;
        }
        if !values::is_empty(&entry.value) && !decoder.read(&entry.value, table, &mut draft) {
            continue;
        }
        draft.interface.id = id;
        whole.interfaces.push((draft.finish(decoder), entry.key.span));
    }
}

fn gateway(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft, v4: bool) {
    let what = quoted(&entry.key.written);
    let Some(text) = decoder.entry_line(entry) else { return };
    let Some(via) = values::ip(decoder, &text, &what) else { return };
    if via.is_ipv4() != v4 {
        let family = if v4 { 4 } else { 6 };
        decoder.error(text.span, format!("{what} must be an IPv{family} address"));
        return;
    }
    draft.push_route(Route::default_via(via), text.span);
}

fn routes(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    for node in decoder.list(entry) {
        let mut route = RouteDraft::default();
        if !decoder.read(node, &ROUTE, &mut route) || route.bad {
            continue;
        }
        let RouteDraft { to: Some(to), via, metric, on_link, .. } = route else {
            decoder.report(
                Finding::error(node.span, "this route has no `to`")
                    .with_hint("`to: default` is the route to everything"),
            );
            continue;
        };
        if let Some(problem) = values::route_problem(to, via) {
            decoder.error(node.span, problem);
            continue;
        }
        draft.push_route(Route { to, via, metric, on_link }, node.span);
    }
}

/// Where a route leads: a network, or nothing inside for the default route.
fn destination(decoder: &mut Decoder<'_>, entry: &Entry) -> Option<Option<Address>> {
    let text = decoder.entry_line(entry)?;
    if values::is_everything(&text.value) {
        return Some(None);
    }
    match text.value.parse::<Address>() {
        Ok(address) => Some(Some(address)),
        Err(_) => {
            let message = format!("{} is not a network", quoted(&text.value));
            let hint = "such as `10.0.0.0/8`, or `default`";
            decoder.report(Finding::error(text.span, message).with_hint(hint));
            None
        }
    }
}
