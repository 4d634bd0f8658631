//! The members that a client asks, and which of them first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Failure;

/// How long an answer proves that an endpoint is there.
const PROVEN: Duration = Duration::from_secs(5);

/// One member's client side.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) connection: Mutex<Option<etcd_client::Client>>,
    /// When it last answered.
    answered: std::sync::Mutex<Option<Instant>>,
}

/// All of them: those that were given, and behind them those that were learned.
pub(crate) struct Endpoints {
    list: RwLock<Vec<Arc<Endpoint>>>,
    given: usize,
    /// The one that is asked first.
    current: AtomicUsize,
}

impl Endpoint {
    fn new(url: &str) -> Arc<Self> {
        Arc::new(Self {
            url: url.trim_end_matches('/').to_owned(),
            connection: Mutex::new(None),
            answered: std::sync::Mutex::new(None),
        })
    }

    pub(crate) fn has_answered(&self) {
        *self.answered() = Some(Instant::now());
    }

    pub(crate) fn forget(&self) {
        *self.answered() = None;
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.answered().is_some_and(|moment| moment.elapsed() < PROVEN)
    }

    /// A server that ends a secure connection before it has answered anything did not like what
    /// it saw; the reason that it gave is often lost with the connection.
    pub(crate) fn explained(&self, failed: Failure) -> Failure {
        const ENDED: [&str; 4] = ["handshake eof", "connection closed", "broken pipe", "reset by"];
        match failed {
            Failure::NotDone(why) | Failure::Unknown(why)
                if self.url.starts_with("https://")
                    && self.answered().is_none()
                    && ENDED.iter().any(|ended| why.to_lowercase().contains(ended)) =>
            {
                Failure::Insecure(match why.contains("handshake") {
                    true => format!("it does not speak TLS ({why})"),
                    false => format!("it refused us, perhaps our certificate ({why})"),
                })
            }
            failed => failed,
        }
    }

    /// Nothing panics while it holds this.
    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoints {
    /// Those that are given, at least one.
    pub(crate) fn new(urls: &[String]) -> Self {
        let list = urls.iter().map(|url| Endpoint::new(url)).collect();
        Self { list: RwLock::new(list), given: urls.len(), current: AtomicUsize::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.list(<[_]>::len)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.list(|list| list.iter().map(|endpoint| endpoint.url.clone()).collect())
    }

    /// The one that is asked first.
    pub(crate) fn current(&self) -> Arc<Endpoint> {
        self.list(|list| Arc::clone(&list[self.current.load(Ordering::Relaxed) % list.len()]))
    }

    /// Makes the one after this the first, if this still is.
    pub(crate) fn move_on(&self, from: &Endpoint) {
        from.forget();
        self.list(|list| {
            let current = self.current.load(Ordering::Relaxed);
            if list[current % list.len()].url == from.url {
                let next = (current % list.len() + 1) % list.len();
                let order = Ordering::Relaxed;
                let _ = self.current.compare_exchange(current, next, order, order);
            }
        });
    }

    /// Puts these in the place of those that were learned before; those that were given stay.
    /// Connections to those that stay are kept.
    pub(crate) fn learn(&self, urls: &[String]) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<Arc<Endpoint>> = list.clone();
        list.truncate(self.given);
        for url in urls {
            let url = url.trim_end_matches('/');
            if list.iter().all(|endpoint| endpoint.url != url) {
                let known = old.iter().find(|endpoint| endpoint.url == url);
                list.push(known.map_or_else(|| Endpoint::new(url), Arc::clone));
            }
        }
        let first = &old[self.current.load(Ordering::Relaxed) % old.len()];
        let now = list.iter().position(|endpoint| endpoint.url == first.url).unwrap_or(0);
        self.current.store(now, Ordering::Relaxed);
    }

    fn list<T>(&self, look: impl FnOnce(&[Arc<Endpoint>]) -> T) -> T {
        look(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| (*url).to_owned()).collect()
    }

    #[test]
    fn what_is_learned_takes_the_place_of_what_was_learned_before() {
        let endpoints = Endpoints::new(&strings(&["http://a:1"]));
        endpoints.learn(&strings(&["http://b:1/", "http://a:1", "http://c:1"]));
        assert_eq!(endpoints.urls(), ["http://a:1", "http://b:1", "http://c:1"]);
        endpoints.move_on(&endpoints.current());
        endpoints.move_on(&endpoints.current());
        assert_eq!(endpoints.current().url, "http://c:1");
        // The one that is asked stays the one, wherever it stands now.
        endpoints.learn(&strings(&["http://c:1"]));
        assert_eq!(endpoints.current().url, "http://c:1");
        endpoints.learn(&[]);
        assert_eq!((endpoints.urls(), endpoints.len()), (strings(&["http://a:1"]), 1));
        assert_eq!(endpoints.current().url, "http://a:1");
        endpoints.move_on(&endpoints.current());
        assert_eq!(endpoints.current().url, "http://a:1");
    }
}
