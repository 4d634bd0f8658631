//! Writing the states of units: the newest of each, many in one transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::Txn;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::presence::Standing;
use super::store::Store;
use crate::model::{Key, UnitState};

/// Writes in one transaction.
const BATCH: usize = 100;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes what comes, for ever.
pub(super) async fn run(
    store: Store,
    machine: String,
    mut states: UnboundedReceiver<(String, Option<UnitState>)>,
    mut standing: watch::Receiver<Standing>,
) {
    let mut waiting: BTreeMap<String, Option<UnitState>> = BTreeMap::new();
    loop {
        if waiting.is_empty() {
            match states.recv().await {
                Some((unit, state)) => waiting.insert(unit, state),
                None => return,
            };
        }
        while let Ok((unit, state)) = states.try_recv() {
            waiting.insert(unit, state);
        }
        let lease = match &*standing.borrow_and_update() {
            Standing::In(lease) => Some(*lease),
            Standing::Out(_) => None,
        };
        let Some(lease) = lease else {
            if standing.changed().await.is_err() {
                return;
            }
            continue;
        };
        let batch: Vec<(String, Option<UnitState>)> =
            waiting.iter().take(BATCH).map(|(unit, state)| (unit.clone(), state.clone())).collect();
        let mut txn = Txn::new();
        for (unit, state) in &batch {
            let path = store.path(&Key::State(machine.clone(), unit.clone()));
            txn = match state.as_ref().and_then(|state| serde_json::to_vec(state).ok()) {
                Some(value) => txn.put_leased(&path, value, lease),
                None => txn.delete(&path),
            };
        }
        match store.client.commit(txn).await {
            Ok(_) => {
                for (unit, state) in batch {
                    if waiting.get(&unit) == Some(&state) {
                        waiting.remove(&unit);
                    }
                }
            }
            Err(error) => {
                log::debug!("states are not written: {}", host::error::chain(&error));
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    changed = standing.changed() => if changed.is_err() { return; },
                }
            }
        }
    }
}
