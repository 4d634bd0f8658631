//! network-config version 1: a list of entries with a `type` each, whose addresses are in
//! `subnets`.

use std::net::IpAddr;

use super::interface::{Bond, Bridge, Interface, Kind, Match, Route, Vlan};
use super::values::{self, Draft, ENTRY, INTERFACE};
use super::{Placed, devices};
use crate::address::Address;
use crate::decoder::{Decoder, Read};
use crate::finding::{Finding, Severity, Span, quoted};
use crate::outline::Shape;
use crate::table::{Table, ignored, key, nowhere, tolerated};
use crate::tree::{Data, Entry, Node};

/// The whole of which not everything is read yet.
#[derive(Debug, Default)]
struct Whole {
    interfaces: Vec<Placed>,
    /// Those that are for no interface in particular.
    servers: Vec<IpAddr>,
    search: Vec<String>,
    routes: Vec<(Route, Span)>,
}

const TOP: Table<Read<Whole>> = Table {
    place: "",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        tolerated("network", |decoder, entry, whole| {
            decoder.read(&entry.value, &TOP, whole);
        }),
        key("version", Shape::Whole(1), "The version of the language.", |_, _, _| ()),
        key(
            "config",
            Shape::List(&Shape::Keys(|| ITEM.outline(&["type"]))),
            "Interfaces, name servers and routes.",
            |decoder, entry, whole| {
                for node in decoder.list(entry) {
                    item(decoder, node, whole);
                }
            },
        ),
    ],
};

/// What it looks like.
pub(super) const SHAPE: Shape = Shape::Keys(|| TOP.outline(&["version", "config"]));

const ITEM_TYPES: [&str; 7] =
    ["physical", "bond", "bridge", "vlan", "nameserver", "route", "loopback"];
const SUBNET_TYPES: [&str; 10] = [
    "dhcp",
    "dhcp4",
    "dhcp6",
    "static",
    "static4",
    "static6",
    "manual",
    "ipv6_slaac",
    "ipv6_dhcpv6-stateful",
    "ipv6_dhcpv6-stateless",
];

/// An entry of `config`.
#[derive(Debug, Default)]
struct Item {
    draft: Draft,
    mac: Option<String>,
    // Of name servers and routes.
    servers: Vec<IpAddr>,
    search: Vec<String>,
    interface: Option<String>,
    route: RouteDraft,
}

const ITEM: Table<Read<Item>> = Table {
    place: "an entry of `config`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("type", Shape::Words(&ITEM_TYPES), "What it is.", |_, _, _| ()),
        key("name", Shape::Text, "The interface's name.", |decoder, entry, item| {
            if let Some(name) = values::interface_name(decoder, entry, INTERFACE) {
                item.draft.interface.id = name;
            }
        }),
        key("mac_address", Shape::Text, "The card that is meant.", |decoder, entry, item| {
            item.mac = values::macaddress(decoder, entry);
        }),
        key("mtu", Shape::Whole(68), "Bytes of a packet.", |decoder, entry, item| {
            item.draft.interface.mtu = values::number(decoder, entry, 68);
        }),
        key(
            "accept_ra",
            Shape::Flag,
            "Addresses of IPv6 as routers tell.",
            |decoder, entry, item| {
                item.draft.interface.accept_ra = decoder.flag(entry);
            },
        ),
        key(
            "wakeonlan",
            Shape::Flag,
            "Whether a packet may wake the machine.",
            |decoder, entry, item| {
                item.draft.interface.wakeonlan = decoder.flag(entry).unwrap_or_default();
            },
        ),
        key(
            "optional",
            Shape::Flag,
            "Whether the boot goes on without it.",
            |decoder, entry, item| {
                item.draft.interface.optional = decoder.flag(entry).unwrap_or_default();
            },
        ),
        key(
            "subnets",
            Shape::List(&Shape::Keys(|| SUBNET.outline(&["type"]))),
            "Its addresses.",
            |decoder, entry, item| {
                for node in decoder.list(entry) {
                    subnet(decoder, node, &mut item.draft);
                }
            },
        ),
        key("bond_interfaces", values::LINES, "The members of a bond.", |decoder, entry, item| {
            devices::members(decoder, entry, &mut item.draft);
        }),
        key(
            "bridge_interfaces",
            values::LINES,
            "The members of a bridge.",
            |decoder, entry, item| {
                devices::members(decoder, entry, &mut item.draft);
            },
        ),
        key(
            "params",
            Shape::Either(&[
                Shape::Keys(|| devices::BOND_PARAMS.outline(&[])),
                Shape::Keys(|| devices::BRIDGE_PARAMS.outline(&[])),
            ]),
            "How a bond or bridge works.",
            |decoder, entry, item| match &mut item.draft.interface.kind {
                Kind::Bond(bond) => {
                    decoder.read(&entry.value, &devices::BOND_PARAMS, bond);
                }
                Kind::Bridge(bridge) => {
                    decoder.read(&entry.value, &devices::BRIDGE_PARAMS, bridge);
                }
                _ => {}
            },
        ),
        key("vlan_id", Shape::Whole(0), "The number of a VLAN.", |decoder, entry, item| {
            devices::vlan_id(decoder, entry, &mut item.draft);
        }),
        key(
            "vlan_link",
            Shape::Text,
            "The interface that a VLAN is on.",
            |decoder, entry, item| {
                devices::vlan_link(decoder, entry, &mut item.draft);
            },
        ),
        key("address", values::LINES, "Name servers.", |decoder, entry, item| {
            item.servers = values::servers(decoder, entry);
        }),
        key("search", values::LINES, "Domains to search in.", |decoder, entry, item| {
            item.search = values::domains(decoder, entry);
        }),
        key("interface", Shape::Text, "Whose name servers they are.", |decoder, entry, item| {
            item.interface = values::interface_name(decoder, entry, ENTRY);
        }),
        key("destination", Shape::Text, "Where a route leads.", |decoder, entry, item| {
            item.route.destination(decoder, entry);
        }),
        key("network", Shape::Text, "The same as `destination`.", |decoder, entry, item| {
            item.route.destination(decoder, entry);
        }),
        key("netmask", Shape::Text, "Such as 255.255.255.0.", |decoder, entry, item| {
            item.route.netmask(decoder, entry);
        }),
        key("gateway", Shape::Text, "The router.", |decoder, entry, item| {
            item.route.gateway(decoder, entry);
        }),
        key("metric", Shape::Whole(0), "The lowest wins.", |decoder, entry, item| {
            item.route.metric(decoder, entry);
        }),
        ignored("id"),
        ignored("keep_configuration"),
    ],
};

