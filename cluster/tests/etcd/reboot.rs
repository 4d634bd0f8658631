//! The reboot lock among machines that come, go, and fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use cluster::reboot::locksmith;
use cluster::reboot::{
    Hold, Obstacle, Outcome, Phase, RebootError, RebootLock, Request, Ticket, local_member,
};
use cluster::testing::{Cluster, Options, debian12, debian13};
use cluster::{Client, Settings};
use tokio::time::{sleep, timeout};

use crate::server::{LIMIT, client, each, run};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn request(machine: &str) -> Request {
    Request {
        machine: machine.to_owned(),
        boot_id: format!("boot-of-{machine}"),
        version: None,
        member: None,
        hold: Duration::from_secs(600),
        token: None,
    }
}

/// A group that no other test uses.
fn lock(client: &Client, prefix: &str) -> RebootLock {
    RebootLock::new(client.clone(), &prefix.replace('/', "")).unwrap()
}

async fn queued(lock: &RebootLock, machine: &str) -> Ticket {
    lock.enqueue(request(machine), NOW).await.unwrap()
}

async fn granted(ticket: &mut Ticket) -> Hold {
    match ticket.take(NOW).await.unwrap() {
        Outcome::Granted(hold) => hold,
        Outcome::Waiting(obstacles) => panic!("not granted: {obstacles:?}"),
    }
}

async fn told(ticket: &mut Ticket) -> Vec<String> {
    match ticket.take(NOW).await.unwrap() {
        Outcome::Granted(_) => panic!("granted"),
        Outcome::Waiting(obstacles) => obstacles.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn machines_take_turns_in_the_order_in_which_they_came() {
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        let mut c = queued(&lock, "c").await;
        let mut a = queued(&lock, "a").await;
        let mut b = queued(&lock, "b").await;
        assert_eq!(told(&mut b).await, ["it is the turn of c, a"]);
        let hold = granted(&mut c).await;
        let held = "the slot is held by c";
        assert_eq!(told(&mut a).await, [held]);
        assert_eq!(told(&mut b).await, [held, "it is the turn of a"]);
        assert_eq!(granted(&mut c).await.token(), hold.token(), "asking again changes nothing");
        hold.release().await.unwrap();
        assert_eq!(told(&mut b).await, ["it is the turn of a"]);
        let hold = granted(&mut a).await;
        hold.release().await.unwrap();
        granted(&mut b).await.release().await.unwrap();
        let status = lock.status().await.unwrap();
        assert!(status.holders.is_empty() && status.queue.is_empty(), "{status:?}");
    });
}

#[test]
fn never_more_than_the_slots_and_everybody_gets_one() {
    const MACHINES: usize = 12;
    const SLOTS: usize = 3;
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        assert_eq!(lock.set_slots(SLOTS as u32).await.unwrap(), 1);
        let (down, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut machines = tokio::task::JoinSet::new();
        for n in 0..MACHINES {
            let (lock, down, most) = (lock.clone(), Arc::clone(&down), Arc::clone(&most));
            machines.spawn(async move {
                let mut ticket = queued(&lock, &format!("m{n}")).await;
                let hold = loop {
                    match ticket.take(NOW).await.unwrap() {
                        Outcome::Granted(hold) => break hold,
                        Outcome::Waiting(_) => ticket.changed().await,
                    }
                };
                let now = down.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                sleep(Duration::from_millis(20)).await;
                down.fetch_sub(1, Ordering::SeqCst);
                hold.release().await.unwrap();
            });
        }
        assert_eq!(timeout(LIMIT, machines.join_all()).await.unwrap().len(), MACHINES);
        let most = most.load(Ordering::SeqCst);
        assert!(most <= SLOTS, "{most} at a time");
    });
}

#[test]
fn a_slot_outlives_the_reboot_and_belongs_to_who_remembers_its_token() {
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        let mut hold = granted(&mut queued(&lock, "a").await).await;
        hold.enter(Phase::Rebooting).await.unwrap();
        let token = hold.token();

        let after = Request { boot_id: "another".to_owned(), ..request("a") };
        let error = lock.enqueue(after.clone(), NOW).await.unwrap_err();
        assert!(matches!(error, RebootError::Duplicate { .. }), "{error}");
        assert!(error.to_string().contains("boot-of-a"), "{error}");
        assert!(lock.held("a", token - 1).await.unwrap().is_none());
        let mut ticket = lock.enqueue(Request { token: Some(token), ..after }, NOW).await.unwrap();
        let again = granted(&mut ticket).await;
        assert_eq!((again.token(), again.holder().phase), (token, Phase::Rebooting));
        let hold = lock.held("a", token).await.unwrap().unwrap();
        hold.release().await.unwrap();
        assert!(matches!(hold.release().await, Err(RebootError::NotHeld { .. })));
    });
}

