//! What the guide tells, tried on a running server. `scenario.sh` runs it.

mod access;
mod counters;
mod exact;
mod lists;
mod locks;
mod once;
mod place;
mod values;
mod watches;

use place::{Outcome, Place};

#[tokio::main]
async fn main() -> Outcome {
    let place = Place::from_environment()?;
    let (first, second) = (place.account()?, place.account()?);

    access::asks_for_tokens(&place).await?;
    println!("ok: auth");
    access::has_settings(&place).await?;
    println!("ok: clients with settings");
    let guard = locks::waits_for_a_lock(&first, &second).await?;
    println!("ok: lock with a wait");
    locks::leaves_the_queue(&first, &second).await?;
    println!("ok: wait broken off");
    locks::guards_a_write(&second, guard).await?;
    println!("ok: guarded write");
    locks::holds_for_longer_than_a_lease(&first, &second).await?;
    println!("ok: extended lock");
    locks::stops_when_the_lock_is_lost(&first, &second).await?;
    println!("ok: lost lock");
    locks::gives_back_what_is_dropped(&first, &second).await?;
    println!("ok: dropped guard");
    counters::counts(&place).await?;
    println!("ok: counter");
    values::handles_a_conflict(&first, &second).await?;
    values::loses_no_append(&place).await?;
    println!("ok: compare-and-swap");
    once::happens_once(&place, &first).await?;
    println!("ok: idempotent retry");
    once::gives_up(&place).await?;
    println!("ok: no server");
    watches::follows(&first, &second).await?;
    println!("ok: watch loop");
    lists::go_by_pages(&first).await?;
    println!("ok: list pages");
    exact::keeps_numbers(&first).await?;
    exact::keeps_bytes(&first).await?;
    println!("ok: exact numbers and values");
    Ok(())
}
