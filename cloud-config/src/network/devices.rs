//! What interfaces that are made of others have, in both versions of network-config.

use super::interface::{Bond, BondMode, Bridge, HashPolicy, Kind};
use super::values::{self, Draft, ENTRY};
use crate::decoder::{Decoder, Read};
use crate::finding::{Severity, quoted};
use crate::outline::Shape;
use crate::table::{Table, ignored, key, nowhere};
use crate::tree::Entry;

const MODES: &str = "a mode such as active-backup or 802.3ad";
const POLICIES: &str = "a policy such as layer2 or layer3+4";
const RATES: &str = "slow or fast";

/// `parameters` of version 2.
pub(super) const BOND_PARAMETERS: Table<Read<Bond>> = Table {
    place: "`parameters`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("mode", Shape::Text, "", mode),
        key("lacp_rate", Shape::Words(&["slow", "fast"]), "", lacp_rate),
        key("mii_monitor_interval", Shape::Text, "", monitor),
        key("transmit_hash_policy", Shape::Text, "", hash_policy),
        key("up_delay", Shape::Text, "", up_delay),
        key("down_delay", Shape::Text, "", down_delay),
        key("primary", Shape::Text, "", primary),
        key("min_links", Shape::Whole(0), "", min_links),
        ignored("ad_select"),
        ignored("all_members_active"),
        ignored("all_slaves_active"),
        ignored("arp_all_targets"),
        ignored("arp_interval"),
        ignored("arp_ip_targets"),
        ignored("arp_validate"),
        ignored("fail_over_mac_policy"),
        ignored("gratuitous_arp"),
        ignored("learn_packet_interval"),
        ignored("packets_per_member"),
        ignored("packets_per_slave"),
        ignored("primary_reselect_policy"),
        ignored("resend_igmp"),
    ],
};

/// `params` of version 1: the kernel's names.
pub(super) const BOND_PARAMS: Table<Read<Bond>> = Table {
    place: "`params`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        key("bond_mode", Shape::Text, "", mode),
        key("bond_lacp_rate", Shape::Words(&["slow", "fast"]), "", lacp_rate),
        key("bond_miimon", Shape::Text, "", monitor),
        key("bond_xmit_hash_policy", Shape::Text, "", hash_policy),
        key("bond_updelay", Shape::Text, "", up_delay),
        key("bond_downdelay", Shape::Text, "", down_delay),
        key("bond_primary", Shape::Text, "", primary),
        key("bond_min_links", Shape::Whole(0), "", min_links),
        key("mode", Shape::Text, "", mode),
        key("lacp_rate", Shape::Words(&["slow", "fast"]), "", lacp_rate),
        key("miimon", Shape::Text, "", monitor),
        key("xmit_hash_policy", Shape::Text, "", hash_policy),
        key("updelay", Shape::Text, "", up_delay),
        key("downdelay", Shape::Text, "", down_delay),
        key("primary", Shape::Text, "", primary),
        key("min_links", Shape::Whole(0), "", min_links),
    ],
};

/// `parameters` of version 2.
pub(super) const BRIDGE_PARAMETERS: Table<Read<Bridge>> = Table {
    place: "`parameters`",
    unknown: Severity::Error,
    elsewhere: nowhere,
    keys: &[
        key("stp", Shape::Flag, "", |decoder, entry, bridge| bridge.stp = decoder.flag(entry)),
        key("priority", Shape::Whole(0), "", priority),
        key("forward_delay", Shape::Whole(0), "", forward_delay),
        key("hello_time", Shape::Whole(1), "", hello_time),
        key("max_age", Shape::Whole(1), "", max_age),
        key("ageing_time", Shape::Whole(0), "", ageing_time),
        key("aging_time", Shape::Whole(0), "", ageing_time),
        ignored("path_cost"),
        ignored("port_priority"),
    ],
};

