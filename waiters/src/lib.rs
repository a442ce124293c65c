//! Long-polls: lock queues, the watch hub, deadlines, drain. [`Frontend`] is all that the HTTP side
//! sees of what lies behind it. Nothing here knows HTTP, nor any store by name.

mod frontend;
mod lock_queues;
mod metrics;
mod place;
mod streak;
mod topic;
mod watch_hub;

pub use frontend::{Failure, Frontend, Watched};
pub use metrics::WaiterMetrics;
