//! `cloud-config-url=` on the kernel command line.

use std::error::Error;
use std::fmt;
use std::time::Instant;

use cloud_config::MAX_USER_DATA;
use host::error::chain;
use host::http::{Fetch, redacted};

use super::{Found, Glance, MetaData, Need, Places, SourceName, Survey, USER_DATA, Uplink};

/// The parameter, with `-` and `_` being the same as everywhere on the kernel command line.
const PARAMETER: &str = "cloud-config-url";

/// An address of `http` or `https` to fetch the configuration from. Shown without what could be
/// a secret in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigUrl(String);

impl ConfigUrl {
    /// An address, if it is one that is fetched.
    pub fn new(url: &str) -> Result<ConfigUrl, UrlError> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => Ok(ConfigUrl(url.to_owned())),
            _ => Err(UrlError { url: redacted(url) }),
        }
    }

    /// The whole address, secrets included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for ConfigUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigUrl({self})")
    }
}

/// An address that is not fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url} is not fetched: only http and https addresses are")]
pub struct UrlError {
    /// The address, without what could be a secret in it.
    pub url: String,
}

/// The address that `command_line` asks the configuration to be fetched from. The last one wins;
/// an empty one is none.
pub fn wanted_url(command_line: &str) -> Option<Result<ConfigUrl, UrlError>> {
    let url = parameters(command_line, PARAMETER).last().filter(|url| !url.is_empty())?;
    Some(ConfigUrl::new(&url))
}

pub(super) fn look(places: &Places, uplink: &mut dyn Uplink, survey: &mut Survey) {
    let start = Instant::now();
    let (place, glance) = match wanted_url(&places.command_line) {
        None => (format!("no {PARAMETER}="), Glance::Absent),
        Some(Err(error)) => (error.url.clone(), Glance::Failed(error.to_string())),
        Some(Ok(url)) => {
            let glance = match fetch(&url, places, uplink) {
                Ok(user_data) => Glance::Holds(Box::new(Found {
                    source: SourceName::CommandLine,
                    place: url.to_string(),
                    name: USER_DATA.to_owned(),
                    user_data,
                    meta_data: MetaData::default(),
                    network: None,
                    notes: Vec::new(),
                })),
                Err(error) => Glance::Failed(chain(&*error)),
            };
            (url.to_string(), glance)
        }
    };
    survey.note(SourceName::CommandLine, place, start, glance);
}

fn fetch(
    url: &ConfigUrl,
    places: &Places,
    uplink: &mut dyn Uplink,
) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    uplink.up(Need::Net)?;
    let roots = places.roots.clone();
    let how = Fetch { limit: MAX_USER_DATA as u64, roots, ..Fetch::default() };
    Ok(host::http::fetch(url.as_str(), &how)?)
}

/// The values of every parameter `name` on a kernel command line. Double quotes keep blanks
/// together, around the value or the whole word; what follows `--` is not for the kernel but is
/// for init, which we are.
pub(crate) fn parameters<'a>(
    command_line: &'a str,
    name: &'a str,
) -> impl Iterator<Item = String> + 'a {
    words(command_line).into_iter().filter_map(move |word| {
        let (key, value) = word.split_once('=')?;
        (key.replace('_', "-") == name.replace('_', "-")).then(|| value.to_owned())
    })
}

fn words(command_line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in command_line.chars() {
        match character {
            '"' => quoted = !quoted,
            blank if blank.is_ascii_whitespace() && !quoted => {
                words.push(std::mem::take(&mut word));
            }
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_wins_however_it_is_spelled() {
        let cases = [
            ("", None),
            ("root=/dev/vda quiet cloud-config-url", None),
            ("cloud-config-url=", None),
            ("cloud-config-url=http://a/ cloud-config-url=", None),
            ("a cloud-config-url=http://a/x b", Some("http://a/x")),
            ("cloud_config_url=http://a/x?y=z\n", Some("http://a/x?y=z")),
            ("cloud-config_url=HTTPS://a/", Some("HTTPS://a/")),
            ("cloud-config-url=http://a cloud_config_url=https://b", Some("https://b")),
            ("cloud-config-url=\"http://a/b c\" x", Some("http://a/b c")),
            ("\"cloud-config-url=http://a/b c\" x", Some("http://a/b c")),
            ("x.cloud-config-url=http://a", None),
            ("-- cloud-config-url=http://a", Some("http://a")),
        ];
        for (line, expected) in cases {
            let url = wanted_url(line).map(|url| url.unwrap().as_str().to_owned());
            assert_eq!(url.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn addresses_that_are_not_of_the_net_are_refused_and_say_so() {
        for url in ["file:///etc/shadow", "ftp://a/b", "/etc/x", "host/x"] {
            let error = wanted_url(&format!("cloud-config-url={url}")).unwrap().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{url} is not fetched: only http and https addresses are")
            );
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let url = wanted_url("cloud-config-url=http://u:p@a/b?token=c").unwrap().unwrap();
        assert_eq!(url.to_string(), "http://a/b?...");
        assert_eq!(format!("{url:?}"), "ConfigUrl(http://a/b?...)");
        assert_eq!(url.as_str(), "http://u:p@a/b?token=c");
    }
}
