//! Steps over the rows of an account, each over as many as a step may have.

use crate::registry::Content;
use bytes::Bytes;
use dragon_contract::BackendError;
use dragon_core::cell::{Account, Cell, Kind, staged_prefix};
use dragon_core::page::Query;
use dragon_core::replace::{Action, Step};
use dragon_core::request::Request;
use dragon_core::verdict::Verdict;
use dragon_waiters::{Failure, Frontend};
use serde::Deserialize;
use std::sync::Arc;

/// Rows of one step, …
pub(crate) const STEP_ROWS: usize = 500;
/// … and about how many bytes.
pub(crate) const STEP_BYTES: usize = 1 << 20;

/// The kinds of an account's content.
const CONTENT: [Kind; 4] = [Kind::Value, Kind::Counter, Kind::Lock, Kind::Idempotency];

/// Who takes steps in which account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps<'a> {
    pub(crate) frontend: &'a Frontend,
    pub(crate) account: &'a Account,
    pub(crate) driver: u64,
}

/// The first cells of a kind, after a name.
async fn cells(
    frontend: &Frontend,
    account: &Account,
    kind: Kind,
    prefix: &str,
    after: String,
) -> Result<Vec<Cell>, BackendError> {
    let query = Query {
        account: account.clone(),
        kind,
        prefix: prefix.into(),
        after,
        entries_max: STEP_ROWS,
        answer_bytes_max: 2 * STEP_BYTES,
        with_expired: true,
    };
    let page = frontend.backend().scan(&query).await?;
    Ok(page.shown.into_iter().map(|shown| shown.cell).collect())
}

impl Steps<'_> {
    /// Takes one.
    pub(crate) async fn take(self, action: Action) -> Result<(), Failure> {
        self.ask(action).await.map(drop)
    }

    /// Opens the closed account with its new content, and returns its revision.
    pub(crate) async fn open(self, content: Content, is_deleted: bool) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Opened {
            version: u64,
        }
        let Content { revision, mark_ms } = content;
        let answer = self.ask(Action::Open { revision, mark_ms, is_deleted }).await?;
        let opened =
            serde_json::from_slice(&answer).map_err(|error| BackendError::Corrupt(error.to_string()));
        opened.map(|Opened { version }| version).map_err(Failure::from)
    }

    async fn ask(self, action: Action) -> Result<Bytes, Failure> {
        let request = Request::step(self.account.clone(), Step { driver: self.driver, action });
        match self.frontend.submit(Arc::new(request)).await?.take() {
            Some(Verdict::Applied(applied)) => Ok(applied.answer),
            _ => Err(Failure::Draining),
        }
    }

    /// Takes steps over all cells of a kind.
    async fn over_all(
        self,
        (kind, prefix): (Kind, &str),
        action: impl Fn(Vec<Cell>) -> Action,
    ) -> Result<(), Failure> {
        let mut after = String::new();
        loop {
            let cells = cells(self.frontend, self.account, kind, prefix, after).await?;
            let Some(last) = cells.last() else { return Ok(()) };
            after = last.id().to_owned();
            self.take(action(cells)).await?;
        }
    }

    /// Deletes everything that imports have staged.
    pub(crate) async fn discard(self) -> Result<(), Failure> {
        // After this one there is nothing more to come of what was under way.
        self.take(Action::Discard(Vec::new())).await?;
        self.over_all((Kind::Staged, ""), Action::Discard).await
    }

    /// Deletes the content of a closed account.
    pub(crate) async fn clear(self) -> Result<(), Failure> {
        for kind in CONTENT {
            self.over_all((kind, ""), Action::Clear).await?;
        }
        self.take(Action::Cleared).await
    }

    /// Puts what an import has staged into its place.
    pub(crate) async fn place(self, import: u64) -> Result<(), Failure> {
        self.over_all((Kind::Staged, &staged_prefix(import)), Action::Place).await
    }
}

/// Whether an account has nothing that a client could see.
pub(crate) async fn is_empty(frontend: &Frontend, account: &Account) -> Result<bool, Failure> {
    for kind in CONTENT {
        let query = Query {
            account: account.clone(),
            kind,
            prefix: String::new(),
            after: String::new(),
            entries_max: 1,
            answer_bytes_max: STEP_BYTES,
            with_expired: false,
        };
        if !frontend.backend().scan(&query).await?.shown.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