/// An entry of `subnets`.
#[derive(Debug, Default)]
struct Subnet {
    address: Option<String>,
    netmask: Option<String>,
    gateway: Option<(IpAddr, Span)>,
    metric: Option<u32>,
    servers: Vec<IpAddr>,
    search: Vec<String>,
    routes: Vec<(Route, Span)>,
    optional: bool,
}

const SUBNET: Table<Read<Subnet>> = Table {
    place: "an entry of `subnets`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("type", Shape::Words(&SUBNET_TYPES), "What it is.", |_, _, _| ()),
        key(
            "address",
            Shape::Text,
            "An address, with its prefix or `netmask`.",
            |decoder, entry, subnet| {
                subnet.address = decoder.entry_line(entry).map(|text| text.value);
            },
        ),
        key("netmask", Shape::Text, "Such as 255.255.255.0.", |decoder, entry, subnet| {
            subnet.netmask = decoder.entry_line(entry).map(|text| text.value);
        }),
        key("gateway", Shape::Text, "The router.", |decoder, entry, subnet| {
            if let Some(text) = decoder.entry_line(entry) {
                let via = values::ip(decoder, &text, "`gateway`");
                subnet.gateway = via.map(|via| (via, text.span));
            }
        }),
        key("metric", Shape::Whole(0), "The lowest wins.", |decoder, entry, subnet| {
            subnet.metric = values::number(decoder, entry, 0);
        }),
        key("dns_nameservers", values::LINES, "Name servers.", |decoder, entry, subnet| {
            subnet.servers = values::servers(decoder, entry);
        }),
        key("dns_search", values::LINES, "Domains to search in.", |decoder, entry, subnet| {
            subnet.search = values::domains(decoder, entry);
        }),
        key(
            "routes",
            Shape::List(&Shape::Keys(|| ROUTE.outline(&[]))),
            "Routes.",
            |decoder, entry, subnet| {
                for node in decoder.list(entry) {
                    let mut draft = RouteDraft::default();
                    if decoder.read(node, &ROUTE, &mut draft) {
                        let route = draft.finish(decoder, node.span);
                        subnet.routes.extend(route.map(|route| (route, node.span)));
                    }
                }
            },
        ),
        key(
            "control",
            Shape::Words(&["auto", "manual", "hotplug"]),
            "Whether the boot waits for it.",
            |decoder, entry, subnet| {
                let text = decoder.entry_line(entry);
                subnet.optional =
                    text.is_some_and(|text| matches!(&*text.value, "manual" | "hotplug"));
            },
        ),
        // What the type says already.
        key("ipv4", Shape::Flag, "", |_, _, _| ()),
        key("ipv6", Shape::Flag, "", |_, _, _| ()),
        ignored("broadcast"),
        ignored("pointopoint"),
        ignored("scope"),
    ],
};

