//! A whole cluster in one thread, on a seeded clock, network and fate: the real engine and the
//! real agents against an etcd and a systemd that live in memory.
//!
//! Every seed is another story: units come, change and go; agents, machines and the store crash,
//! are cut off, come back. What must never happen is checked whenever something starts; what must
//! be true in the end is checked when all is quiet again.
//!
//! A seed that fails prints the command that replays it. `FLEET_SEEDS=20000` plays more of them,
//! `FLEET_MACHINES=1000` in a larger cluster.

mod machine;
mod random;
mod store;
mod story;

use std::process::Command;
use std::time::Instant;

use story::{Scale, Story};

fn number(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods)] // how a person asks for one seed, or for more
    std::env::var(name).ok()?.parse().ok()
}

fn play(seed: u64, scale: Scale) -> Result<Story, String> {
    let mut story = Story::new(seed, scale);
    story.play().map(|()| story).map_err(|reason| {
        format!(
            "seed {seed}: {reason}\nreplay: FLEET_SEED={seed} FLEET_MACHINES={} \
             cargo test -p fleet --test simulation -- --nocapture seeds",
            scale.machines
        )
    })
}

/// Short stories in clusters of three to nine machines.
#[test]
fn seeds() {
    if let Some(seed) = number("FLEET_SEED") {
        let scale = Scale::of(number("FLEET_MACHINES").unwrap_or(0) as usize, seed);
        let mut story = Story::new(seed, scale);
        story.verbose = true;
        if let Err(reason) = story.play() {
            panic!("seed {seed}: {reason}");
        }
        return;
    }
    let seeds = number("FLEET_SEEDS").unwrap_or(2000);
    let machines = number("FLEET_MACHINES").unwrap_or(0) as usize;
    let first = number("FLEET_FIRST").unwrap_or(1);
    let threads = 2; // as many as CI has
    let failed: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    (first..first + seeds)
                        .filter(|seed| seed % threads == thread)
                        .find_map(|seed| play(seed, Scale::of(machines, seed)).err())
                })
            })
            .collect();
        handles.into_iter().filter_map(|handle| handle.join().expect("no panic")).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// One story of a large cluster.
#[test]
fn a_thousand_machines() {
    let begin = Instant::now();
    let story = play(7, Scale { machines: 1000, units: 300, minutes: 4, faults: 40 })
        .unwrap_or_else(|e| panic!("{e}"));
    println!(
        "1000 machines, {} events, {} writes, {:?}",
        story.events,
        story.writes(),
        begin.elapsed()
    );
}

/// The same seed is the same story to the last write.
#[test]
fn a_seed_replays() {
    let trace = |seed| {
        play(seed, Scale::of(5, seed)).map(|story| story.trace()).unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
    // Not even another process makes a difference: nothing hangs on addresses or hash seeds.
    let other = |n: &str| {
        let exe = std::env::current_exe().expect("this test");
        let output = Command::new(exe)
            .args(["--exact", "trace_of_one_seed", "--nocapture", n])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .find_map(|line| line.split("trace ").nth(1).map(str::to_string))
            .expect("a trace")
    };
    assert_eq!(other("--test-threads=1"), other("--test-threads=2"));
}

#[test]
fn trace_of_one_seed() {
    let story = play(11, Scale::of(5, 11)).unwrap_or_else(|e| panic!("{e}"));
    println!("trace {:016x}", story.trace());
}
