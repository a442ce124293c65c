//! Requests: once, whatever happens to the answer; and what is refused.

use crate::place::{ACCOUNT, Place, account_at, seconds};
use crate::support::Frontend;
use dragon_client::{Client, Code, Count, Error, Handle, Request, Set};
use serde_json::value::RawValue;
use std::net::SocketAddr;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

#[tokio::test]
async fn a_request_whose_answers_are_lost_happens_once() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    proxy.lose_answers(3);
    let answer = account.transact_once(Request::new().add("n", 1)).await.unwrap();
    assert!(answer.is_repeated());
    assert_eq!((answer.counter("n"), answer.version), (Some(1), Some(1)));
    assert_eq!(proxy.answers_to_lose(), 0);
    proxy.lose_answers(1);
    assert_eq!(account.add("n", 1).await.unwrap(), 2);
    let answer = account.transact_once(Request::new().add("n", 1)).await.unwrap();
    assert!(!answer.is_repeated());
    assert_eq!(place.account().counter("n").await.unwrap(), 3);
}

#[tokio::test]
async fn a_write_without_an_id_is_sent_once_and_its_fate_is_unknown() {
    let place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    proxy.lose_answers(1);
    let error = account.transact(Request::new().add("n", 1)).await.unwrap_err();
    assert!(
        matches!(error, Error::Interrupted(_)) && error.is_outcome_unknown() && !error.is_retryable(),
        "{error:?}"
    );
    proxy.lose_answers(2);
    let answer = account.transact(Request::new().read_counter("n")).await.unwrap();
    assert_eq!(answer.counter("n"), Some(1), "a read is sent again");
}

#[tokio::test]
async fn ids_of_ones_own_tell_the_same_request_from_another() {
    let account = Place::start();
    let (place, account) = (&account, account.account());
    let request = || Request::new().idempotency_id("payment").add("n", 1);
    account.transact_once(request()).await.unwrap();
    let again = account.transact_once(request()).await.unwrap();
    assert!(again.is_repeated());
    assert_eq!(again.counter("n"), Some(1));
    let error = account.transact(request()).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().same_request, Some(true), "asked once, it is told as it is");
    let error = account.transact_once(request().add("n", 1)).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::DuplicateRequest));
    let refusal = error.refusal().unwrap();
    assert_eq!((refusal.id.as_deref(), refusal.same_request), (Some("payment"), Some(false)));
    assert_eq!(place.account().counter("n").await.unwrap(), 1);
}

#[tokio::test]
async fn an_answer_that_was_too_large_to_keep_is_told() {
    let place = Place::start();
    let account = place.account();
    account.set("large", &"x".repeat(100_000)).await.unwrap();
    let request = || Request::new().idempotency_id("i").get("large").add("n", 1);
    account.transact_once(request()).await.unwrap();
    let error = account.transact_once(request()).await.unwrap_err();
    assert!(matches!(&error, Error::AnswerNotKept { id } if id == "i"), "{error:?}");
}

#[tokio::test]
async fn bytes_and_extremes_survive() {
    let place = Place::start();
    let account = place.account();
    let value = r#"{"b":1.00, "a":123456789012345678901234567890,"a":"\u00e9\ud83d"}"#;
    let request = Request::new()
        .set_raw("k/ä", raw(value))
        .set_raw("null", raw("null"))
        .count(Count::set("min", i64::MIN))
        .add("max", i64::MAX);
    let answer = account.transact(request).await.unwrap();
    assert_eq!((answer.counter("min"), answer.counter("max")), (Some(i64::MIN), Some(i64::MAX)));
    let read = account.get("k/ä").await.unwrap();
    assert_eq!(read.value.unwrap().get(), value);
    let null = account.get("null").await.unwrap();
    assert!(null.exists());
    assert_eq!(null.value.unwrap().get(), "null");
    let absent = account.get("absent").await.unwrap();
    assert!(!absent.exists() && absent.json::<u8>().unwrap().is_none());
    assert_eq!(account.counter("min").await.unwrap(), i64::MIN);
    assert_eq!(account.counter("max").await.unwrap(), i64::MAX);
}