/// A route of which not everything is read yet.
#[derive(Debug, Default)]
struct RouteDraft {
    destination: Option<String>,
    netmask: Option<String>,
    via: Option<IpAddr>,
    metric: Option<u32>,
    /// A value could not be read; a finding says so.
    bad: bool,
}

const ROUTE: Table<Read<RouteDraft>> = Table {
    place: "`routes`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("destination", Shape::Text, "Where a route leads.", |decoder, entry, route| {
            route.destination(decoder, entry);
        }),
        key("network", Shape::Text, "The same as `destination`.", |decoder, entry, route| {
            route.destination(decoder, entry);
        }),
        key("netmask", Shape::Text, "Such as 255.255.255.0.", |decoder, entry, route| {
            route.netmask(decoder, entry);
        }),
        key("gateway", Shape::Text, "The router.", |decoder, entry, route| {
            route.gateway(decoder, entry);
        }),
        key("metric", Shape::Whole(0), "The lowest wins.", |decoder, entry, route| {
            route.metric(decoder, entry);
        }),
    ],
};

impl RouteDraft {
    fn destination(&mut self, decoder: &mut Decoder<'_>, entry: &Entry) {
        self.destination = decoder.entry_line(entry).map(|text| text.value);
        self.bad |= self.destination.is_none();
    }

    fn netmask(&mut self, decoder: &mut Decoder<'_>, entry: &Entry) {
        self.netmask = decoder.entry_line(entry).map(|text| text.value);
    }

    fn gateway(&mut self, decoder: &mut Decoder<'_>, entry: &Entry) {
        let text = decoder.entry_line(entry);
        self.via = text.and_then(|text| values::ip(decoder, &text, "`gateway`"));
        self.bad |= self.via.is_none();
    }

    fn metric(&mut self, decoder: &mut Decoder<'_>, entry: &Entry) {
        self.metric = values::number(decoder, entry, 0);
    }

    fn finish(self, decoder: &mut Decoder<'_>, span: Span) -> Option<Route> {
        if self.bad {
            return None;
        }
        let Some(text) = &self.destination else {
            decoder.error(span, "this route has no `destination`");
            return None;
        };
        let to = match destination(text, self.netmask.as_deref()) {
            Some(to) => to,
            None => {
                decoder.error(span, format!("{} is not a network", quoted(text)));
                return None;
            }
        };
        if let Some(problem) = values::route_problem(to, self.via) {
            decoder.error(span, problem);
            return None;
        }
        Some(Route { to, via: self.via, metric: self.metric, on_link: false })
    }
}

/// Where a route leads; nothing inside for everything.
fn destination(text: &str, netmask: Option<&str>) -> Option<Option<Address>> {
    if values::is_everything(text) {
        return Some(None);
    }
    let to = match netmask {
        Some(_) => values::with_mask(text, netmask)?,
        None => text.parse().ok()?,
    };
    Some(Some(to).filter(|to| to.prefix > 0))
}

/// Reads a whole network-config.
pub(super) fn interfaces(decoder: &mut Decoder<'_>, root: &Node) -> Vec<Placed> {
    let mut whole = Whole::default();
    decoder.read(root, &TOP, &mut whole);
    let Whole { mut interfaces, servers, search, routes } = whole;
    for (route, span) in routes {
        let Some(via) = route.via else { continue };
        // The network that the gateway is in, else one of which nothing is known yet.
        let has = |(one, _): &Placed| one.addresses.iter().any(|address| address.contains(via));
        let may_have = |(one, _): &Placed| !one.is_outside(via);
        let found =
            interfaces.iter().position(has).or_else(|| interfaces.iter().position(may_have));
        match found.and_then(|index| interfaces.get_mut(index)) {
            Some((interface, _)) => interface.routes.push(route),
            None => decoder.error(span, "the gateway of this route is in no interface's network"),
        }
    }
    // A resolver asks all servers, whatever interface they are written at: it is enough that one
    // which will be up has them.
    let up = |one: &Interface| one.dhcp4 || one.dhcp6 || !one.addresses.is_empty();
    let chosen = interfaces.iter().position(|(one, _)| up(one)).unwrap_or_default();
    if let Some((interface, _)) = interfaces.get_mut(chosen) {
        interface.nameservers.extend(servers);
        interface.search.extend(search);
    }
    interfaces
}

