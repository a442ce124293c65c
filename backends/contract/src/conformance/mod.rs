//! The conformance suite: what every store must do, as functions that take a fresh store and panic
//! where it breaks a promise of [`Backend`](crate::Backend). A store's tests are one line:
//! [`conformance_suite!`](crate::conformance_suite). Each function has accounts of its own, so stores
//! that share a server may run all of them at once.

mod changes;
mod client;
mod concurrency;
pub mod counting;
mod dice;
pub mod faults;
mod idempotency;
mod lists;
mod locks;
mod ordering;
mod sizes;
mod snapshots;
mod sweeps;
mod values;

pub use changes::{
    changed_already, changed_by_writes, changed_can_be_dropped, changed_follows_to_the_end,
    changed_misses_nothing, changed_sleeps, changed_wakes_all,
};
pub use concurrency::{load_is_one_moment, many_writers_one_counter, one_creator, random_load_replays};
pub use idempotency::{id_expiry, kept_answers, large_answers_are_not_kept, many_ids_one_answer};
pub use lists::{
    accounts_by_pages, scan_bounds, scan_by_pages, scan_hides_expired, scan_is_one_moment, scan_isolation,
};
pub use locks::{
    lock_contention, lock_expiry, lock_extension, lock_grant_and_release, lock_pass, lock_queue,
};
pub use ordering::{
    a_dropped_commit_happens, atomicity, order_of_pipelined_commits, order_within_a_batch,
    order_within_a_request, reads_follow_answers,
};
pub use sizes::{large_requests, large_values, many_keys, stored_bytes_add_up};
pub use snapshots::{snapshot_is_one_moment, snapshot_is_whole, snapshots_tear_no_request};
pub use sweeps::{sweep_spares_what_is_rewritten, sweep_takes_only_the_expired, sweep_wakes};
pub use values::{bytes_as_sent, counters, revisions, value_expiry, versions_only_rise};

/// A test of the suite that is run by hand: its name, and what to run on a runtime.
pub type Case = (&'static str, fn() -> futures_util::future::BoxFuture<'static, ()>);

/// Makes one test of each function of the suite.
///
/// `$open` is an async function that opens an empty store and returns it with whatever must live as
/// long as it: `async fn open() -> (Arc<dyn Backend>, impl Sized)`. The calling crate needs tokio with
/// its `macros` and `rt-multi-thread`. With `cases of $open` it is a list of [`Case`](crate::conformance::Case)s
/// instead, for tests with a `main` of their own.
#[macro_export]
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::conformance_suite! { @all tests $open }
    };
    (cases of $open:path) => {
        $crate::conformance_suite! { @all cases $open }
    };
    (@all $what:ident $open:path) => {
        $crate::conformance_suite! { @$what $open:
            a_dropped_commit_happens accounts_by_pages atomicity bytes_as_sent changed_already
            changed_by_writes changed_can_be_dropped changed_follows_to_the_end changed_misses_nothing
            changed_sleeps changed_wakes_all counters id_expiry kept_answers large_answers_are_not_kept large_requests
            large_values load_is_one_moment lock_contention lock_expiry lock_extension
            lock_grant_and_release lock_pass lock_queue many_ids_one_answer many_keys
            many_writers_one_counter one_creator order_of_pipelined_commits order_within_a_batch
            order_within_a_request random_load_replays reads_follow_answers revisions scan_bounds
            scan_by_pages scan_hides_expired scan_is_one_moment scan_isolation
            snapshot_is_one_moment snapshot_is_whole snapshots_tear_no_request stored_bytes_add_up
            sweep_spares_what_is_rewritten sweep_takes_only_the_expired sweep_wakes value_expiry
            versions_only_rise
        }
    };
    (@tests $open:path: $($test:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let (store, _keep_alive) = $open().await;
                $crate::conformance::$test(store).await;
            }
        )+
    };
    (@cases $open:path: $($test:ident)+) => {
        [$((stringify!($test), || {
            Box::pin(async {
                let (store, _keep_alive) = $open().await;
                $crate::conformance::$test(store).await;
            })
        })),+] as [$crate::conformance::Case; _]
    };
}
