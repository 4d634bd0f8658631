//! Google Compute Engine.
//!
//! <https://cloud.google.com/compute/docs/metadata/overview>

use serde_json::Value;

use super::service::{Refusal, Service};
use super::told::{Told, address, lines, list, text};

/// By IPv4, and on machines with IPv6 alone by IPv6.
pub(super) const BASES: &[&str] = &["http://169.254.169.254", "http://[fd20:ce::254]"];
const ROOT: &str = "/computeMetadata/v1";

pub(super) fn ask(service: &mut Service) -> Result<Told, Refusal> {
    service.always("Metadata-Flavor", "Google");
    let instance = service.required_json(&format!("{ROOT}/instance/?recursive=true&alt=json"))?;
    let mut told = Told::default();
    told.meta_data.instance_id = text(&instance, "/id");
    told.meta_data.hostname = text(&instance, "/hostname");
    // projects/123456/zones/us-central1-a
    let zone = text(&instance, "/zone").map(|path| last(&path).to_owned());
    told.meta_data.region =
        zone.as_ref().and_then(|zone| Some(zone.rsplit_once('-')?.0.to_owned()));
    told.meta_data.zone = zone;
    told.meta_data.private_ipv4 = address(&instance, "/networkInterfaces/0/ip");
    told.meta_data.public_ipv4 =
        address(&instance, "/networkInterfaces/0/accessConfigs/0/externalIp");
    told.meta_data.public_ipv6 = address(&instance, "/networkInterfaces/0/ipv6/0");

    let attributes = instance.get("attributes").unwrap_or(&Value::Null);
    let mut sets = vec![text(attributes, "/ssh-keys"), text(attributes, "/sshKeys")];
    let blocked = text(attributes, "/block-project-ssh-keys");
    // The instance's own old-style keys, too, stand for those of the project.
    if !blocked.is_some_and(|value| value.eq_ignore_ascii_case("true")) && sets[1].is_none() {
        sets.push(service.text(&format!("{ROOT}/project/attributes/ssh-keys"))?);
    }
    told.meta_data.public_keys = keys(sets.iter().flatten(), &mut told.notes);
    match (text(attributes, "/user-data"), text(attributes, "/user-data-encoding")) {
        (user_data, Some(encoding)) if encoding == "base64" => {
            told.set_base64(user_data.as_deref());
        }
        _ => {
            // As it was written: trimming would change a script.
            let user_data = attributes.get("user-data").and_then(Value::as_str);
            told.user_data = user_data.unwrap_or_default().as_bytes().to_vec();
        }
    }
    if list(&instance, "/networkInterfaces").len() > 1 {
        let note = "of several interfaces only the first is described to the configuration";
        told.notes.push(note.to_owned());
    }
    Ok(told)
}

/// Lines of `USER:KEY`. Keys of one login that Google hands out end with a time and are for its
/// own agent.
fn keys<'a>(sets: impl Iterator<Item = &'a String>, notes: &mut Vec<String>) -> Vec<String> {
    let all = lines(sets.map(String::as_str));
    let (passing, lasting): (Vec<_>, Vec<_>) =
        all.iter().partition(|line| line.contains(" google-ssh {"));
    if !passing.is_empty() {
        let number = passing.len();
        notes.push(format!("{number} keys that expire are left out: they are for Google's agent"));
    }
    let key = |line: &String| match line.split_once(':') {
        Some((user, key)) if !user.contains(' ') => key.trim().to_owned(),
        _ => line.clone(),
    };
    let keys: Vec<_> = lasting.into_iter().map(key).collect();
    lines(keys.iter().map(String::as_str))
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