/// The `type` of an entry, which decides how its other keys are read.
fn type_of(decoder: &mut Decoder<'_>, node: &Node, what: &str) -> Option<(String, Span)> {
    let Data::Mapping(entries) = &node.data else {
        let message = format!("expected the keys of {what}, found {}", node.kind());
        decoder.error(node.span, message);
        return None;
    };
    match entries.iter().find(|entry| &*entry.key.name == "type") {
        Some(entry) => decoder.entry_line(entry).map(|text| (text.value, text.span)),
        None => {
            decoder.error(node.span, format!("{what} has no `type`"));
            None
        }
    }
}

fn item(decoder: &mut Decoder<'_>, node: &Node, whole: &mut Whole) {
    let Some((kind, span)) = type_of(decoder, node, "an entry of `config`") else { return };
    let mut item = Item { draft: Draft { key: node.span, ..Draft::default() }, ..Item::default() };
    item.draft.interface.kind = match &*kind {
        "physical" | "nameserver" | "route" => Kind::Ethernet,
        "bond" => Kind::Bond(Bond::default()),
        "bridge" => Kind::Bridge(Bridge::default()),
        "vlan" => Kind::Vlan(Vlan::default()),
        // Every system has it.
        "loopback" => return,
        other => {
            let message = format!("the type {} is not known", quoted(other));
            decoder.report(Finding::error(span, message).with_hint(
                "known are physical, bond, bridge, vlan, nameserver, route and loopback",
            ));
            return;
        }
    };
    if !decoder.read(node, &ITEM, &mut item) {
        return;
    }
    match &*kind {
        "nameserver" => match &item.interface {
            Some(id) => match whole.interfaces.iter_mut().find(|(one, _)| one.id == *id) {
                Some((interface, _)) => {
                    interface.nameservers.extend(item.servers);
                    interface.search.extend(item.search);
                }
                None => decoder.error(span, format!("there is no interface {} above", quoted(id))),
            },
            None => {
                whole.servers.extend(item.servers);
                whole.search.extend(item.search);
            }
        },
        "route" => {
            let route = item.route.finish(decoder, node.span);
            whole.routes.extend(route.map(|route| (route, node.span)));
        }
        _ => interface(decoder, item, whole),
    }
}

fn interface(decoder: &mut Decoder<'_>, item: Item, whole: &mut Whole) {
    let Item { mut draft, mac, .. } = item;
    let interface = &mut draft.interface;
    if interface.id.is_empty() {
        decoder.error(draft.key, "an entry of `config` has no `name`");
        return;
    }
    match (&interface.kind, mac) {
        // The address says which it is, the name what it is to be called.
        (Kind::Ethernet, Some(mac)) => {
            interface.matching = Some(Match { macaddress: Some(mac), ..Match::default() });
            interface.set_name = Some(interface.id.clone());
        }
        (_, mac) => interface.macaddress = mac,
    }
    let span = draft.key;
    whole.interfaces.push((draft.finish(decoder), span));
}

fn subnet(decoder: &mut Decoder<'_>, node: &Node, draft: &mut Draft) {
    let Some((kind, span)) = type_of(decoder, node, "an entry of `subnets`") else { return };
    let mut subnet = Subnet::default();
    if !decoder.read(node, &SUBNET, &mut subnet) {
        return;
    }
    let interface = &mut draft.interface;
    match &*kind {
        "dhcp" | "dhcp4" => interface.dhcp4 = true,
        "dhcp6" | "ipv6_dhcpv6-stateful" => interface.dhcp6 = true,
        // networkd asks for what a router does not say where the router says so.
        "ipv6_dhcpv6-stateless" | "ipv6_slaac" => interface.accept_ra = Some(true),
        "static" | "static4" | "static6" => {
            let address = subnet.address.as_deref();
            match address.and_then(|text| values::with_mask(text, subnet.netmask.as_deref())) {
                Some(address) => interface.addresses.push(address),
                None => decoder.report(
                    Finding::error(node.span, "this static subnet has no address with a prefix")
                        .with_hint("such as `address: 10.0.0.5/24`"),
                ),
            }
        }
        "manual" => {}
        other => {
            let message = format!("the type {} of a subnet is not known", quoted(other));
            decoder.error(span, message);
        }
    }
    interface.optional |= subnet.optional;
    interface.nameservers.extend(subnet.servers);
    interface.search.extend(subnet.search);
    if let Some((via, span)) = subnet.gateway {
        draft.push_route(Route { metric: subnet.metric, ..Route::default_via(via) }, span);
    }
    for (route, span) in subnet.routes {
        draft.push_route(route, span);
    }
}
