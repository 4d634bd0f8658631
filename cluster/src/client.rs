//! One request, whoever answers it.
//!
//! Each endpoint has a connection of its own, made when it is first needed and kept. A request
//! goes to the endpoint that answered last; while it fails there without having been done, the
//! others are asked in turn, until the deadline. A change goes only over a connection that has
//! just answered something: one that is silent is asked for its status first, so that a member
//! that is paused or cut off is found before anything is sent that nobody could take back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, ConnectOptions, GetOptions, Identity as TlsIdentity, ResponseHeader, TlsOptions,
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;

use crate::endpoints::{Endpoint, Endpoints};
use crate::entry::{Entry, Listing};
use crate::error::{Error, Failure, Result, failure};
use crate::settings::{self, Certificates, Settings, User};
use crate::txn::{self, Committed, Txn};
use crate::watch::Watch;

/// The longest wait for a connection to one endpoint.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest wait for one endpoint if there are others.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How often a connection with a request or watch on it is tested. etcd takes offence at less than
/// five seconds.
const PING: Duration = Duration::from_secs(10);
/// How long the answer to the test may take.
const PONG: Duration = Duration::from_secs(5);
/// Pauses after every endpoint has failed.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often every endpoint must distrust us before that is the answer.
const DISTRUST: u32 = 3;
/// The largest answer that is taken, in bytes. One revision of etcd's largest transaction fits.
pub(crate) const MESSAGE_LIMIT: usize = 256 << 20;
/// What one page of a large range should come to, in bytes.
const PAGE_BYTES: usize = 2 << 20;
/// Entries of the first page, when their size is not known.
const FIRST_PAGE: usize = 100;
/// The most entries of one page.
const LARGEST_PAGE: usize = 3000;
/// How often a range is read anew because its revision was compacted while it was read.
const LISTINGS: u32 = 3;

/// A connection to etcd, whichever member it is. Clones share it. It belongs to the tokio runtime
/// that it is first used on.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    certificates: Option<Certificates>,
    endpoints: Endpoints,
}

/// Whether asking twice is the same as asking once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Change,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints()).finish()
    }
}

impl Client {
    /// A client with `settings`, whose files are read now. Nobody is asked before the first
    /// request.
    ///
    /// # Errors
    /// [`Error::Settings`] if they cannot be used.
    pub fn new(settings: Settings) -> Result<Self> {
        let certificates = settings.check()?;
        let endpoints = Endpoints::new(&settings.endpoints);
        Ok(Self { shared: Arc::new(Shared { settings, certificates, endpoints }) })
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The URLs that are asked: those of the settings, and those that were learned since.
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.endpoints.urls()
    }

    /// Asks these too from now on, in place of those that were learned before. What cannot be
    /// asked with the settings' certificates, and addresses of this machine itself that another
    /// machine tells, are left out.
    pub fn learn(&self, urls: &[String]) {
        let settings = &self.shared.settings;
        let own = |url: &String| settings::is_loopback(url);
        let everybody_is_here = settings.endpoints.iter().all(own);
        let secure = self.shared.certificates.is_some();
        let useful = |url: &&String| {
            settings::check_url(url).is_ok()
                && (everybody_is_here || !own(url))
                && (secure || !url.starts_with("https://"))
        };
        let urls: Vec<String> = urls.iter().filter(useful).cloned().collect();
        self.shared.endpoints.learn(&urls);
    }

