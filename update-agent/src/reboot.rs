//! When a machine reboots into a release that waits: plain decisions.
//!
//! The window is looked at again at the very moment of the grant, and a lock that was granted too
//! late is given back: nobody waits for a window with everybody else's turn in his hand.

use channels::time::Time;

use crate::settings::Strategy;
use crate::window::Opening;

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// How the machine reboots.
    pub strategy: Strategy,
    /// Whether a window is open.
    pub opening: Opening,
    /// A release waits, and its boot entry is as it was written.
    pub waits: bool,
    /// The running release has yet to prove itself.
    pub unproven: bool,
    /// The group's leave is held.
    pub held: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for that reason.
    Wait(String),
    /// Nothing until a window opens.
    WaitUntil(Time),
    /// Ask for leave.
    Ask,
    /// Give leave back.
    Release,
    /// Reboot.
    Reboot,
}

/// Decides.
pub fn decide(situation: &Situation) -> Step {
    let Situation { strategy, opening, waits, unproven, held } = situation;
    if *unproven {
        // Leave is kept until the machine is well again.
        return Step::Wait("the running release has yet to prove itself".to_owned());
    }
    if *held && (!*waits || !opening.is_open() || !strategy.locks()) {
        return Step::Release;
    }
    if !*waits {
        return Step::Wait("no release waits for a reboot".to_owned());
    }
    match (strategy, opening) {
        (Strategy::Off, _) => Step::Wait("REBOOT_STRATEGY is off".to_owned()),
        (_, Opening::From(time)) => Step::WaitUntil(*time),
        (Strategy::Reboot, _) => Step::Reboot,
        (Strategy::EtcdLock | Strategy::FleetLock, _) if *held => Step::Reboot,
        (Strategy::EtcdLock | Strategy::FleetLock, _) => Step::Ask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{
        Just, any, prop_assert, prop_assert_eq, prop_compose, prop_oneof, proptest,
    };

    prop_compose! {
        fn situations()(
            strategy in prop_oneof![
                Just(Strategy::Reboot), Just(Strategy::EtcdLock), Just(Strategy::FleetLock),
                Just(Strategy::Off),
            ],
            opening in prop_oneof![
                Just(Opening::Always), Just(Opening::Until(Time::from_unix(10))),
                Just(Opening::From(Time::from_unix(20))),
            ],
            waits in any::<bool>(), unproven in any::<bool>(), held in any::<bool>(),
        ) -> Situation {
            Situation { strategy, opening, waits, unproven, held }
        }
    }

    proptest! {
        #[test]
        fn nothing_reboots_that_may_not(situation in situations()) {
            let Situation { strategy, opening, waits, unproven, held } = situation.clone();
            match decide(&situation) {
                Step::Reboot => {
                    prop_assert!(opening.is_open() && waits && !unproven);
                    prop_assert!(strategy == Strategy::Reboot || (held && strategy != Strategy::Off));
                }
                Step::Ask => {
                    prop_assert!(opening.is_open() && waits && !unproven && !held);
                }
                Step::Release => prop_assert!(held && !unproven),
                Step::WaitUntil(_) => prop_assert!(!opening.is_open() && !held),
                Step::Wait(_) => {}
            }
        }

        #[test]
        fn leave_is_never_held_for_nothing(situation in situations()) {
            if situation.held && !situation.unproven {
                let step = decide(&situation);
                prop_assert!(matches!(step, Step::Reboot | Step::Release), "{step:?}");
            }
        }

        #[test]
        fn a_release_that_waits_is_booted_once_everything_allows_it(situation in situations()) {
            let mut situation = Situation {
                waits: true, unproven: false, opening: Opening::Always, ..situation
            };
            if situation.strategy == Strategy::Off {
                return Ok(());
            }
            if situation.strategy == Strategy::Reboot {
                situation.held = false;
            }
            if decide(&situation) == Step::Ask {
                situation.held = true;
            }
            prop_assert_eq!(decide(&situation), Step::Reboot);
        }
    }
}
