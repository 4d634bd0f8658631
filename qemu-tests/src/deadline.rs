//! A moment by which something must have happened.

use std::time::{Duration, Instant};

/// A moment by which something must have happened, and the limit it came from,
/// so that the error can say how long was waited.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
    limit: Duration,
}

impl Deadline {
    /// The moment `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, limit }
    }

    /// How long it was from the start to the end.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// What is left of it; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Sleeps for `step`, or less if the deadline is nearer. False once the
    /// deadline has passed, so that it can end a polling loop.
    pub fn pause(&self, step: Duration) -> bool {
        std::thread::sleep(step.min(self.left()));
        !self.passed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_and_remembers_its_limit() {
        let spent = Deadline::after(Duration::ZERO);
        assert!(spent.passed());
        assert!(!spent.pause(Duration::from_secs(3600)));

        let limit = Duration::from_secs(3600);
        let open = Deadline::after(limit);
        assert!(!open.passed());
        assert_eq!(open.limit(), limit);
        assert!(open.pause(Duration::from_millis(1)));
    }
}
