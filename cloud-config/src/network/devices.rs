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

/// What a bond or bridge has, each property once: its name in version 2; in brackets its names in
/// version 1, which are the kernel's; how it is written, and what reads it. Then the keys of
/// version 2 that have no effect.
macro_rules! parameters {
    (
        $of:ty, $second:ident, $first:ident,
        $($name:literal [$($old:literal)*] $shape:expr => $read:expr;)*
        $(ignored $ignored:literal;)*
    ) => {
        /// `parameters` of version 2.
        pub(super) const $second: Table<Read<$of>> = Table {
            place: "`parameters`",
            unknown: Severity::Error,
            elsewhere: nowhere,
            keys: &[$(key($name, $shape, "", $read),)* $(ignored($ignored),)*],
        };

        /// `params` of version 1.
        pub(super) const $first: Table<Read<$of>> = Table {
            place: "`params`",
            unknown: Severity::Warning,
            elsewhere: nowhere,
            keys: &[$($(key($old, $shape, "", $read),)*)*],
        };
    };
}

parameters! {
    Bond, BOND_PARAMETERS, BOND_PARAMS,
    "mode" ["bond_mode" "mode"] Shape::Text => mode;
    "lacp_rate" ["bond_lacp_rate" "lacp_rate"] Shape::Words(&["slow", "fast"]) => lacp_rate;
    "mii_monitor_interval" ["bond_miimon" "miimon"] Shape::Text => monitor;
    "transmit_hash_policy" ["bond_xmit_hash_policy" "xmit_hash_policy"] Shape::Text => hash_policy;
    "up_delay" ["bond_updelay" "updelay"] Shape::Text => up_delay;
    "down_delay" ["bond_downdelay" "downdelay"] Shape::Text => down_delay;
    "primary" ["bond_primary" "primary"] Shape::Text => primary;
    "min_links" ["bond_min_links" "min_links"] Shape::Whole(0) => min_links;
    ignored "ad_select";
    ignored "all_members_active";
    ignored "all_slaves_active";
    ignored "arp_all_targets";
    ignored "arp_interval";
    ignored "arp_ip_targets";
    ignored "arp_validate";
    ignored "fail_over_mac_policy";
    ignored "gratuitous_arp";
    ignored "learn_packet_interval";
    ignored "packets_per_member";
    ignored "packets_per_slave";
    ignored "primary_reselect_policy";
    ignored "resend_igmp";
}

parameters! {
    Bridge, BRIDGE_PARAMETERS, BRIDGE_PARAMS,
    "stp" ["bridge_stp"] Shape::Flag => |decoder, entry, bridge| bridge.stp = decoder.flag(entry);
    "priority" ["bridge_bridgeprio"] Shape::Whole(0) => priority;
    "forward_delay" ["bridge_fd"] Shape::Whole(0) => forward_delay;
    "hello_time" ["bridge_hello"] Shape::Whole(1) => hello_time;
    "max_age" ["bridge_maxage"] Shape::Whole(1) => max_age;
    "ageing_time" ["bridge_ageing"] Shape::Whole(0) => ageing_time;
    "aging_time" [] Shape::Whole(0) => ageing_time;
    ignored "path_cost";
    ignored "port_priority";
}

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
