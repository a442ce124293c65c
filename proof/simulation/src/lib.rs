//! Deterministic simulation of Cloud Dragon's waiters, lanes and core. One seed is one run: simulated time, one
//! thread, and all that is left to chance from one seeded source, so that a seed plays the same in every process.

mod bug;
mod calm;
mod clients;
mod clock;
mod judge;
mod many;
mod nemesis;
mod plan;
mod queue;
mod random;
mod recorder;
mod run;
mod site;
mod store;
mod wire;
mod world;

pub use bug::Bug;
pub use judge::{Judged, judge};
pub use many::{Seeds, Total, play};
pub use plan::{Mode, Nemesis, Plan};
pub use run::{Run, run};
pub use store::Counts;
