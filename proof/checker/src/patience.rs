//! By when something should have happened, given what was done to the system meanwhile.

use crate::history::{Disturbance, Moment};

/// Deadlines after moments, put off by disturbances.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    grace_us: Moment,
    /// In the order of their beginnings.
    disturbances: Vec<&'a Disturbance>,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(grace_us: Moment, disturbances: &'a [Disturbance]) -> Self {
        let mut disturbances: Vec<_> = disturbances.iter().collect();
        disturbances.sort_by_key(|disturbance| disturbance.begun_us);
        Self { grace_us, disturbances }
    }

    /// By when what could happen from this moment on should have: the grace later, or as long after the end of a
    /// disturbance that came between.
    pub(crate) fn deadline_us(&self, from_us: Moment) -> Moment {
        let mut deadline_us = from_us.saturating_add(self.grace_us);
        for disturbance in &self.disturbances {
            if disturbance.begun_us <= deadline_us && disturbance.ended_us >= from_us {
                deadline_us = deadline_us.max(disturbance.ended_us.saturating_add(self.grace_us));
            }
        }
        deadline_us
    }
}
