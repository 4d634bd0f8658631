//! Telling Azure that a machine is ready. Until it hears that, Azure takes a new machine as one
//! that could not be provisioned, and ends its deployment with a time-out.
//!
//! ```text
//! GET  /machine/?comp=goalstate → GoalState (incarnation, container, instance) → health
//! POST /machine/?comp=health    ← Ready, or NotReady with the reason
//! ```
//!
//! The other end is the wireserver, whose protocol agents speak and Azure does not specify:
//! version 2012-11-30, as the Azure Linux agent, cloud-init and Afterburn have it.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use host::http::{Client, Fetch, FetchError, Proxy, pause_after};
use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;

/// Where every machine of Azure finds it.
pub const ADDRESS: &str = "http://168.63.129.16";
/// The version of the protocol.
const VERSION: (&str, &str) = ("x-ms-version", "2012-11-30");
/// Who asks.
const AGENT: (&str, &str) = ("x-ms-agent-name", "coreos-init");
/// The most that a goal state has.
const LIMIT: u64 = 1 << 20;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest reason that is told; Azure shows it beside the deployment.
const LONGEST: usize = 500;

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It is provisioned.
    Ready,
    /// It is not, for this reason.
    NotReady(String),
}

/// Who a machine is, to the wireserver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct GoalState {
    incarnation: String,
    container: String,
    instance: String,
}

/// Why the wireserver was not told.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WireserverError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the wireserver's goal state makes no sense: {0}")]
    Nonsense(String),
    #[error("the wireserver does not take the report: it answers {0}")]
    Refused(u16),
}

/// Reports to the wireserver at `address`, again and again until `deadline` has passed.
///
/// # Errors
/// [`WireserverError`] of the last attempt.
pub fn report(address: &str, health: &Health, deadline: Duration) -> Result<(), WireserverError> {
    let how = Fetch {
        limit: LIMIT,
        deadline: PATIENCE,
        attempts: 1,
        proxy: Proxy::Never,
        roots: PathBuf::new(),
        redirects: 0,
    };
    let client = Client::new(address, how)?;
    let start = Instant::now();
    let mut tried = 0;
    loop {
        tried += 1;
        let error = match attempt(&client, address, health) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let pause = pause_after(tried);
        if start.elapsed() + pause >= deadline {
            return Err(error);
        }
        sleep(pause);
    }
}

fn attempt(client: &Client, address: &str, health: &Health) -> Result<(), WireserverError> {
    let url = format!("{address}/machine/?comp=goalstate");
    let state = client.get_with(&url, &[VERSION, AGENT])?;
    let state = GoalState::parse(&state).map_err(WireserverError::Nonsense)?;
    let url = format!("{address}/machine/?comp=health");
    let kind = ("content-type", "text/xml; charset=utf-8");
    let body = document(&state, health);
    match client.post(&url, &[VERSION, AGENT, kind], body.as_bytes())?.status {
        200..=299 => Ok(()),
        status => Err(WireserverError::Refused(status)),
    }
}

impl GoalState {
    /// Reads the first of each of the elements that are wanted.
    fn parse(xml: &[u8]) -> Result<GoalState, String> {
        let text = std::str::from_utf8(xml).map_err(|error| error.to_string())?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut state = GoalState::default();
        let mut within: Option<&mut String> = None;
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(element) => {
                    within = match element.local_name().as_ref() {
                        "Incarnation" => Some(&mut state.incarnation),
                        "ContainerId" => Some(&mut state.container),
                        "InstanceId" => Some(&mut state.instance),
                        _ => None,
                    }
                    .filter(|value| value.is_empty());
                }
                Event::Text(text) => {
                    if let Some(value) = &mut within {
                        value.push_str(text.trim());
                    }
                }
                Event::GeneralRef(entity) => {
                    let known = resolve_predefined_entity(&entity);
                    let known = known.ok_or_else(|| "an entity that is not known".to_owned())?;
                    if let Some(value) = &mut within {
                        value.push_str(known);
                    }
                }
                Event::End(_) => within = None,
                Event::Eof => break,
                _ => {}
            }
        }
        for (name, value) in [
            ("Incarnation", &state.incarnation),
            ("ContainerId", &state.container),
            ("InstanceId", &state.instance),
        ] {
            if value.is_empty() {
                return Err(format!("it has no {name}"));
            }
        }
        Ok(state)
    }
}

/// The report as the wireserver wants it.
fn document(state: &GoalState, health: &Health) -> String {
    let GoalState { incarnation, container, instance } = state;
    let details = match health {
        Health::Ready => "<State>Ready</State>".to_owned(),
        Health::NotReady(reason) => {
            let end = reason.char_indices().nth(LONGEST).map_or(reason.len(), |(at, _)| at);
            format!(
                "<State>NotReady</State><Details><SubStatus>ProvisioningFailed</SubStatus>\
                 <Description>{}</Description></Details>",
                escape(&reason[..end])
            )
        }
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <Health><GoalStateIncarnation>{}</GoalStateIncarnation>\
         <Container><ContainerId>{}</ContainerId><RoleInstanceList><Role>\
         <InstanceId>{}</InstanceId><Health>{details}</Health>\
         </Role></RoleInstanceList></Container></Health>",
        escape(incarnation),
        escape(container),
        escape(instance)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> GoalState {
        let text = |text: &str| text.to_owned();
        GoalState { incarnation: text("1"), container: text("c"), instance: text("i<&") }
    }

    #[test]
    fn a_goal_state_is_read_and_rubbish_refused() {
        let whole = "\u{feff}<?xml version=\"1.0\"?>\n<GoalState xmlns:xsi=\"x\">
            <Incarnation> 1 </Incarnation><Machine><ExpectedState>Started</ExpectedState></Machine>
            <Container><ContainerId>c</ContainerId><RoleInstanceList>
            <RoleInstance><InstanceId>i&lt;&amp;</InstanceId></RoleInstance>
            <RoleInstance><InstanceId>another</InstanceId></RoleInstance>
            </RoleInstanceList></Container></GoalState>";
        assert_eq!(GoalState::parse(whole.as_bytes()), Ok(state()));
        for (rubbish, complaint) in [
            ("", "it has no Incarnation"),
            ("not XML", "it has no Incarnation"),
            ("<Incarnation>1</Incarnation><ContainerId>c</ContainerId>", "it has no InstanceId"),
            ("<a><b></a>", "expected `</b>`"),
        ] {
            let error = GoalState::parse(rubbish.as_bytes()).unwrap_err();
            assert!(error.contains(complaint), "{rubbish}: {error}");
        }
        assert!(GoalState::parse(b"\xff").is_err());
        for end in 0..whole.len() {
            let _ = GoalState::parse(&whole.as_bytes()[..end]);
        }
    }

    #[test]
    fn a_reason_is_part_of_the_document_and_cannot_break_it() {
        let ready = document(&state(), &Health::Ready);
        assert!(ready.contains("<InstanceId>i&lt;&amp;</InstanceId>"), "{ready}");
        assert!(ready.contains("<Health><State>Ready</State></Health>"), "{ready}");
        let failed = document(&state(), &Health::NotReady(format!("</x>{}", "é".repeat(900))));
        assert!(failed.contains("<Description>&lt;/x&gt;éé"), "{failed}");
        assert_eq!(failed.matches('é').count(), LONGEST - 4);
        assert!(failed.contains("<SubStatus>ProvisioningFailed</SubStatus>"));
    }
}
