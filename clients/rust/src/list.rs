//! Lists of what is there, page by page.

use crate::account::Route;
use crate::{Account, CounterState, Error, LockState, ValueState};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::time::Duration;

/// The most that one page has.
const LIMIT_MAX: u32 = 1_000;

/// A list of one kind of things, in the order of their names' bytes; made by [`Account::values`], [`Account::counters`] and
/// [`Account::locks`].
///
/// Each page is of one moment; a list of several pages is not.
///
/// ```no_run
/// # use dragon_client::{Account, Error};
/// # async fn example(account: Account) -> Result<(), Error> {
/// use futures_util::StreamExt as _;
/// let mut values = account.values("conf/").stream();
/// while let Some(value) = values.next().await {
///     println!("{}", value?.key);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it asks for nothing until it is read"]
pub struct List<T> {
    account: Account,
    prefix: String,
    after: Option<String>,
    limit: u32,
    listed: PhantomData<fn() -> T>,
}

/// A page of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it.
    pub entries: Vec<T>,
    /// Whether there is more after its last entry.
    pub more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest<'a> {
    prefix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
    limit: u32,
    kind: &'static str,
}

/// What can be listed.
pub trait Listed: private::Listed {}

impl<T: private::Listed> Listed for T {}

mod private {
    use super::ListAnswer;

    pub trait Listed: Send + Sized + 'static {
        const KIND: &str;

        fn name(&self) -> &str;

        /// Its field of the answer.
        fn of(answer: ListAnswer) -> Option<Vec<Self>>;
    }
}

/// What the server answers: the one field that was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAnswer {
    #[serde(rename = "KV")]
    values: Option<Vec<ValueState>>,
    counters: Option<Vec<CounterState>>,
    locks: Option<Vec<LockState>>,
    #[serde(default)]
    more: bool,
}

impl private::Listed for ValueState {
    const KIND: &str = "KV";

    fn name(&self) -> &str {
        &self.key
    }

    fn of(answer: ListAnswer) -> Option<Vec<Self>> {
        answer.values
    }
}

impl private::Listed for CounterState {
    const KIND: &str = "Counters";

    fn name(&self) -> &str {
        &self.key
    }

    fn of(answer: ListAnswer) -> Option<Vec<Self>> {
        answer.counters
    }
}

impl private::Listed for LockState {
    const KIND: &str = "Locks";

    fn name(&self) -> &str {
        &self.id
    }

    fn of(answer: ListAnswer) -> Option<Vec<Self>> {
        answer.locks
    }
}

impl Account {
    /// The values whose keys begin so.
    pub fn values(&self, prefix: impl Into<String>) -> List<ValueState> {
        List::new(self, prefix.into())
    }

    /// The counters whose names begin so.
    pub fn counters(&self, prefix: impl Into<String>) -> List<CounterState> {
        List::new(self, prefix.into())
    }

    /// The locks that are held now and whose names begin so.
    pub fn locks(&self, prefix: impl Into<String>) -> List<LockState> {
        List::new(self, prefix.into())
    }
}

impl<T: Listed> List<T> {
    fn new(account: &Account, prefix: String) -> Self {
        Self { account: account.clone(), prefix, after: None, limit: LIMIT_MAX, listed: PhantomData }
    }

    /// Only what comes after this name.
    pub fn after(self, name: impl Into<String>) -> Self {
        Self { after: Some(name.into()), ..self }
    }

    /// At most so many entries on a page: 1 to 1000; 1000 when not given. A page of large values may have fewer.
    pub fn limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// The first page.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn page(&self) -> Result<Page<T>, Error> {
        let (prefix, after) = (self.prefix.as_str(), self.after.as_deref());
        let request = ListRequest { prefix, after, limit: self.limit, kind: T::KIND };
        let answer: ListAnswer = self.account.read(Route::List, &request, Duration::ZERO).await?;
        let more = answer.more;
        match T::of(answer) {
            Some(entries) if !(more && entries.is_empty()) => Ok(Page { entries, more }),
            _ => Err(Error::NotCloudDragon { status: 200, detail: "it is no list".to_owned() }),
        }
    }

    /// All entries, page by page as they are needed. It ends after an error.
    #[must_use]
    pub fn stream(self) -> BoxStream<'static, Result<T, Error>> {
        let pages = stream::unfold(Some(self), async |list| {
            let mut list = list?;
            match list.page().await {
                Ok(page) => {
                    list.after = page.entries.last().map(|entry| entry.name().to_owned());
                    let entries = page.entries.into_iter().map(Ok).collect();
                    Some((entries, page.more.then_some(list)))
                }
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        pages.flat_map(stream::iter).boxed()
    }

    /// All entries, in memory.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn all(self) -> Result<Vec<T>, Error> {
        let mut stream = self.stream();
        let mut entries = Vec::new();
        while let Some(entry) = stream.next().await {
            entries.push(entry?);
        }
        Ok(entries)
    }
}
