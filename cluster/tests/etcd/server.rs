//! Servers that tests share, each below a prefix of its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cluster::testing::{Cluster, Program, debian12, debian13};
use cluster::{Client, Settings, Update, Watch};
use tokio::time::timeout;

/// Longer than anything takes on a busy host.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn programs() -> [Program; 2] {
    [debian12(), debian13()]
}

/// Runs `test` against one server of each version, with a prefix that nobody else uses.
pub(crate) fn each<F, Running>(test: F)
where
    F: Fn(Client, String) -> Running,
    Running: Future<Output = ()>,
{
    static SHARED: [OnceLock<Cluster>; 2] = [OnceLock::new(), OnceLock::new()];
    static TESTS: AtomicU32 = AtomicU32::new(0);
    for (program, shared) in programs().iter().zip(&SHARED) {
        let server = shared.get_or_init(|| Cluster::single(program));
        let number = TESTS.fetch_add(1, Ordering::Relaxed);
        eprintln!("{}", program.name);
        run(async {
            test(client(server.settings()), format!("/test{number}/")).await;
        });
    }
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

pub(crate) fn client(settings: Settings) -> Client {
    Client::new(settings).expect("settings")
}

pub(crate) async fn next(watch: &mut Watch) -> Update {
    timeout(LIMIT, watch.next()).await.expect("an update")
}
