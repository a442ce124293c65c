//! What is done with one counter.

use crate::{Account, Count, Error, Request};

impl Account {
    /// Reads a counter; one that does not exist is 0.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn counter(&self, counter: impl Into<String>) -> Result<i64, Error> {
        let answer = self.transact(Request::new().read_counter(counter)).await?;
        answer.counters.first().map(|state| state.value).ok_or_else(no_counter)
    }

    /// Adds to a counter, once, and gives what it is then. `add("ids", 100)` reserves the hundred numbers that end at the
    /// answer.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::CounterOverflow`](crate::Code::CounterOverflow) when it would leave the signed 64-bit range.
    pub async fn add(&self, counter: impl Into<String>, amount: i64) -> Result<i64, Error> {
        self.count(Count::add(counter, amount)).await
    }

    /// Sets a counter to `new` only if it is `current`.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::PreconditionFailed`](crate::Code::PreconditionFailed) when it is another, which the
    /// [`Refusal`](crate::Refusal) tells.
    pub async fn compare_and_swap(
        &self,
        counter: impl Into<String>,
        current: i64,
        new: i64,
    ) -> Result<(), Error> {
        self.count(Count::set(counter, new).if_equal(current)).await.map(drop)
    }

    /// Changes a counter as told, once, and gives what it is then; 0 of one that was deleted.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count(&self, count: Count) -> Result<i64, Error> {
        let answer = self.transact_once(Request::new().count(count)).await?;
        answer.counters.first().map(|state| state.value).ok_or_else(no_counter)
    }
}

fn no_counter() -> Error {
    Error::NotCloudDragon { status: 200, detail: "it has no counter".to_owned() }
}
