//! A client for one server: connections stay open, documents come whole or in parts.

use std::io::Read as _;
use std::ops::Range;
use std::time::Duration;

use ureq::Agent;

use super::failure::{Failure, Kind};
use super::{Fetch, FetchError, Request, agent, attempt, header, redacted, repeat};

/// What a server said to something that was sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code of HTTP.
    pub status: u16,
    /// The document, cut off at the limit of [`Fetch`].
    pub body: Vec<u8>,
}

/// Fetches from one server again and again, over connections that stay open. Clones share them.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    https: bool,
    how: Fetch,
}

impl Client {
    /// A client for addresses that begin like `base`: of the same scheme.
    pub fn new(base: &str, how: Fetch) -> Result<Client, FetchError> {
        let agent = agent(&Request::get(base), &how)?;
        Ok(Client { agent, https: is_https(base), how })
    }

    /// Fetches a whole document of at most [`Fetch::limit`] bytes.
    pub fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        self.get_with(url, &[])
    }

    /// The same with these header fields beside the usual ones.
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        let request = Request { headers, ..Request::get(url) };
        repeat(url, &self.how, |left| attempt(&self.agent, &request, self.how.limit, left))
    }

    /// Fetches the bytes `range` of a document, exactly those. A server that answers with other
    /// bytes, or with the whole document, is an error.
    pub fn range(&self, url: &str, range: &Range<u64>) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        repeat(url, &self.how, |left| attempt_range(&self.agent, url, range, left))
    }

    /// Sends `body` once, whatever becomes of it. Any status is an answer.
    pub fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, FetchError> {
        self.check(url)?;
        let request = self.agent.post(url).config().timeout_global(Some(self.how.deadline));
        let request = headers
            .iter()
            .fold(request.build(), |request, (name, value)| request.header(*name, *value));
        let sent = request.send(body).map_err(Failure::from).and_then(|mut response| {
            let status = response.status().as_u16();
            let mut body = Vec::new();
            let reader = response.body_mut().as_reader();
            reader.take(self.how.limit).read_to_end(&mut body).map_err(ureq::Error::from)?;
            Ok(Answer { status, body })
        });
        sent.map_err(|failure| failure.tell(url, 1, self.how.redirects))
    }

    /// Refuses an address of another scheme than that which the client was made for.
    fn check(&self, url: &str) -> Result<(), FetchError> {
        let http = url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
        if is_https(url) == self.https && (self.https || http) {
            return Ok(());
        }
        let reason = "not an address of the server's scheme".to_owned();
        Err(FetchError::Address { url: redacted(url), reason })
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

fn attempt_range(
    agent: &Agent,
    url: &str,
    range: &Range<u64>,
    left: Duration,
) -> Result<Vec<u8>, Failure> {
    let length = range.end.saturating_sub(range.start);
    let refused = |reason: String, may_pass| Failure {
        kind: Kind::Range,
        reason,
        may_pass,
        retry_after: None,
    };
    if length == 0 {
        return Ok(Vec::new());
    }
    let wanted = format!("{}-{}", range.start, range.end - 1);
    let request = agent.get(url).header("range", format!("bytes={wanted}"));
    let mut response = request.config().timeout_global(Some(left)).build().call()?;
    let status = response.status();
    if status.is_success() && status.as_u16() != 206 {
        return Err(refused("the server does not serve parts of files".to_owned(), false));
    }
    if !status.is_success() {
        return Err(Failure::of_status(status.as_u16(), header(&response, "retry-after")));
    }
    let given = header(&response, "content-range").unwrap_or("no range").to_owned();
    if !given.starts_with(&format!("bytes {wanted}/")) {
        let reason = format!("asked for bytes {wanted}, the server gave {given}");
        return Err(refused(reason, false));
    }
    let bytes = response.body_mut().with_config().limit(length).read_to_vec()?;
    if bytes.len() as u64 != length {
        return Err(refused(format!("{} of {length} bytes came", bytes.len()), true));
    }
    Ok(bytes)
}
