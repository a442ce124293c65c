//! Within what bounds a store's clock can be, as seen from a history's.

use crate::cluster::Store;
use dragon_checker::history::StoreClock;
use std::time::Duration;

/// Clocks of two processes on one machine agree, but for the moment between two looks.
const LOOK_MS: u64 = 20;
/// The furthest that an embedded store's clock is turned ahead.
const AHEAD_MS_MAX: u64 = 31_000;

/// The bounds of a store's clock, from the machine's. `age` is how long the store has been running at the end.
pub(super) fn bounds(machine: StoreClock, store: Store, clocks: bool, age: Duration) -> StoreClock {
    let (behind_ms, ahead_ms) = match store {
        // Turned ahead and back again; their own time never goes back.
        Store::Memory | Store::Embedded if clocks => (LOOK_MS, AHEAD_MS_MAX),
        // The database's, which nobody turns.
        Store::Memory | Store::Embedded | Store::Postgres { .. } => (LOOK_MS, LOOK_MS),
        // Its time is kept by the frontends together, who may slew it by a tenth.
        Store::FoundationDb { .. } => {
            let off_ms = 1_000 + u64::try_from(age.as_millis() / 10).unwrap_or(u64::MAX / 2);
            (off_ms, off_ms)
        }
    };
    StoreClock {
        zero_ms_min: machine.zero_ms_min.saturating_sub(behind_ms),
        zero_ms_max: machine.zero_ms_max.saturating_add(ahead_ms),
    }
}