    /// The entry at `key`, if there is one. Linearizable: no older than this call.
    ///
    /// # Errors
    /// Everything but [`Error::Uncertain`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>> {
        let answer = self
            .call(Kind::Read, |client| {
                let mut kv = client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
                async move { kv.get(key, None).await }
            })
            .await?;
        let mut answer = answer;
        Ok(answer.take_kvs().pop().map(Entry::from))
    }

    /// All entries whose key begins with `prefix`, as they are together at one revision, however
    /// many: they are read in pages of bounded size.
    ///
    /// # Errors
    /// As of [`Client::get`].
    pub async fn list(&self, prefix: &str) -> Result<Listing> {
        let mut tries = 1;
        loop {
            match self.list_once(prefix).await {
                Err(Error::Compacted { .. }) if tries < LISTINGS => tries += 1,
                result => return result,
            }
        }
    }

    async fn list_once(&self, prefix: &str) -> Result<Listing> {
        let end = txn::prefix_end(prefix);
        let mut from = prefix.as_bytes().to_vec();
        let mut listing = Listing::default();
        let mut size = FIRST_PAGE;
        loop {
            let limit = i64::try_from(size).unwrap_or(i64::MAX);
            let options = GetOptions::new().with_range(end.clone()).with_limit(limit);
            let options = options.with_revision(listing.revision);
            let page = self
                .call(Kind::Read, |client| {
                    let mut kv = client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
                    let (from, options) = (from.clone(), options.clone());
                    async move { kv.get(from, Some(options)).await }
                })
                .await;
            let mut page = match page {
                Err(Error::Refused { code: Code::OutOfRange, message }) => {
                    if message.contains("compacted") {
                        return Err(Error::Compacted { revision: listing.revision });
                    }
                    if size == 1 {
                        return Err(Error::Refused { code: Code::OutOfRange, message });
                    }
                    // More than a message may hold.
                    size = size.div_ceil(4);
                    continue;
                }
                page => page?,
            };
            let (more, stored) = (page.more(), page.take_kvs());
            if listing.revision == 0 {
                listing.revision = page.header().map_or(0, ResponseHeader::revision);
            }
            let bytes: usize = stored.iter().map(|kv| kv.key().len() + kv.value().len()).sum();
            if let Some(last) = stored.last() {
                from = last.key().to_vec();
                from.push(0);
                size = (PAGE_BYTES / (bytes / stored.len()).max(1)).clamp(1, LARGEST_PAGE);
            }
            listing.entries.extend(stored.into_iter().map(Entry::from));
            if !more {
                return Ok(listing);
            }
        }
    }

    /// Sets `key` to `value`, whatever it was.
    ///
    /// # Errors
    /// Any; with [`Error::Uncertain`] it may be set.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<i64> {
        self.commit(Txn::new().put(key, value)).await.map(|committed| committed.revision)
    }

    /// Deletes `key` if it is there.
    ///
    /// # Errors
    /// Any; with [`Error::Uncertain`] it may be deleted.
    pub async fn delete(&self, key: &str) -> Result<i64> {
        self.commit(Txn::new().delete(key)).await.map(|committed| committed.revision)
    }

    /// Does what `txn` says, if what it demands is so.
    ///
    /// # Errors
    /// Any; with [`Error::Uncertain`] it may have been done.
    pub async fn commit(&self, txn: Txn) -> Result<Committed> {
        let (request, lease) = txn.request()?;
        let result = self
            .call(Kind::Change, |client| {
                let mut kv = client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
                let request = request.clone();
                async move { kv.txn(request).await }
            })
            .await;
        match result {
            Ok(answer) => Ok(Committed::from(answer)),
            Err(Error::Refused { code: Code::NotFound, message })
                if message.contains("lease not found") =>
            {
                Err(Error::NoLease { lease })
            }
            Err(error) => Err(error),
        }
    }

    /// Everything below `prefix`, and from then on whatever happens there. See [`Watch`].
    pub fn watch(&self, prefix: &str) -> Watch {
        Watch::start(self.clone(), prefix.to_owned(), None)
    }

    /// What happened below `prefix` after `revision`, and whatever happens there from then on: for
    /// who has listed it at that revision.
    pub fn watch_after(&self, prefix: &str, revision: i64) -> Watch {
        Watch::start(self.clone(), prefix.to_owned(), Some(revision))
    }

    /// Makes one request of whichever endpoint answers it, before the deadline.
    pub(crate) async fn call<T, F, Answer>(&self, kind: Kind, call: F) -> Result<T>
    where
        F: Fn(etcd_client::Client) -> Answer,
        Answer: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.settings.deadline;
        let several = shared.endpoints.len() > 1;
        let mut pause = FIRST_PAUSE;
        let mut rounds = 0;
        loop {
            let mut reason = String::new();
            let mut insecure = None;
            rounds += 1;
            for _ in 0..shared.endpoints.len() {
                let endpoint = shared.endpoints.current();
                let limit = Instant::now() + ATTEMPT;
                let limit = if several { limit.min(deadline) } else { deadline };
                let attempt = self.attempt(&endpoint, kind, limit, &call).await;
                let failed = match attempt.map_err(|failed| endpoint.explained(failed)) {
                    Ok(answer) => {
                        endpoint.has_answered();
                        return Ok(answer);
                    }
                    Err(failed) => failed,
                };
                match failed {
                    // An answer it is, and the next would be the same.
                    Failure::Final(error) => {
                        endpoint.has_answered();
                        return Err(error);
                    }
                    Failure::Unknown(reason) if kind == Kind::Change => {
                        shared.endpoints.move_on(&endpoint);
                        return Err(Error::Uncertain { endpoint: endpoint.url.clone(), reason });
                    }
                    Failure::Insecure(why) => {
                        reason.clone_from(&why);
                        let endpoint = endpoint.url.clone();
                        insecure = Some(Error::Insecure { endpoint, reason: why });
                    }
                    Failure::Unknown(why) | Failure::NotDone(why) => {
                        reason = why;
                        insecure = None;
                    }
                }
                shared.endpoints.move_on(&endpoint);
            }
            // Certificates do not mend by waiting; a server that was just starting does.
            if let Some(error) = insecure.filter(|_| rounds >= DISTRUST) {
                return Err(error);
            }
            if Instant::now() + pause >= deadline {
                let endpoints = shared.endpoints.urls().join(",");
                let deadline = shared.settings.deadline;
                return Err(Error::Unreachable { endpoints, deadline, reason });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt<T, F, Answer>(
        &self,
        endpoint: &Endpoint,
        kind: Kind,
        limit: Instant,
        call: &F,
    ) -> std::result::Result<T, Failure>
    where
        F: Fn(etcd_client::Client) -> Answer,
        Answer: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let connection = match timeout_at(limit, self.connection(endpoint)).await {
            Ok(connection) => connection?,
            Err(_) => return Err(Failure::NotDone("no connection in time".to_owned())),
        };
        if kind == Kind::Change && !endpoint.is_proven() {
            prove(&connection, limit).await?;
            endpoint.has_answered();
        }
        match timeout_at(limit, call(connection)).await {
            Ok(answer) => answer.map_err(failure),
            Err(_) => {
                endpoint.forget();
                Err(Failure::Unknown("no answer in time".to_owned()))
            }
        }
    }

    /// A connection to the endpoint that is asked first, and that endpoint for
    /// [`Client::move_on`]. For streams, which have no end that could be waited for.
    pub(crate) async fn any(
        &self,
    ) -> std::result::Result<(Arc<Endpoint>, etcd_client::Client), Failure> {
        let endpoint = self.shared.endpoints.current();
        let connection = self.connection(&endpoint).await?;
        Ok((endpoint, connection))
    }

    /// Makes the endpoint after this one the first, if it still is.
    pub(crate) fn move_on(&self, from: &Endpoint) {
        self.shared.endpoints.move_on(from);
    }

    /// The endpoint that is asked first.
    pub(crate) fn current(&self) -> Arc<Endpoint> {
        self.shared.endpoints.current()
    }

    async fn connection(
        &self,
        endpoint: &Endpoint,
    ) -> std::result::Result<etcd_client::Client, Failure> {
        let mut slot = endpoint.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let options = self.options(&endpoint.url);
        let connection =
            etcd_client::Client::connect([&endpoint.url], Some(options)).await.map_err(failure)?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    fn options(&self, url: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(PING, PONG)
            .with_require_leader(true);
        if let Some(User { name, password }) = &self.shared.settings.user {
            options = options.with_user(name, password);
        }
        if let Some(certificates) = &self.shared.certificates
            && url.starts_with("https://")
        {
            let mut tls = TlsOptions::new();
            if let Some(authority) = &certificates.authority {
                tls = tls.ca_certificate(Certificate::from_pem(authority));
            }
            if let Some((certificate, key)) = &certificates.identity {
                tls = tls.identity(TlsIdentity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        options
    }
}

/// Asks a member for its status: whether it is there, is one that we can talk to, and has a
/// leader.
async fn prove(
    connection: &etcd_client::Client,
    limit: Instant,
) -> std::result::Result<(), Failure> {
    let mut maintenance = connection.maintenance_client();
    let status = match timeout_at(limit, maintenance.status()).await {
        Ok(status) => status.map_err(|error| match failure(error) {
            Failure::Unknown(why) => Failure::NotDone(why),
            other => other,
        })?,
        Err(_) => return Err(Failure::NotDone("no answer in time".to_owned())),
    };
    crate::members::check_version(status.version()).map_err(Failure::Final)?;
    if status.leader() == 0 {
        return Err(Failure::NotDone("it has no leader".to_owned()));
    }
    Ok(())
}
