//! What an agent wants of one unit.

use super::{Agent, Millis};
use crate::model::{CordonPhase, OrderKind};

/// What an agent wants of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Stop and forget it; with a ticket, say so.
    Gone(Option<u64>),
    /// Leave it as it is.
    Kept(u64),
    /// Loaded but not running.
    Stopped { ticket: u64, body: String },
    /// Running.
    Launched { ticket: u64, body: String },
}

impl Agent {
    pub(super) fn wanted(&self, now: Millis, name: &str) -> Wanted {
        let wanted = self.ordered(name);
        let cut_off = !self.lease && self.stop_at(name).is_some_and(|at| at <= now);
        let stopping = self.cordon == Some(CordonPhase::Stopping) || cut_off;
        match wanted {
            Wanted::Launched { ticket, body } if stopping => Wanted::Stopped { ticket, body },
            Wanted::Kept(ticket) if stopping => {
                match self.units.get(name).and_then(|unit| unit.loaded.clone()) {
                    Some(body) => Wanted::Stopped { ticket, body },
                    None => Wanted::Kept(ticket),
                }
            }
            wanted => wanted,
        }
    }

    fn ordered(&self, name: &str) -> Wanted {
        let of = |kind: OrderKind, ticket: u64, body: &str| match kind {
            OrderKind::Load => Wanted::Stopped { ticket, body: body.to_string() },
            OrderKind::Launch => Wanted::Launched { ticket, body: body.to_string() },
            OrderKind::Release => Wanted::Gone(Some(ticket)),
            OrderKind::Superseded => Wanted::Kept(ticket),
        };
        if let Some(order) = self.orders.get(name) {
            return of(order.kind, order.ticket, &order.body);
        }
        let Some(order) = self.globals.get(name) else { return Wanted::Gone(None) };
        let fits = order
            .metadata
            .iter()
            .all(|(key, values)| self.metadata.get(key).is_some_and(|has| values.contains(has)));
        if !fits || order.refused.contains(&self.machine) {
            return Wanted::Gone(None);
        }
        let loaded = self.units.get(name).and_then(|unit| unit.loaded.as_deref());
        let waits = order.updated.as_ref().is_some_and(|updated| !updated.contains(&self.machine));
        match loaded {
            // Not its turn yet: the version that is there stays, as it is.
            Some(loaded) if waits && loaded != order.body => {
                let ticket =
                    self.units.get(name).and_then(|unit| unit.started).unwrap_or(order.ticket);
                of(order.kind, ticket, loaded)
            }
            _ => of(order.kind, order.ticket, &order.body),
        }
    }
}