#[test]
fn a_machine_that_does_not_come_back_is_shown_and_released_by_hand_only() {
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        let mut dead = granted(&mut queued(&lock, "dead").await).await;
        let mut next = queued(&lock, "next").await;
        let status = lock.status().await.unwrap();
        assert!(!status.holders[0].is_stale(600) && status.holders[0].is_stale(601));
        assert_eq!(told(&mut next).await, ["the slot is held by dead"]);

        lock.unlock("dead").await.unwrap();
        let hold = granted(&mut next).await;
        assert!(matches!(lock.unlock("dead").await, Err(RebootError::NotHeld { .. })));
        // It comes back after all: what it remembers is worth nothing any more.
        assert!(matches!(dead.enter(Phase::Checking).await, Err(RebootError::NotHeld { .. })));
        assert!(matches!(dead.release().await, Err(RebootError::NotHeld { .. })));
        assert_eq!(lock.status().await.unwrap().holders.len(), 1);
        hold.release().await.unwrap();
    });
}

#[test]
fn a_machine_that_leaves_or_dies_in_the_queue_is_not_waited_for() {
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        let leaver = queued(&lock, "leaver").await;
        // A process that is killed leaves its place to its lease.
        let asked = lock.ask(&request("dead"), Duration::from_secs(2), NOW).await.unwrap();
        assert!(matches!(asked, Outcome::Waiting(_)));
        let mut last = queued(&lock, "last").await;
        assert_eq!(told(&mut last).await, ["it is the turn of leaver, dead"]);
        leaver.leave().await.unwrap();
        timeout(LIMIT, async {
            while matches!(last.take(NOW).await.unwrap(), Outcome::Waiting(_)) {
                last.changed().await;
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_release_that_failed_stops_for_the_group_until_that_is_cleared() {
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        let to = |machine: &str, version: &str| Request {
            version: Some(version.to_owned()),
            ..request(machine)
        };
        let mut first = lock.enqueue(to("a", "2.0"), NOW).await.unwrap();
        granted(&mut first).await.fail("2.0", "sshd does not start", NOW).await.unwrap();
        let mut second = lock.enqueue(to("b", "2.0"), NOW).await.unwrap();
        assert_eq!(
            told(&mut second).await,
            ["release 2.0 failed on a (sshd does not start): nobody takes it until \
              `cluster lock resume` clears that"]
        );
        second.leave().await.unwrap();
        let mut third = lock.enqueue(to("c", "2.1"), NOW).await.unwrap();
        granted(&mut third).await.release().await.unwrap();
        lock.resume(Some("2.0")).await.unwrap();
        let mut second = lock.enqueue(to("b", "2.0"), NOW).await.unwrap();
        granted(&mut second).await.release().await.unwrap();

        lock.set_failures(2).await.unwrap();
        lock.report_failure("3.0", "a", "x", NOW).await.unwrap();
        assert_eq!(lock.status().await.unwrap().stopped("3.0"), None);
        lock.report_failure("3.0", "b", "x", NOW).await.unwrap();
        assert!(lock.status().await.unwrap().stopped("3.0").is_some());
        lock.halt("the power is worked on", NOW).await.unwrap();
        let mut other = queued(&lock, "d").await;
        assert_eq!(told(&mut other).await, ["the group is halted: the power is worked on"]);
        lock.resume(None).await.unwrap();
        granted(&mut other).await.release().await.unwrap();
        assert_eq!(lock.status().await.unwrap().verdicts, []);
    });
}

#[test]
fn names_and_numbers_that_cannot_be_change_nothing() {
    each(|client, prefix| async move {
        for name in ["", "a/b", "a b", "ü", &"x".repeat(129)] {
            let error = RebootLock::new(client.clone(), name).unwrap_err();
            assert!(matches!(error, RebootError::Name { .. }), "{error}");
        }
        let lock = lock(&client, &prefix);
        assert!(lock.enqueue(request("../a"), NOW).await.is_err());
        assert!(matches!(lock.set_slots(0).await, Err(RebootError::Slots(0))));
        assert_eq!(lock.status().await.unwrap(), Default::default());
        // A holder that cannot be read might be one: nobody gets a slot.
        let key = format!("{}{}/holders/x", cluster::reboot::ROOT, lock.group());
        client.put(&key, "rubbish").await.unwrap();
        let error = lock.enqueue(request("a"), NOW).await.unwrap_err();
        assert!(error.to_string().starts_with(&key), "{error}");
        client.delete(&key).await.unwrap();
    });
}

#[test]
fn a_member_of_etcd_never_leaves_the_others_without_quorum() {
    for program in [debian12(), debian13()] {
        let mut servers = Cluster::start(&program, 3, &Options::default());
        run(async {
            let client = client(servers.settings());
            let lock = RebootLock::new(client.clone(), "members").unwrap();
            lock.set_slots(3).await.unwrap();
            let other = RebootLock::new(client.clone(), "other").unwrap();
            let mut members = Vec::new();
            for member in &servers.members {
                let local = Settings::listed(&member.client_url);
                members.push(local_member(&local).await.unwrap());
            }
            let of = |n: usize| Request { member: Some(members[n]), ..request(&format!("m{n}")) };

            // One may go; the second, in whatever group, would be one too many.
            let mut first = lock.enqueue(of(0), NOW).await.unwrap();
            let hold = granted(&mut first).await;
            let mut second = other.enqueue(of(1), NOW).await.unwrap();
            let quorum = "etcd would be left with 1 healthy of 3 members, and needs 2";
            assert_eq!(told(&mut second).await, [quorum]);
            // Who is no member does not matter to etcd.
            granted(&mut queued(&lock, "worker").await).await.release().await.unwrap();
            hold.release().await.unwrap();

            servers.members[2].kill();
            assert_eq!(local_member(&Settings::listed(&servers.members[2].client_url)).await, None);
            assert_eq!(told(&mut second).await, [quorum]);
            servers.members[2].restart();
            timeout(LIMIT, async {
                while let Outcome::Waiting(obstacles) = second.take(NOW).await.unwrap() {
                    assert!(matches!(obstacles[..], [Obstacle::Quorum(_)]), "{obstacles:?}");
                    sleep(Duration::from_millis(100)).await;
                }
            })
            .await
            .unwrap();

            // The slot outlives the leader.
            let leader = client.health().await.unwrap().leader;
            let leader = members.iter().position(|id| *id == leader).unwrap();
            servers.members[leader].kill();
            let status = other.status().await.unwrap();
            assert_eq!(status.holders[0].holder.machine, "m1");
        });
    }
}

#[test]
fn a_member_that_is_alone_may_reboot() {
    each(|client, prefix| async move {
        let lock = lock(&client, &prefix);
        let alone = local_member(client.settings()).await;
        assert!(alone.is_some());
        let request = Request { member: alone, ..request("a") };
        let mut ticket = lock.enqueue(request, NOW).await.unwrap();
        granted(&mut ticket).await.release().await.unwrap();
    });
}

#[test]
fn the_document_of_locksmith_is_changed_by_many_at_once() {
    each(|client, prefix| async move {
        let group = Some(&*prefix);
        locksmith::change(&client, group, |document| document.set_max(4)).await.unwrap().unwrap();
        let taking = (0..4).map(|n| {
            let (client, group) = (client.clone(), prefix.clone());
            tokio::spawn(async move {
                let machine = format!("m{n}");
                locksmith::change(&client, Some(&group), |document| document.lock(&machine))
                    .await
                    .unwrap()
                    .unwrap();
            })
        });
        for taken in taking.collect::<Vec<_>>() {
            taken.await.unwrap();
        }
        let document = locksmith::read(&client, group).await.unwrap();
        assert_eq!((document.semaphore, document.holders.len()), (0, 4));
        let full = locksmith::change(&client, group, |document| document.lock("m4"));
        assert_eq!(full.await.unwrap().unwrap_err().to_string(), "semaphore is at 0");
        client.put(&locksmith::key(group), "{}").await.unwrap();
        let error = locksmith::read(&client, group).await.unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    });
}
