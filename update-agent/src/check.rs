//! What the repository offers, and which of it this machine may take.
//!
//! source → trusted metadata → releases of the channel → policy → [`Decision`]
//!
//! The rules are [`channels::policy`]'s, the same for publisher and machine; here they get their
//! arguments from the machine's record and settings.

use channels::client::{self, ClientError, Settings as ClientSettings, View};
use channels::offer::Offer;
use channels::policy::{Channel, Machine, Refused, Release, Rule, Verdict, may_follow};
use channels::store::Store;
use channels::time::Time;
use disk::version::Version;

use crate::record::Record;
use crate::settings::Settings;
use crate::source::Source;

/// Which channel a machine follows, and what it was asked to if that is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// The channel.
    pub channel: Channel,
    /// Why it is not the one that was asked for.
    pub refused: Option<Refused>,
}

/// The channel that a machine follows: the one chosen by command unless the settings were changed
/// since, else that of the settings; but never one below what it has run well.
pub fn following(record: &Record, settings: &Settings) -> Following {
    let chosen = record.chosen.as_ref().filter(|chosen| chosen.over == settings.group);
    let wanted = chosen.map_or(settings.channel, |chosen| chosen.channel);
    match may_follow(record.floor.channel, wanted) {
        Ok(()) => Following { channel: wanted, refused: None },
        Err(refused) => Following { channel: record.floor.channel, refused: Some(refused) },
    }
}

/// The machine as the rules see it.
pub fn machine(record: &Record, settings: &Settings, id: &str, version: &Version) -> Machine {
    // A version that the record cannot have written is no version; the running one stands in.
    let parse = |text: &String| text.parse::<Version>().ok();
    Machine {
        id: id.to_owned(),
        channel: following(record, settings).channel,
        floor: record.floor.channel,
        version: version.clone(),
        sequence: record.floor.sequence,
        epoch: record.floor.epoch,
        failed: record.failed.keys().filter_map(parse).collect(),
        pinned: record.pinned.as_ref().map(|pinned| parse(pinned).unwrap_or(version.clone())),
    }
}

/// What a check found.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The repository as it was seen.
    pub view: View<'a>,
    /// The releases of the channel with the answer of every rule, the oldest first.
    pub judged: Vec<(Offer, Vec<Verdict>)>,
    /// The one to take.
    pub chosen: Option<usize>,
}

/// Asks the repository; `machine` is made of the record. That is raised to what was seen; it is for
/// the caller to keep it.
pub fn check<'a>(
    source: &'a Source,
    store: &'a dyn Store,
    anchor: &[u8],
    record: &mut Record,
    machine: impl Fn(&Record) -> Machine,
    now: Time,
) -> Result<Decision<'a>, ClientError> {
    let settings = ClientSettings {
        anchor: Some(anchor.to_vec()),
        floor: record.metadata.clone(),
        ..ClientSettings::default()
    };
    let view = client::update(source, store, &settings, now)?;
    record.metadata = view.floor().clone();
    recall(record, &view, &machine(record).version)?;
    let machine = machine(record);
    // Where the clock is behind, the newest time that is known to have passed counts.
    let now = view.now();
    let offers = view.offers(machine.channel)?;
    let releases: Vec<Release> = offers.iter().map(|offer| offer.release.clone()).collect();
    let chosen = machine.choose(&releases, now).map(|release| release.version.clone());
    let judged: Vec<_> = offers
        .into_iter()
        .map(|offer| {
            let verdicts = machine.judge(&offer.release, now);
            (offer, verdicts)
        })
        .collect();
    let chosen = chosen
        .and_then(|version| judged.iter().position(|(offer, _)| offer.release.version == version));
    Ok(Decision { view, judged, chosen })
}

/// What the repository knows of a machine whose record was lost: it took the release that it runs
/// from the lowest channel that carries it, or from one above, and that has a place in the order.
fn recall(record: &mut Record, view: &View<'_>, running: &Version) -> Result<(), ClientError> {
    if !record.lost || record.floor.sequence > 0 {
        return Ok(());
    }
    for channel in Channel::PATH.into_iter().rev() {
        let offers = view.offers(channel)?;
        let Some(own) = offers.iter().find(|offer| offer.release.version == *running) else {
            continue;
        };
        record.floor.channel = record.floor.channel.max(channel);
        record.floor.sequence = own.release.sequence;
        log::warn!("this machine forgot which channel it ran; {running} is in {channel}");
        break;
    }
    Ok(())
}

impl Decision<'_> {
    /// The release to take.
    pub fn offer(&self) -> Option<&Offer> {
        self.chosen.map(|at| &self.judged[at].0)
    }
}

/// What would satisfy a rule that a release does not pass, for people.
pub fn remedy(rule: Rule) -> &'static str {
    match rule {
        Rule::Channel => "follow the channel that the machine has run, or a higher one",
        Rule::Newer => "wait for a release that is newer than what this machine has run",
        Rule::Epoch => "wait for a release of this security epoch",
        Rule::Barrier => "nothing to do: the machine takes the releases between one by one",
        Rule::NotFailed => {
            "wait for the next release, or run `update-agent forgive VERSION` to try it again"
        }
        Rule::Pin => "run `update-agent unpin`",
        Rule::NotHalted => "wait: the publisher has to let it go on, or to replace it",
        Rule::Rollout => "wait for the machine's turn",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BuiltIn, Chosen};
    use channels::policy::Channel::{Alpha, Beta, Stable};
    use proptest::prelude::*;

    fn record(floor: Channel) -> Record {
        let built_in = BuiltIn { version: "1".parse().unwrap(), channel: floor, epoch: 0 };
        Record::new(&built_in)
    }

    fn settings(channel: Channel) -> Settings {
        Settings { group: Some(channel.name().into()), channel, ..Settings::default() }
    }

    #[test]
    fn the_latest_word_about_the_channel_counts() {
        let mut record = record(Stable);
        assert_eq!(following(&record, &settings(Beta)).channel, Beta);
        record.chosen = Some(Chosen { channel: Alpha, over: Some("beta".into()) });
        assert_eq!(following(&record, &settings(Beta)).channel, Alpha);
        assert_eq!(following(&record, &settings(Stable)).channel, Stable, "changed since");
    }

    #[test]
    fn a_channel_below_the_floor_is_refused_and_the_machine_goes_on() {
        let following = following(&record(Beta), &settings(Stable));
        assert_eq!(following.channel, Beta);
        let refused = following.refused.unwrap();
        assert_eq!((refused.floor, refused.wanted), (Beta, Stable));
    }

    proptest! {
        /// Over any history of requests and blessings the channel never goes down once it ran.
        #[test]
        fn no_history_brings_a_machine_down(
            requests in prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>()), 1..30),
        ) {
            let mut record = record(Stable);
            let mut config = settings(Stable);
            let mut highest = Stable;
            for (wanted, by_command, blessed) in requests {
                let wanted = [Stable, Beta, Alpha][wanted];
                if by_command {
                    if may_follow(record.floor.channel, wanted).is_ok() {
                        record.chosen =
                            Some(Chosen { channel: wanted, over: config.group.clone() });
                    }
                } else {
                    config = settings(wanted);
                }
                let now = following(&record, &config);
                prop_assert!(now.channel >= highest);
                if blessed {
                    record.floor.channel = record.floor.channel.max(now.channel);
                    highest = highest.max(now.channel);
                }
                prop_assert!(may_follow(record.floor.channel, now.channel).is_ok());
            }
        }
    }
}
