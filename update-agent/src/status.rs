//! Everything there is to say about this machine's updates, in one document.

use channels::time::Time;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::live;
use crate::service::zone;
use crate::window::Opening;

/// Everything there is to say about this machine's updates, in one document.
pub fn document(agent: &Agent, now: Time) -> Value {
    let record = &agent.record;
    let settings = &agent.settings;
    let following = agent.following();
    let live = live::read(&agent.run_directory());
    let waits =
        record.trial.as_ref().filter(|trial| trial.release.version != agent.facts.version.as_str());
    json!({
        "version": agent.facts.version.as_str(),
        "channel": following.channel.name(),
        "channel_refused": following.refused.map(|refused| refused.to_string()),
        "server": settings.server.as_deref().map(host::http::redacted),
        "activity": live.activity,
        "progress": live.progress,
        "fetched": live.fetched,
        "target": live.version,
        "checked": live.checked,
        "next_check": live.next_check,
        "error": live.error,
        "waiting": live.waiting,
        "staged": waits.map(|trial| trial.release.version.clone()),
        "trial": record.trial,
        "floor": record.floor,
        "previous": record.previous,
        "failed": record.failed,
        "pinned": record.pinned,
        "reboot": {
            "strategy": settings.strategy.name(),
            "windows": settings.windows.to_string(),
            "window": match settings.windows.at(now, &zone(settings)) {
                Opening::Always => json!({"open": true}),
                Opening::Until(time) => json!({"open": true, "until": time}),
                Opening::From(time) => json!({"open": false, "opens": time}),
            },
            "holds_lock": record.lock.is_some(),
        },
        "record_lost": record.lost,
        "warnings": agent.warnings,
    })
}
