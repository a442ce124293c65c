//! Imports whose driver is gone: one that had closed the account is completed, any other one undone.

use crate::import::{ImportError, complete, meta};
use crate::registry::{Driver, PREFIX, account_of};
use dragon_core::cell::{Account, Kind};
use dragon_core::limits::LIST_ENTRIES_MAX;
use dragon_core::page::Query;
use dragon_core::replace::Action;
use dragon_waiters::{Failure, Frontend};

/// Ends the import of an account that nobody drives any more, if there is one.
pub(crate) async fn resume(frontend: &Frontend, account: &Account) -> Result<(), ImportError> {
    let Some((driver, import, note)) = Driver::take_over(frontend, account).await? else { return Ok(()) };
    let steps = driver.steps(account);
    // First the fence: what the former driver still had under way has come by now, and nothing comes after.
    steps.take(Action::Discard(Vec::new())).await?;
    let is_closed = meta(frontend, account).await?.replacement.is_some_and(|before| before.import == import);
    let completed = match note.content.filter(|_| is_closed) {
        Some(content) => {
            tracing::info!(%account, "an import that was interrupted is completed");
            complete(steps, (import, note.mode, content)).await
        }
        None => Err(ImportError::NotEmpty),
    };
    match completed {
        Err(ImportError::NotEmpty) => {
            tracing::info!(%account, "what an interrupted import has left is taken away");
            steps.discard().await?;
        }
        completed => drop(completed?),
    }
    Ok(driver.end().await?)
}

/// Ends all imports that nobody drives any more.
///
/// # Errors
/// When the store fails; they are found again next time.
pub async fn resume_abandoned(frontend: &Frontend) -> Result<(), ImportError> {
    let mut after = String::new();
    let mut last_error = None;
    loop {
        let query = Query {
            account: Account::system(),
            kind: Kind::Value,
            prefix: PREFIX.into(),
            after,
            entries_max: LIST_ENTRIES_MAX,
            answer_bytes_max: 1 << 20,
            with_expired: false,
        };
        let page = frontend.backend().scan(&query).await.map_err(Failure::from)?;
        for account in page.shown.iter().filter_map(|shown| account_of(&shown.cell)) {
            // One that can't be ended now is in nobody else's way.
            if let Err(error) = resume(frontend, &account).await {
                tracing::warn!(%error, %account, "an interrupted import can't be ended yet");
                last_error = Some(error);
            }
        }
        match page.shown.last() {
            Some(last) if page.more => after = last.cell.id().to_owned(),
            _ => return last_error.map_or(Ok(()), Err),
        }
    }
}
