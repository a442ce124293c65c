//! What is done with one value.

use crate::error::Code;
use crate::retry::pause_after_conflicts;
use crate::{Account, Error, Request, Set, ValueState};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Account {
    /// Reads a value with its version. One that does not exist has version 0; [`ValueState::json`] reads it as a Rust type.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, key: impl Into<String>) -> Result<ValueState, Error> {
        let answer = self.transact(Request::new().get(key)).await?;
        let read = answer.values.into_iter().next();
        read.ok_or(Error::NotCloudDragon { status: 200, detail: "it has no value".to_owned() })
    }

    /// Sets a value, whatever it was before, and gives its new version. It is sent so often that it happens once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set<T: Serialize + ?Sized>(&self, key: impl Into<String>, value: &T) -> Result<u64, Error> {
        self.write(Set::json(key, value)?).await
    }

    /// Sets a value only if it has this version, and gives the new one; 0: only if it does not exist.
    ///
    /// # Errors
    /// [`Error`]. With [`Code::PreconditionFailed`] when it has another version, which the
    /// [`Refusal`](crate::Refusal) tells.
    pub async fn set_if_version<T: Serialize + ?Sized>(
        &self,
        key: impl Into<String>,
        value: &T,
        version: u64,
    ) -> Result<u64, Error> {
        self.write(Set::json(key, value)?.if_version(version)).await
    }

    /// Deletes a value, if it is there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(&self, key: impl Into<String>) -> Result<(), Error> {
        self.write(Set::delete(key)).await.map(drop)
    }

    /// Sets or deletes a value as told, once, and gives the revision at which it happened.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn write(&self, set: Set) -> Result<u64, Error> {
        let answer = self.transact_once(Request::new().write(set)).await?;
        answer.version.ok_or(Error::NotCloudDragon { status: 200, detail: "it has no version".to_owned() })
    }

    /// Changes a value by a function of what it is, which no other change comes between: it is read, computed, and written
    /// if it has the same version still, else read again after a pause that grows with each time. So the function may be called several times. It gets `None`
    /// where the key does not exist, and leaves everything as it is by giving `None`.
    ///
    /// Gives the value and its version as they are afterwards; `None` if it gave `None`.
    ///
    /// ```no_run
    /// # use dragon_client::{Account, Error};
    /// # async fn example(account: Account) -> Result<(), Error> {
    /// let names = account.update("names", |names: Option<Vec<String>>| {
    ///     let mut names = names.unwrap_or_default();
    ///     names.push("new".to_owned());
    ///     Some(names)
    /// });
    /// names.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update<T: DeserializeOwned + Serialize>(
        &self,
        key: impl Into<String>,
        mut change: impl FnMut(Option<T>) -> Option<T>,
    ) -> Result<Option<(T, u64)>, Error> {
        let key = key.into();
        let mut conflicts = 0;
        loop {
            let read = self.get(key.clone()).await?;
            let Some(value) = change(read.json()?) else { return Ok(None) };
            match self.set_if_version(key.clone(), &value, read.version).await {
                Ok(version) => return Ok(Some((value, version))),
                // Each time this happens another one has got ahead with its change.
                Err(error) if error.code() == Some(&Code::PreconditionFailed) => conflicts += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause_after_conflicts(conflicts)).await;
        }
    }
}
