//! network-config version 2, which is netplan's language: a table for each mapping.

use std::net::IpAddr;

use super::interface::{Bond, Bridge, Kind, Match, Overrides, Route, Vlan};
use super::values::{self, Draft, ENTRY, INTERFACE, PATTERN};
use super::{Placed, devices};
use crate::address::Address;
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, quoted};
use crate::outline::Shape;
use crate::table::{KnownKey, Table, ignored, key, nowhere, tolerated};
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
        tolerated("network", |decoder, entry, whole| {
            decoder.read(&entry.value, &TOP, whole);
        }),
        key("version", Shape::Whole(2), "The version of the language.", version),
        key(
            "ethernets",
            Shape::Names(&Shape::Keys(|| ETHERNET.outline(&[]))),
            "Cards, by a name of yours.",
            |decoder, entry, whole| {
                devices(decoder, entry, whole, &Kind::Ethernet, &ETHERNET);
            },
        ),
        key(
            "bonds",
            Shape::Names(&Shape::Keys(|| BOND.outline(&[]))),
            "Several cards as one.",
            |decoder, entry, whole| {
                devices(decoder, entry, whole, &Kind::Bond(Bond::default()), &BOND);
            },
        ),
        key(
            "bridges",
            Shape::Names(&Shape::Keys(|| BRIDGE.outline(&[]))),
            "Bridges, by their name.",
            |decoder, entry, whole| {
                devices(decoder, entry, whole, &Kind::Bridge(Bridge::default()), &BRIDGE);
            },
        ),
        key(
            "vlans",
            Shape::Names(&Shape::Keys(|| VLAN.outline(&["id", "link"]))),
            "VLANs, by their name.",
            |decoder, entry, whole| {
                devices(decoder, entry, whole, &Kind::Vlan(Vlan::default()), &VLAN);
            },
        ),
        key(
            "dummy_devices",
            Shape::Names(&Shape::Keys(|| DUMMY.outline(&[]))),
            "Interfaces that lead nowhere.",
            |decoder, entry, whole| {
                devices(decoder, entry, whole, &Kind::Dummy, &DUMMY);
            },
        ),
        key("renderer", Shape::Words(&["networkd"]), "Who reads it here.", |decoder, entry, _| {
            renderer(decoder, entry);
        }),
        left_out("modems"),
        left_out("nm_devices"),
        left_out("openvswitch"),
        left_out("tunnels"),
        left_out("virtual_ethernets"),
        left_out("vrfs"),
        left_out("wifis"),
    ],
};

/// What it looks like.
pub(super) const SHAPE: Shape = Shape::Keys(|| TOP.outline(&["version"]));

