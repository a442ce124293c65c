//! Requests whose answers are lost, and servers that are.

use crate::place::{Outcome, Place, refusal};
use dragon_client::{Account, Client, Code, Error, Request, RetryPolicy};

pub async fn happens_once(place: &Place, account: &Account) -> Outcome {
    let unlucky = place.account_by(&place.breaking, &place.token)?;
    let pay = Request::new().idempotency_id("payment-4711").add("alice", -30).add("bob", 30);

    // A write is sent once by `transact`. Its answer is lost here.
    let error = unlucky.transact(pay.clone()).await.err().ok_or("the connection did not break")?;
    assert!(matches!(error, Error::Interrupted(_)) && error.is_outcome_unknown());

    let refused = refusal(unlucky.transact(pay.clone()).await)?;
    assert_eq!((refused.status, &refused.code), (409, &Code::DuplicateRequest));
    assert_eq!((refused.id.as_deref(), refused.same_request), (Some("payment-4711"), Some(true)));
    let first = refused.first_answer().ok_or("no first answer")?;
    assert_eq!(first.counter("bob"), Some(30));

    // All of that by itself.
    let answer = unlucky.transact_once(pay).await?;
    assert!(answer.is_repeated());
    assert_eq!(answer.counter("bob"), Some(30));

    let other = Request::new().idempotency_id("payment-4711").add("bob", 31);
    let refused = refusal(account.transact_once(other).await)?;
    assert_eq!((refused.code, refused.same_request), (Code::DuplicateRequest, Some(false)));
    assert_eq!((account.counter("alice").await?, account.counter("bob").await?), (-30, 30));
    Ok(())
}

pub async fn gives_up(place: &Place) -> Outcome {
    // Nobody listens at this port.
    let client = Client::builder("http://127.0.0.1:1").retry(RetryPolicy::never()).build()?;
    let nowhere = client.account(&place.account)?;
    let error = nowhere.get("k").await.err().ok_or("there is a server")?;
    assert!(matches!(error, Error::Unreachable(_)));
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    Ok(())
}
