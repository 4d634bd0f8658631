//! Requests of the discovery service.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::cluster::{Cluster, Demand, MOST_MEMBERS, Refusal, Token};
use super::store::{Store, StoreError};
use crate::http::{self, Limits, Request, Response, answer};

/// How long a request that waits is held; the client then asks again.
const HELD: Duration = Duration::from_secs(300);
/// Tokens that are in memory at a time, more if they are waited for.
const CACHED: usize = 4096;
/// How often old tokens are looked for.
const SWEEP: Duration = Duration::from_secs(3600);
const HOUR: Duration = Duration::from_secs(3600);

/// How the service is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps the clusters.
    pub folder: PathBuf,
    /// What its tokens are told to begin with, if not what the client calls it.
    pub url: Option<String>,
    /// New tokens an hour that one address is given.
    pub new_each: u32,
    /// Tokens in all.
    pub tokens: usize,
    /// How long a cluster is kept after its last change.
    pub keep: Duration,
}

/// The service.
#[derive(Debug)]
pub struct Discovery {
    options: Options,
    store: Store,
    open: Mutex<HashMap<Token, Arc<Open>>>,
    /// New tokens of this hour, by address.
    made: Mutex<(Instant, HashMap<IpAddr, u32>)>,
    /// How many tokens there are.
    count: Mutex<usize>,
    now: fn() -> SystemTime,
}

/// A cluster in memory, and who waits for its next change.
#[derive(Debug)]
struct Open {
    cluster: AsyncMutex<Option<Cluster>>,
    index: watch::Sender<u64>,
}

/// What a request is answered with that is no cluster's word.
enum Trouble {
    Plain(StatusCode, String),
    Refused(Refusal, u64),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Serves until the listener fails.
pub async fn serve(discovery: Arc<Discovery>, listener: TcpListener) -> std::io::Error {
    let sweeper = Arc::clone(&discovery);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            let sweeper = Arc::clone(&sweeper);
            // What cannot be removed today can be tomorrow.
            if let Ok(Err(error)) = spawn_blocking(move || sweeper.sweep()).await {
                log::warn!("{}", host::error::chain(&error));
            }
        }
    });
    let limits = Limits { connections: 4096, connections_each: 512 };
    http::serve(listener, limits, move |request| {
        let discovery = Arc::clone(&discovery);
        async move { discovery.handle(&request).await }
    })
    .await
}

impl Discovery {
    /// The service with what is in its folder.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be used.
    pub fn open(options: Options, now: fn() -> SystemTime) -> Result<Self, StoreError> {
        let store = Store::open(&options.folder)?;
        let discovery = Self {
            options,
            store,
            open: Mutex::default(),
            made: Mutex::new((Instant::now(), HashMap::new())),
            count: Mutex::new(0),
            now,
        };
        discovery.sweep()?;
        Ok(discovery)
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let left = self.store.sweep(self.unix(), self.options.keep)?;
        *lock(&self.count) = left;
        Ok(())
    }

    async fn handle(&self, request: &Request) -> Response {
        let result = match self.route(request).await {
            Ok(response) => return response,
            Err(trouble) => trouble,
        };
        match result {
            Trouble::Plain(status, text) => {
                answer(status, "text/plain; charset=utf-8", text + "\n")
            }
            Trouble::Refused(refusal, index) => {
                let status = StatusCode::from_u16(refusal.status);
                json(status.unwrap_or(StatusCode::BAD_REQUEST), &refusal.to_json(index), index)
            }
            Trouble::Store(error) => {
                log::error!("{}", host::error::chain(&error));
                let text = "the service cannot read or write its store\n";
                answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", text)
            }
        }
    }

    async fn route(&self, request: &Request) -> Result<Response, Trouble> {
        let path = request.path.trim_matches('/');
        // The address of the keys themselves, as etcd has them.
        let path = path.strip_prefix("v2/keys/_etcd/registry/").unwrap_or(path);
        match path {
            "new" => return self.new_token(request).await,
            "health" => {
                let store = self.store.clone();
                blocking(move || store.probe()).await?;
                return Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", "OK\n"));
            }
            "" => {
                let text = "etcd discovery: GET /new?size=3 answers the URL of a new cluster\n";
                return Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", text));
            }
            _ => {}
        }
        let (token, key) = path.split_once('/').unwrap_or((path, ""));
        let Some(token) = Token::parse(token) else {
            let text = "no such page: GET /new?size=3 answers the URL of a new cluster";
            return Err(Trouble::Plain(StatusCode::NOT_FOUND, text.to_owned()));
        };
        match request.method {
            Method::GET if is_true(request, "wait") => self.wait(request, &token, key).await,
            Method::GET => self.get(&token, key).await,
            Method::PUT => self.put(request, &token, key).await,
            Method::DELETE => self.delete(&token, key).await,
            _ => Err(Trouble::Plain(StatusCode::METHOD_NOT_ALLOWED, "not allowed".to_owned())),
        }
    }

