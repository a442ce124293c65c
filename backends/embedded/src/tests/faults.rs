//! An engine that fails: before it wrote anything, or at the sync. Each of the first calls fails once.

use super::{commit, count, open};
use crate::write_engine::{Change, WriteEngine, WriteError};
use crate::{EmbeddedMetrics, EmbeddedStore, LogBounds};
use dragon_contract::{Backend as _, BackendError};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The write fails, nothing of it is there.
    Refused,
    /// The sync fails, and nothing of it is there after the restart.
    Lost,
    /// The sync fails, but all of it is there after the restart.
    Kept,
}

struct FaultyEngine {
    inner: Box<dyn WriteEngine>,
    fault: Fault,
    calls_before: usize,
}

impl WriteEngine for FaultyEngine {
    fn write(&mut self, change: &Change<'_>) -> std::result::Result<(), WriteError> {
        if self.calls_before > 0 {
            self.calls_before -= 1;
            return self.inner.write(change);
        }
        if self.fault == Fault::Kept {
            self.inner.write(change)?;
        }
        Err(WriteError { nothing_applied: self.fault == Fault::Refused, message: "injected".into() })
    }

    fn written_bytes(&self) -> u64 {
        self.inner.written_bytes()
    }

    fn begin_file(&mut self) -> std::io::Result<u64> {
        self.inner.begin_file()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_write_the_store_is_closed_and_nothing_is_half_applied() {
    for fault in [Fault::Refused, Fault::Lost, Fault::Kept] {
        for calls_before in 0..12 {
            let folder = tempfile::tempdir().unwrap();
            let through =
                |inner| Box::new(FaultyEngine { inner, fault, calls_before }) as Box<dyn WriteEngine>;
            let store = EmbeddedStore::open_through(
                folder.path(),
                LogBounds::default(),
                EmbeddedMetrics::default(),
                through,
            )
            .unwrap();
            // Two at a time, so that one is decided while the other is being written.
            let (mut applied, mut unknown, mut refused) = (0, 0, 0);
            for number in 0..10 {
                let both = (
                    store.commit(super::write(2 * number, 10)),
                    store.commit(super::write(2 * number + 1, 10)),
                );
                for outcome in [both.0.await, both.1.await] {
                    match outcome {
                        Ok(_) => applied += 1,
                        Err(BackendError::OutcomeUnknown(_)) => unknown += 1,
                        Err(BackendError::Unavailable(_)) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            assert_eq!(applied + unknown + refused, 20);
            assert!(store.health().await.is_err() || refused + unknown == 0);
            assert_eq!(
                unknown > 0,
                fault != Fault::Refused && refused + unknown > 0,
                "{fault:?} {calls_before}"
            );
            drop(store);
            let store = open(folder.path()).unwrap();
            let found = count(&store).await;
            let possible = applied..=applied + unknown;
            assert!(possible.contains(&found), "{fault:?} after {calls_before}: {found} of {possible:?}");
            assert_eq!(found, if fault == Fault::Kept { applied + unknown } else { applied });
            assert!(commit(&store, 99, 10).await.is_ok());
        }
    }
}
