//! Watchers, each of which follows one register and passes on from call to call the version that it was told.

use super::{Crew, register};
use crate::load::client::Told;
use dragon_checker::history::Endpoint;
use serde_json::json;

/// How often the last call is made, until it is answered and shows nothing new.
const LAST_CALLS: usize = 5;

/// Follows the register of this number, which wraps around, until writers and then watchers are told to end. The last
/// call is made after that: what the writers did must have come by then.
pub async fn watcher(crew: Crew, number: usize) {
    let key = register(number % super::REGISTERS);
    let mut worker = crew.worker();
    let mut version = 0;
    let mut last_calls = 0;
    while last_calls < LAST_CALLS {
        let is_last = !worker.course.is_watched();
        last_calls += usize::from(is_last);
        // Once the writers end, a long wait would only delay the last call.
        let wait_s = match (is_last, worker.course.goes_on()) {
            (true, _) => 1,
            (false, true) => worker.random.within(2..=10),
            (false, false) => 2,
        };
        worker.course.beat().await;
        // Others are slower in using what they were told: the key has changed again when they come back.
        if worker.random.chance(40) {
            tokio::time::sleep(worker.random.millis(20..=300)).await;
        }
        let body = json!({"ID": key, "Version": version, "Wait": wait_s});
        let told = worker.client.ask(Endpoint::Watch, body).await;
        if let Some(shown) = told.applied().and_then(|answer| answer["Version"].as_u64()) {
            version = shown;
        }
        if is_last && matches!(told, Told::Answered { status: 204, .. }) {
            return;
        }
    }
}