/// `params` of version 1.
pub(super) const BRIDGE_PARAMS: Table<Read<Bridge>> = Table {
    place: "`params`",
    unknown: Severity::Warning,
    elsewhere: nowhere,
    keys: &[
        key("bridge_stp", Shape::Flag, "", |decoder, entry, bridge| {
            bridge.stp = decoder.flag(entry);
        }),
        key("bridge_bridgeprio", Shape::Whole(0), "", priority),
        key("bridge_fd", Shape::Whole(0), "", forward_delay),
        key("bridge_hello", Shape::Whole(1), "", hello_time),
        key("bridge_maxage", Shape::Whole(1), "", max_age),
        key("bridge_ageing", Shape::Whole(0), "", ageing_time),
    ],
};

fn mode(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.mode = values::word(decoder, entry, BondMode::from_name, MODES);
}

fn lacp_rate(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    let read = |text: &str| match text {
        "fast" | "1" => Some(true),
        "slow" | "0" => Some(false),
        _ => None,
    };
    bond.lacp_fast = values::word(decoder, entry, read, RATES);
}

fn monitor(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.monitor = values::milliseconds(decoder, entry);
}

fn hash_policy(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.hash_policy = values::word(decoder, entry, HashPolicy::from_name, POLICIES);
}

fn up_delay(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.up_delay = values::milliseconds(decoder, entry);
}

fn down_delay(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.down_delay = values::milliseconds(decoder, entry);
}

fn primary(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.primary = values::interface_name(decoder, entry, ENTRY);
}

fn min_links(decoder: &mut Decoder<'_>, entry: &Entry, bond: &mut Bond) {
    bond.min_links = values::number(decoder, entry, 0);
}

fn priority(decoder: &mut Decoder<'_>, entry: &Entry, bridge: &mut Bridge) {
    bridge.priority = values::number(decoder, entry, 0);
}

fn forward_delay(decoder: &mut Decoder<'_>, entry: &Entry, bridge: &mut Bridge) {
    bridge.forward_delay = values::number(decoder, entry, 0);
}

fn hello_time(decoder: &mut Decoder<'_>, entry: &Entry, bridge: &mut Bridge) {
    bridge.hello_time = values::number(decoder, entry, 1);
}

fn max_age(decoder: &mut Decoder<'_>, entry: &Entry, bridge: &mut Bridge) {
    bridge.max_age = values::number(decoder, entry, 1);
}

fn ageing_time(decoder: &mut Decoder<'_>, entry: &Entry, bridge: &mut Bridge) {
    bridge.ageing_time = values::number(decoder, entry, 0);
}

/// The ids of the members of a bond or bridge.
pub(super) fn members(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let mut found = Vec::new();
    for text in values::lines(decoder, entry, "a member") {
        if values::is_name(&text.value, ENTRY) {
            found.push(text.value);
        } else {
            let message = format!("{} cannot be the name of a member", quoted(&text.value));
            decoder.error(text.span, message);
        }
    }
    match &mut draft.interface.kind {
        Kind::Bond(bond) => bond.members = found,
        Kind::Bridge(bridge) => bridge.members = found,
        Kind::Ethernet | Kind::Vlan(_) | Kind::Dummy => {}
    }
}

pub(super) fn vlan_id(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let Kind::Vlan(vlan) = &mut draft.interface.kind else { return };
    let Some(number) = values::number(decoder, entry, 0) else { return };
    match u16::try_from(number) {
        Ok(id) if id <= 4094 => vlan.id = id,
        _ => decoder.error(entry.value.span, "the number of a VLAN is at most 4094"),
    }
}

pub(super) fn vlan_link(decoder: &mut Decoder<'_>, entry: &Entry, draft: &mut Draft) {
    let Kind::Vlan(vlan) = &mut draft.interface.kind else { return };
    if let Some(link) = values::interface_name(decoder, entry, ENTRY) {
        vlan.link = link;
    }
}