#[tokio::test]
async fn refusals_have_their_code_and_fields() {
    let place = Place::start();
    let account = place.account();
    let version = account.set("k", &1).await.unwrap();
    let error = account.set_if_version("k", &2, version + 1).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!((&refusal.code, refusal.status), (&Code::PreconditionFailed, 409));
    assert_eq!((refusal.key.as_deref(), refusal.version), (Some("k"), Some(version)));
    account.add("n", 5).await.unwrap();
    let error = account.compare_and_swap("n", 4, 9).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().value, Some(5));
    let error = account.add("n", i64::MAX).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::CounterOverflow));
    let error = account.transact(Request::new().unlock("l", Handle(7))).await.unwrap_err();
    assert_eq!((error.code(), error.refusal().unwrap().id.as_deref()), (Some(&Code::NotLocked), Some("l")));
    let held = Request::new().lock("l", seconds(60)).lock_owner("me");
    let till = account.transact(held).await.unwrap().till;
    let error = account.transact(Request::new().lock("l", seconds(60))).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(
        (&refusal.code, refusal.owner.as_deref(), refusal.till),
        (&Code::LockTimeout, Some("me"), till)
    );
    let error = account.transact(Request::new()).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::InvalidRequest));
    let error = account.set("k", &"x".repeat(2 << 20)).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::PayloadTooLarge));
    let error = account.write(Set::json("k", &1).unwrap().ttl(seconds(1) / 2)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn nobody_there_is_told_and_safe_to_try_again() {
    // Bound and not listening: nothing else can take the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let policy = dragon_client::RetryPolicy::lasting(std::time::Duration::from_millis(300));
    let client = Client::builder(&url).retry(policy).build().unwrap();
    let error = client.account(ACCOUNT).unwrap().add("n", 1).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn tokens_are_sent_and_their_rights_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let path = file.to_str().unwrap();
    let made = Frontend::run_to_end(&[
        "token",
        "new",
        "--tokens",
        path,
        "reader",
        "--account",
        ACCOUNT,
        "--right",
        "read",
    ]);
    assert_eq!(made.code, Some(0), "{}", made.log);
    let place = Place::start_with(&[("DRAGON_TOKENS", path)]);
    let url = format!("http://{}", place.server.address());
    let code = async |token: Option<&str>, request: Request| {
        let builder = Client::builder(&url);
        let client = token.map_or(builder.clone(), |token| builder.token(token)).build().unwrap();
        let outcome = client.account(ACCOUNT).unwrap().transact(request).await;
        outcome.err().map(|error| (error.refusal().unwrap().status, error.code().unwrap().clone()))
    };
    let reader = Some(made.output.trim_end());
    assert_eq!(code(reader, Request::new().get("k")).await, None);
    assert_eq!(code(reader, Request::new().add("n", 1)).await, Some((403, Code::Forbidden)));
    assert_eq!(code(Some("dragon_wrong"), Request::new().get("k")).await, Some((401, Code::Unauthorized)));
    assert_eq!(code(None, Request::new().get("k")).await, Some((401, Code::Unauthorized)));
}

#[tokio::test]
async fn a_request_waits_for_a_server_that_comes_back() {
    let mut place = Place::start();
    let (proxy, account) = place.by_proxy().await;
    account.add("n", 1).await.unwrap();
    place.server.kill();
    let adding = tokio::spawn(async move { account.add("n", 1).await });
    place.server.start_again();
    let address: SocketAddr = place.server.address();
    proxy.lead_to(address);
    assert_eq!(adding.await.unwrap().unwrap(), 2);
    assert_eq!(account_at(address).counter("n").await.unwrap(), 2);
}
