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
    println!("ok: tokens and their rights");
    access::has_settings(&place).await?;
    println!("ok: clients with settings");
    let guard = locks::waits_for_a_lock(&first, &second).await?;
    println!("ok: lock with a wait");
    locks::guards_a_write(&second, guard).await?;
    println!("ok: guarded write");
    locks::stops_when_the_lock_is_lost(&first, &second).await?;
    println!("ok: lost lock");
    locks::gives_back_what_is_dropped(&first, &second).await?;
    println!("ok: dropped guard");
    counters::counts(&place).await?;
    println!("ok: counter and sequence");
    values::handles_a_conflict(&first, &second).await?;
    println!("ok: compare-and-swap conflict");
    values::loses_no_append(&place).await?;
    println!("ok: concurrent appends");
    once::happens_once(&place, &first).await?;
    println!("ok: idempotent retry");
    once::gives_up(&place).await?;
    println!("ok: no server");
    watches::follows(&first, &second).await?;
    println!("ok: watch");
    lists::go_by_pages(&first).await?;
    println!("ok: list by pages");
    exact::keeps_numbers(&first).await?;
    println!("ok: 64-bit integers");
    exact::keeps_bytes(&first).await?;
    println!("ok: values byte for byte");
    Ok(())
}