/// Known, and to go on without it would leave a machine without its network.
const fn left_out(name: &'static str) -> KnownKey<Read<Whole>> {
    tolerated(name, |decoder, entry, _| {
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
                key("dhcp4", Shape::Flag, "An address of IPv4 by DHCP.", |decoder, entry, draft| {
                    draft.interface.dhcp4 = decoder.flag(entry).unwrap_or_default();
                }),
                key("dhcp6", Shape::Flag, "Addresses of IPv6 by DHCP.", |decoder, entry, draft| {
                    draft.interface.dhcp6 = decoder.flag(entry).unwrap_or_default();
                }),
                key("accept_ra", Shape::Flag, "Addresses of IPv6 as routers tell.", |decoder, entry, draft| {
                    draft.interface.accept_ra = decoder.flag(entry);
                }),
                key("dhcp4_overrides", Shape::Keys(|| OVERRIDES.outline(&[])), "What is taken of the lease.", |decoder, entry, draft| {
                    decoder.read(&entry.value, &OVERRIDES, &mut draft.interface.dhcp4_overrides);
                }),
                key("dhcp6_overrides", Shape::Keys(|| OVERRIDES.outline(&[])), "What is taken of the lease.", |decoder, entry, draft| {
                    decoder.read(&entry.value, &OVERRIDES, &mut draft.interface.dhcp6_overrides);
                }),
                key("addresses", values::LINES, "Addresses.", |decoder, entry, draft| {
                    draft.interface.addresses = values::addresses(decoder, entry);
                }),
                key("gateway4", Shape::Text, "The router of IPv4; `routes` is the newer form.", |decoder, entry, draft| gateway(decoder, entry, draft, true)),
                key("gateway6", Shape::Text, "The router of IPv6; `routes` is the newer form.", |decoder, entry, draft| gateway(decoder, entry, draft, false)),
                key("routes", Shape::List(&Shape::Keys(|| ROUTE.outline(&["to"]))), "Routes.", routes),
                key("nameservers", Shape::Keys(|| NAMESERVERS.outline(&[])), "Who answers for names.", |decoder, entry, draft| {
                    decoder.read(&entry.value, &NAMESERVERS, draft);
                }),
                key("macaddress", Shape::Text, "A MAC address.", |decoder, entry, draft| {
                    draft.interface.macaddress = values::macaddress(decoder, entry);
                }),
                key("mtu", Shape::Whole(68), "Bytes of a packet.", |decoder, entry, draft| {
                    draft.interface.mtu = values::number(decoder, entry, 68);
                }),
                key("optional", Shape::Flag, "Whether the boot goes on without it.", |decoder, entry, draft| {
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
    key(
        "match",
        Shape::Keys(|| MATCH.outline(&[])),
        "Which card is meant, if not that of the name.",
        |decoder, entry, draft| {
            let mut matching = Match::default();
            decoder.read(&entry.value, &MATCH, &mut matching);
            draft.interface.matching = Some(matching).filter(|m| *m != Match::default());
        }
    ),
    key("set_name", Shape::Text, "What the card is called.", |decoder, entry, draft| {
        draft.interface.set_name = values::interface_name(decoder, entry, INTERFACE);
    }),
    key(
        "wakeonlan",
        Shape::Flag,
        "Whether a packet may wake the machine.",
        |decoder, entry, draft| {
            draft.interface.wakeonlan = decoder.flag(entry).unwrap_or_default();
        }
    ),
);

const BOND: Table<Read<Draft>> = table!(
    "`bonds`",
    key("interfaces", values::LINES, "Its members.", devices::members),
    key(
        "parameters",
        Shape::Keys(|| devices::BOND_PARAMETERS.outline(&[])),
        "How it works.",
        |decoder, entry, draft| {
            if let Kind::Bond(bond) = &mut draft.interface.kind {
                decoder.read(&entry.value, &devices::BOND_PARAMETERS, bond);
            }
        }
    ),
);

const BRIDGE: Table<Read<Draft>> = table!(
    "`bridges`",
    key("interfaces", values::LINES, "Its members.", devices::members),
    key(
        "parameters",
        Shape::Keys(|| devices::BRIDGE_PARAMETERS.outline(&[])),
        "How it works.",
        |decoder, entry, draft| {
            if let Kind::Bridge(bridge) = &mut draft.interface.kind {
                decoder.read(&entry.value, &devices::BRIDGE_PARAMETERS, bridge);
            }
        }
    ),
);

const VLAN: Table<Read<Draft>> = table!(
    "`vlans`",
    key("id", Shape::Whole(0), "The number of the VLAN.", devices::vlan_id),
    key("link", Shape::Text, "The interface that it is on.", devices::vlan_link)
);

const DUMMY: Table<Read<Draft>> = table!("`dummy-devices`",);

const MATCH: Table<Read<Match>> = Table {
    place: "`match`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("macaddress", Shape::Text, "A MAC address.", |decoder, entry, matching| {
            matching.macaddress = values::macaddress(decoder, entry);
        }),
        key(
            "name",
            Shape::Text,
            "The kernel's name, `*` for any part.",
            |decoder, entry, matching| {
                matching.name = values::interface_name(decoder, entry, PATTERN);
            },
        ),
        key("driver", Shape::Text, "The kernel's driver.", |decoder, entry, matching| {
            matching.driver = values::interface_name(decoder, entry, PATTERN);
        }),
    ],
};

const OVERRIDES: Table<Read<Overrides>> = Table {
    place: "the overrides",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("use_dns", Shape::Flag, "", |decoder, entry, all| all.use_dns = decoder.flag(entry)),
        key("use_domains", Shape::Flag, "", |decoder, entry, all| {
            all.use_domains = decoder.flag(entry);
        }),
        key("use_hostname", Shape::Flag, "", |decoder, entry, all| {
            all.use_hostname = decoder.flag(entry);
        }),
        key("use_mtu", Shape::Flag, "", |decoder, entry, all| all.use_mtu = decoder.flag(entry)),
        key("use_ntp", Shape::Flag, "", |decoder, entry, all| all.use_ntp = decoder.flag(entry)),
        key("use_routes", Shape::Flag, "", |decoder, entry, all| {
            all.use_routes = decoder.flag(entry);
        }),
        key("send_hostname", Shape::Flag, "", |decoder, entry, all| {
            all.send_hostname = decoder.flag(entry);
        }),
        key("hostname", Shape::Text, "The name that is sent.", |decoder, entry, all| {
            all.hostname = values::interface_name(decoder, entry, ENTRY);
        }),
        key("route_metric", Shape::Whole(0), "The lowest wins.", |decoder, entry, all| {
            all.route_metric = values::number(decoder, entry, 0);
        }),
    ],
};

const NAMESERVERS: Table<Read<Draft>> = Table {
    place: "`nameservers`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("addresses", values::LINES, "Addresses.", |decoder, entry, draft| {
            draft.interface.nameservers = values::servers(decoder, entry);
        }),
        key("search", values::LINES, "Domains to search in.", |decoder, entry, draft| {
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
        key("to", Shape::Text, "A network, or `default`.", |decoder, entry, route| {
            route.to = destination(decoder, entry);
            route.bad |= route.to.is_none();
        }),
        key("via", Shape::Text, "The router.", |decoder, entry, route| {
            let text = decoder.entry_line(entry);
            route.via = text.and_then(|text| values::ip(decoder, &text, "`via`"));
            route.bad |= route.via.is_none();
        }),
        key("metric", Shape::Whole(0), "The lowest wins.", |decoder, entry, route| {
            route.metric = values::number(decoder, entry, 0);
        }),
        key(
            "on_link",
            Shape::Flag,
            "Whether the router is reached directly.",
            |decoder, entry, route| {
                route.on_link = decoder.flag(entry).unwrap_or_default();
            },
        ),
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