    async fn new_token(&self, request: &Request) -> Result<Response, Trouble> {
        if !matches!(request.method, Method::GET | Method::PUT | Method::POST) {
            return Err(Trouble::Plain(StatusCode::METHOD_NOT_ALLOWED, "not allowed".to_owned()));
        }
        let size = match request.fields.get("size").map(|size| size.trim().parse::<u32>()) {
            None => 3,
            Some(Ok(size)) if (1..=MOST_MEMBERS).contains(&size) => size,
            Some(_) => {
                let text = format!("size must be a number from 1 to {MOST_MEMBERS}");
                return Err(Trouble::Plain(StatusCode::BAD_REQUEST, text));
            }
        };
        self.count_new(request.from)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            Trouble::Plain(StatusCode::SERVICE_UNAVAILABLE, format!("no random number: {error}"))
        })?;
        let token = Token::from(random);
        self.save(&token, Cluster::new(&token, size, self.unix())).await?;
        log::info!("{}: new cluster of {size}: {token}", request.from);
        let base = match &self.options.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => match request.host() {
                Some(host) => format!("http://{host}"),
                None => {
                    let text = "the request names no host".to_owned();
                    return Err(Trouble::Plain(StatusCode::BAD_REQUEST, text));
                }
            },
        };
        Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", format!("{base}/{token}")))
    }

    /// Counts a new token against its maker and the whole.
    fn count_new(&self, from: IpAddr) -> Result<(), Trouble> {
        let mut made = lock(&self.made);
        if made.0.elapsed() > HOUR {
            *made = (Instant::now(), HashMap::new());
        }
        let mine = made.1.entry(from).or_default();
        if *mine >= self.options.new_each {
            let text = format!("{from} has made {mine} clusters in this hour: try again later");
            return Err(Trouble::Plain(StatusCode::TOO_MANY_REQUESTS, text));
        }
        let mut count = lock(&self.count);
        if *count >= self.options.tokens {
            let text = "this service has as many clusters as it may have".to_owned();
            return Err(Trouble::Plain(StatusCode::INSUFFICIENT_STORAGE, text));
        }
        *mine += 1;
        *count += 1;
        Ok(())
    }

    async fn get(&self, token: &Token, key: &str) -> Result<Response, Trouble> {
        let open = self.load(token).await?;
        let cluster = open.cluster.lock().await;
        let Some(cluster) = &*cluster else {
            return Err(Trouble::Refused(Refusal::not_found(token, key), 0));
        };
        let index = cluster.index;
        let found = cluster.get(token, key).map_err(|why| Trouble::Refused(why, index))?;
        Ok(json(StatusCode::OK, &found, index))
    }

    async fn put(&self, request: &Request, token: &Token, key: &str) -> Result<Response, Trouble> {
        let demand = match request.fields.get("prevExist").map(String::as_str) {
            Some("false") => Demand::Absent,
            Some("true") => Demand::Present,
            _ => Demand::None,
        };
        let value = request.fields.get("value").map_or("", String::as_str);
        let now = self.unix();
        let open = self.load(token).await?;
        let mut slot = open.cluster.lock().await;
        // A token of one's own begins with its size; nothing else makes one.
        let fresh = slot.is_none();
        let mut cluster = match &*slot {
            Some(cluster) => cluster.clone(),
            None if key == "_config/size" => Cluster::empty(now),
            None => return Err(Trouble::Refused(Refusal::not_found(token, key), 0)),
        };
        let index = cluster.index;
        let (new, put) = cluster
            .put(token, key, value, demand, now)
            .map_err(|why| Trouble::Refused(why, index))?;
        if fresh {
            self.count_new(request.from)?;
        }
        let (index, store, saved) = (cluster.index, self.store.clone(), cluster.clone());
        let name = token.clone();
        blocking(move || store.save(&name, &saved)).await?;
        *slot = Some(cluster);
        open.index.send_replace(index);
        log::info!("{}: {token}/{key} = {value}", request.from);
        Ok(json(if new { StatusCode::CREATED } else { StatusCode::OK }, &put, index))
    }

    async fn delete(&self, token: &Token, key: &str) -> Result<Response, Trouble> {
        let open = self.load(token).await?;
        let mut slot = open.cluster.lock().await;
        let Some(before) = &*slot else {
            return Err(Trouble::Refused(Refusal::not_found(token, key), 0));
        };
        let mut cluster = before.clone();
        let index = cluster.index;
        let deleted =
            cluster.delete(token, key, self.unix()).map_err(|why| Trouble::Refused(why, index))?;
        let (index, store, saved) = (cluster.index, self.store.clone(), cluster.clone());
        let name = token.clone();
        blocking(move || store.save(&name, &saved)).await?;
        *slot = Some(cluster);
        open.index.send_replace(index);
        log::info!("{token}/{key} deleted");
        Ok(json(StatusCode::OK, &deleted, index))
    }

    /// Answers with a change as soon as there is one; with nothing when that takes too long, and
    /// the client asks again.
    async fn wait(&self, request: &Request, token: &Token, key: &str) -> Result<Response, Trouble> {
        let recursive = is_true(request, "recursive");
        let open = self.load(token).await?;
        let mut changes = open.index.subscribe();
        let deadline = Instant::now() + HELD;
        let mut from = match request.fields.get("waitIndex").map(|index| index.parse::<u64>()) {
            None => None,
            Some(Ok(index)) => Some(index),
            Some(Err(_)) => {
                let text = "waitIndex is no number".to_owned();
                return Err(Trouble::Plain(StatusCode::BAD_REQUEST, text));
            }
        };
        loop {
            let index = {
                let cluster = open.cluster.lock().await;
                let Some(cluster) = &*cluster else {
                    return Err(Trouble::Refused(Refusal::not_found(token, key), 0));
                };
                // Without an index, what comes next.
                let first = *from.get_or_insert(cluster.index + 1);
                let event = cluster.event(token, key, recursive, first.max(1));
                match event.map_err(|why| Trouble::Refused(why, cluster.index))? {
                    Some(event) => return Ok(json(StatusCode::OK, &event, cluster.index)),
                    None => cluster.index,
                }
            };
            let changed = changes.wait_for(|now| *now > index);
            if timeout_at(deadline, changed).await.is_err() {
                let mut response = answer(StatusCode::OK, "application/json", "");
                index_header(&mut response, index);
                return Ok(response);
            }
        }
    }

    /// The cluster of `token`, read from its file if need be. One that does not exist is there
    /// too, as none.
    async fn load(&self, token: &Token) -> Result<Arc<Open>, Trouble> {
        if let Some(open) = lock(&self.open).get(token) {
            return Ok(Arc::clone(open));
        }
        let (store, name) = (self.store.clone(), token.clone());
        let cluster = blocking(move || store.load(&name)).await?;
        let index = watch::Sender::new(cluster.as_ref().map_or(0, |cluster| cluster.index));
        let loaded = Arc::new(Open { cluster: AsyncMutex::new(cluster), index });
        let mut open = lock(&self.open);
        if open.len() >= CACHED {
            open.retain(|_, open| Arc::strong_count(open) > 1);
        }
        // Somebody else may have read it meanwhile; there must be one.
        Ok(Arc::clone(open.entry(token.clone()).or_insert(loaded)))
    }

    async fn save(&self, token: &Token, cluster: Cluster) -> Result<(), Trouble> {
        let (store, name) = (self.store.clone(), token.clone());
        blocking(move || store.save(&name, &cluster)).await
    }

    fn unix(&self) -> u64 {
        (self.now)().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Trouble> {
    match spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Trouble::Plain(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

fn is_true(request: &Request, field: &str) -> bool {
    request.fields.get(field).is_some_and(|value| value == "true")
}

fn json(status: StatusCode, value: &Value, index: u64) -> Response {
    let mut response = answer(status, "application/json", format!("{value}\n"));
    index_header(&mut response, index);
    response
}

fn index_header(response: &mut Response, index: u64) {
    response.headers_mut().insert("X-Etcd-Index", HeaderValue::from(index));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
