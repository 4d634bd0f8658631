//! The keys of `[X-Fleet]`.

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // each is the key of the same name
pub enum Key {
    MachineId,
    MachineOf,
    MachineMetadata,
    Conflicts,
    Global,
    Replaces,
    CpuRequest,
    MemoryRequest,
    Spread,
    UpdateMaxParallel,
    UpdateMinHealthy,
    HealthCmd,
    AutoRevert,
    OnPartition,
    DrainTimeout,
}

/// Every spelling, and the key it stands for. Of several spellings of one key, fleet's modern one
/// comes first.
pub const KEYS: [(&str, Key); 20] = [
    ("MachineID", Key::MachineId),
    ("X-ConditionMachineID", Key::MachineId),
    ("X-ConditionMachineBootID", Key::MachineId),
    ("MachineOf", Key::MachineOf),
    ("X-ConditionMachineOf", Key::MachineOf),
    ("MachineMetadata", Key::MachineMetadata),
    ("X-ConditionMachineMetadata", Key::MachineMetadata),
    ("Conflicts", Key::Conflicts),
    ("X-Conflicts", Key::Conflicts),
    ("Global", Key::Global),
    ("Replaces", Key::Replaces),
    // From here on: not in fleet.
    ("CPURequest", Key::CpuRequest),
    ("MemoryRequest", Key::MemoryRequest),
    ("Spread", Key::Spread),
    ("UpdateMaxParallel", Key::UpdateMaxParallel),
    ("UpdateMinHealthy", Key::UpdateMinHealthy),
    ("HealthCmd", Key::HealthCmd),
    ("AutoRevert", Key::AutoRevert),
    ("OnPartition", Key::OnPartition),
    ("DrainTimeout", Key::DrainTimeout),
];

impl Key {
    /// The key of this spelling; case counts.
    pub(super) fn of(name: &str) -> Option<Key> {
        KEYS.iter().find(|(known, _)| *known == name).map(|&(_, key)| key)
    }
}

/// The spelling that was probably meant.
pub(super) fn suggestion(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let wanted = plain(name);
    KEYS.iter()
        .map(|&(known, _)| (distance(&wanted, &plain(known)), known))
        .filter(|&(distance, known)| distance <= 1 + known.len() / 6)
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be put in, taken out or exchanged.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let exchange = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = exchange.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
