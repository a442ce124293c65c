//! What the guide tells, tried with the generated client on a running server. `scenario.sh` runs it.

use std::collections::HashMap;
use std::env;
use std::fmt::Debug;
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dragon_progenitor::{Client, Error, Json, ResponseValue, connect, types};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use types::{
    AtomicOperation, ErrorAnswer, ErrorCode, GetOperation, ListRequest, ListRequestKind, SetOperation,
};
use types::{TransactAnswer, TransactRequest, ValueState, WatchRequest};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T = ()> = Result<T, Failure>;
/// What a method of the generated client gives.
type Answer<T> = Result<ResponseValue<T>, Error<ErrorAnswer>>;

/// What the environment names.
struct Place {
    server: String,
    breaking: String,
    token: String,
    read_token: String,
    account: String,
}

impl Place {
    fn from_environment() -> Result<Self, env::VarError> {
        Ok(Self {
            server: env::var("DRAGON_SERVER")?,
            breaking: env::var("DRAGON_BREAKING_SERVER")?,
            token: env::var("DRAGON_TOKEN")?,
            read_token: env::var("DRAGON_READ_TOKEN")?,
            account: env::var("DRAGON_ACCOUNT")?,
        })
    }

    fn user(&self) -> Outcome<User> {
        Ok(User { client: connect(&self.server, &self.token)?, account: self.account.clone() })
    }
}

/// A client, and the account it works in.
#[derive(Clone)]
struct User {
    client: Client,
    account: String,
}

impl User {
    async fn transact(&self, request: &TransactRequest) -> Answer<TransactAnswer> {
        self.client.transact(&self.account, request).await
    }

    /// Changes one counter, and answers what it is then.
    async fn count(&self, operation: AtomicOperation) -> Outcome<i64> {
        let request = TransactRequest { atomic: Some(vec![operation]), ..Default::default() };
        let answer = self.transact(&request).await?;
        Ok(answer.atomic.first().ok_or("no counter in the answer")?.value)
    }

    async fn set(&self, operation: SetOperation) -> Answer<TransactAnswer> {
        self.transact(&TransactRequest { kv_set: Some(vec![operation]), ..Default::default() }).await
    }

    async fn write(&self, key: &str, value: &impl Serialize) -> Outcome {
        self.set(SetOperation { key: key.into(), value: Some(to_raw_value(value)?), ..Default::default() })
            .await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Outcome<ValueState> {
        let request =
            TransactRequest { kv_get: Some(vec![GetOperation { key: key.into() }]), ..Default::default() };
        let answer = self.transact(&request).await?.into_inner();
        Ok(answer.kv.into_iter().next().ok_or("no value in the answer")?)
    }

    /// Waits until the key has another version than this one; `None` when it has not, `wait` seconds long.
    async fn watch(&self, key: &str, version: i64, wait: i32) -> Outcome<Option<ValueState>> {
        let request = WatchRequest { id: key.into(), version: Some(version), wait: Some(wait) };
        Ok(self.client.watch(&self.account, &request).await?.into_inner())
    }
}

/// The server's refusal. An answer is a failure of the step, and so is an error of another sort.
fn refused<T: Debug>(result: Answer<T>) -> Outcome<ResponseValue<ErrorAnswer>> {
    match result {
        Err(Error::ErrorResponse(refusal)) => Ok(refusal),
        Err(other) => Err(other.into()),
        Ok(answer) => Err(format!("not refused: {answer:?}").into()),
    }
}

/// The value, as a type of the program's own.
fn parse<'a, T: Deserialize<'a>>(state: &'a ValueState) -> Outcome<T> {
    Ok(serde_json::from_str(state.value.as_ref().ok_or("no value")?.get())?)
}

async fn join<T: 'static>(mut tasks: JoinSet<Outcome<T>>) -> Outcome<Vec<T>> {
    let mut all = Vec::new();
    while let Some(task) = tasks.join_next().await {
        all.push(task??);
    }
    Ok(all)
}

async fn asks_for_tokens(place: &Place) -> Outcome {
    let write = TransactRequest {
        atomic: Some(vec![AtomicOperation { key: "auth".into(), add: Some(1), ..Default::default() }]),
        ..Default::default()
    };
    let nobody = Client::new(&place.server);
    let refusal = refused(nobody.transact(&place.account, &write).await)?;
    assert_eq!((refusal.status().as_u16(), refusal.code), (401, ErrorCode::Unauthorized));

    let reader = connect(&place.server, &place.read_token)?;
    let refusal = refused(reader.transact(&place.account, &write).await)?;
    assert_eq!((refusal.status().as_u16(), refusal.code), (403, ErrorCode::Forbidden));

    assert!(reader.list(&place.account, &ListRequest::default()).await?.kv.is_empty());
    let reader = User { client: reader, account: place.account.clone() };
    assert_eq!(reader.read("auth").await?.version, 0);
    Ok(())
}

/// Ends with the lock in the second client's hands, whose handle it answers.
async fn waits_for_a_lock(first: &User, second: &User) -> Outcome<i64> {
    let take = TransactRequest {
        lock_id: Some("nightly".into()),
        lock_dur: Some(30),
        lock_owner: Some("first".into()),
        ..Default::default()
    };
    let handle = first.transact(&take).await?.lock.ok_or("no handle")?;

    let take = TransactRequest { lock_owner: Some("second".into()), ..take };
    let refusal = refused(second.transact(&take).await)?;
    assert_eq!((refusal.status().as_u16(), refusal.code), (409, ErrorCode::LockTimeout));
    assert_eq!(refusal.owner.as_deref(), Some("first"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    assert!(refusal.till > Some(now.try_into()?));

    let take = TransactRequest { lock_wait: Some(30), ..take };
    let waiting = {
        let second = second.clone();
        tokio::spawn(async move { second.transact(&take).await })
    };
    until_one_waits(first).await?;
    let give_back =
        TransactRequest { unlock_id: Some("nightly".into()), unlock: Some(handle), ..Default::default() };
    first.transact(&give_back).await?;
    let next = waiting.await??.lock.ok_or("no handle")?;
    assert!(next > handle);
    Ok(next)
}

async fn until_one_waits(user: &User) -> Outcome {
    let request = ListRequest { kind: Some(ListRequestKind::Locks), ..Default::default() };
    let seen = async {
        loop {
            let page = user.client.list(&user.account, &request).await?;
            if page.locks.iter().any(|lock| lock.id == "nightly" && lock.waiting == 1) {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), seen).await?
}

async fn guards_a_write(user: &User, handle: i64) -> Outcome {
    let guarded = |value: &str| -> Outcome<TransactRequest> {
        Ok(TransactRequest {
            lock_id: Some("nightly".into()),
            unlock_id: Some("nightly".into()),
            unlock: Some(handle),
            // The lease stays as it is; the write happens only while the lock is held.
            lock_dur: Some(0),
            kv_set: Some(vec![SetOperation {
                key: "report".into(),
                value: Some(to_raw_value(value)?),
                ..Default::default()
            }]),
            ..Default::default()
        })
    };
    assert_eq!(user.transact(&guarded("done")?).await?.lock, Some(handle));
    let give_back =
        TransactRequest { unlock_id: Some("nightly".into()), unlock: Some(handle), ..Default::default() };
    user.transact(&give_back).await?;

    let refusal = refused(user.transact(&guarded("too late")?).await)?;
    assert_eq!((refusal.status().as_u16(), refusal.code), (409, ErrorCode::NotLocked));
    assert_eq!(refusal.id.as_deref(), Some("nightly"));
    assert_eq!(parse::<&str>(&user.read("report").await?)?, "done");
    Ok(())
}

/// How long a lock stays taken when its holder dies. It is short here so that the scenario is; 30 seconds are usual.
const LEASE: Duration = Duration::from_secs(LEASE_SECONDS as u64);
const LEASE_SECONDS: i32 = 2;

/// A lock that was taken.
struct Lock {
    id: String,
    handle: i64,
    /// The moment before the last request that has begun the lease was sent, by this process's own clock.
    asked: Instant,
}

/// Takes a lock. By the idempotency id a second try is told the handle when the first answer was lost.
async fn take(user: &User, id: &str, wait_seconds: i32) -> Outcome<Lock> {
    let request = TransactRequest {
        idempotency_i_ds: Some(vec![Uuid::new_v4().to_string()]),
        lock_id: Some(id.into()),
        lock_dur: Some(LEASE_SECONDS),
        lock_wait: Some(wait_seconds),
        ..Default::default()
    };
    let handle = transact_once(user, &request).await?.lock.ok_or("no handle")?;
    // The lease began at some time while this was waited for, or when another try was granted: it is begun anew.
    let asked = extend(user, id, handle).await?;
    Ok(Lock { id: id.into(), handle, asked })
}

/// Has the lease begin anew, and gives the moment before that.
async fn extend(user: &User, id: &str, handle: i64) -> Result<Instant, Error<ErrorAnswer>> {
    let request = TransactRequest {
        lock_id: Some(id.into()),
        unlock_id: Some(id.into()),
        unlock: Some(handle),
        lock_dur: Some(LEASE_SECONDS),
        ..Default::default()
    };
    let asked = Instant::now();
    user.transact(&request).await?;
    Ok(asked)
}

/// Does the work, and stops it where it waits when the lock is lost.
async fn while_held<T>(user: &User, lock: &Lock, work: impl Future<Output = T>) -> Outcome<T> {
    tokio::select! {
        done = work => Ok(done),
        why = keep(user, lock) => Err(why),
    }
}

/// Extends the lease at each third of it, until the lock is lost or may be; tells why.
async fn keep(user: &User, lock: &Lock) -> Failure {
    let mut asked = lock.asked;
    let mut next = asked + LEASE / 3;
    loop {
        // A tenth is taken off: the clocks' rates differ, and stopping takes time.
        let end = asked + LEASE - LEASE / 10;
        sleep_until(next.min(end)).await;
        if Instant::now() >= end {
            return "the lease could not be extended in time".into();
        }
        // One that gets no answer leaves time for another.
        let limit = end.min(Instant::now() + LEASE / 3);
        match timeout_at(limit, extend(user, &lock.id, lock.handle)).await {
            Ok(Ok(moment)) => {
                asked = moment;
                next = asked + LEASE / 3;
            }
            Ok(Err(Error::ErrorResponse(refusal))) if refusal.code == ErrorCode::NotLocked => {
                return refusal.into_inner().message.into();
            }
            _ => next = Instant::now() + LEASE / 20,
        }
    }
}

async fn give_back(user: &User, lock: &Lock) -> Outcome {
    let request =
        TransactRequest { unlock_id: Some(lock.id.clone()), unlock: Some(lock.handle), ..Default::default() };
    user.transact(&request).await?;
    Ok(())
}

async fn holds_for_longer_than_a_lease(user: &User, other: &User) -> Outcome {
    let lock = take(user, "long", 10).await?;
    while_held(user, &lock, sleep(LEASE * 3 / 2)).await?;
    let take = TransactRequest { lock_id: Some("long".into()), lock_dur: Some(1), ..Default::default() };
    assert_eq!(refused(other.transact(&take).await)?.code, ErrorCode::LockTimeout);
    give_back(user, &lock).await
}

async fn stops_when_the_lock_is_lost(user: &User, other: &User) -> Outcome {
    let lock = take(user, "taken away", 10).await?;
    // Whoever has the handle can give the lock back: an operator, say.
    give_back(other, &lock).await?;
    assert!(while_held(user, &lock, pending::<()>()).await.is_err());
    assert!(lock.asked.elapsed() < LEASE);
    Ok(())
}

async fn stops_when_the_lock_may_be_lost(user: &User) -> Outcome {
    let lock = take(user, "cut off", 10).await?;
    // Nobody listens at this port.
    let cut_off = User { client: Client::new("http://127.0.0.1:1"), account: user.account.clone() };
    assert!(while_held(&cut_off, &lock, pending::<()>()).await.is_err());
    assert!(lock.asked.elapsed() < LEASE);
    give_back(user, &lock).await
}

async fn holds_locks(first: &User, second: &User) -> Outcome {
    tokio::try_join!(
        holds_for_longer_than_a_lease(first, second),
        stops_when_the_lock_is_lost(first, second),
        stops_when_the_lock_may_be_lost(first),
    )?;
    Ok(())
}

async fn counts(place: &Place) -> Outcome {
    let add = |count| AtomicOperation { key: "orders".into(), add: Some(count), ..Default::default() };
    let users = [place.user()?, place.user()?, place.user()?];
    let mut tasks = JoinSet::new();
    for turn in 0..10 {
        let user = users[turn % users.len()].clone();
        tasks.spawn(async move { user.count(add(1)).await });
    }
    let mut numbers = join(tasks).await?;
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=10));

    let last = users[0].count(add(100)).await?;
    assert!((last - 99..=last).eq(11..=110));
    Ok(())
}

async fn handles_a_conflict(first: &User, second: &User) -> Outcome {
    first.write("limits", &[0]).await?;
    let known = first.read("limits").await?.version;
    second.write("limits", &[1]).await?;

    let stale = SetOperation {
        key: "limits".into(),
        value: Some(to_raw_value(&[2])?),
        if_version: Some(known),
        ..Default::default()
    };
    let refusal = refused(first.set(stale).await)?;
    assert_eq!((refusal.status().as_u16(), refusal.code), (409, ErrorCode::PreconditionFailed));
    assert_eq!(refusal.key.as_deref(), Some("limits"));
    assert_eq!(refusal.version, Some(second.read("limits").await?.version));

    append(first, "limits", 2).await?;
    assert_eq!(parse::<Vec<u32>>(&first.read("limits").await?)?, [1, 2]);
    Ok(())
}

/// Appends to the list that this value is; begins again when another has written in between.
async fn append(user: &User, key: &str, entry: u32) -> Outcome {
    loop {
        let state = user.read(key).await?;
        let mut list: Vec<u32> = if state.version == 0 { Vec::new() } else { parse(&state)? };
        list.push(entry);
        let set = SetOperation {
            key: key.into(),
            value: Some(to_raw_value(&list)?),
            if_version: Some(state.version),
            ..Default::default()
        };
        match user.set(set).await {
            Ok(_) => return Ok(()),
            Err(Error::ErrorResponse(refusal)) if refusal.code == ErrorCode::PreconditionFailed => {}
            Err(other) => return Err(other.into()),
        }
    }
}

async fn loses_no_append(place: &Place) -> Outcome {
    let mut tasks = JoinSet::new();
    for entry in 0..8 {
        let user = place.user()?;
        tasks.spawn(async move { append(&user, "entries", entry).await });
    }
    join(tasks).await?;
    let mut list: Vec<u32> = parse(&place.user()?.read("entries").await?)?;
    list.sort_unstable();
    assert!(list.into_iter().eq(0..8));
    Ok(())
}

async fn retries_once_applied(place: &Place, user: &User) -> Outcome {
    let unlucky = User { client: connect(&place.breaking, &place.token)?, account: place.account.clone() };
    let pay = TransactRequest {
        idempotency_i_ds: Some(vec!["payment-4711".into()]),
        atomic: Some(vec![AtomicOperation { key: "bob".into(), add: Some(30), ..Default::default() }]),
        ..Default::default()
    };
    let broken = unlucky.transact(&pay).await;
    assert!(matches!(broken, Err(Error::CommunicationError(_))), "{broken:?}");

    let refusal = refused(unlucky.transact(&pay).await)?;
    assert_eq!((refusal.code, refusal.same_request), (ErrorCode::DuplicateRequest, Some(true)));
    assert_eq!(refusal.id.as_deref(), Some("payment-4711"));
    let first: TransactAnswer = serde_json::from_str(refusal.response.as_ref().ok_or("no Response")?.get())?;
    assert_eq!(first.atomic[0].value, 30);
    assert_eq!(transact_once(&unlucky, &pay).await?.atomic[0].value, 30);

    let read = AtomicOperation { key: "bob".into(), ..Default::default() };
    assert_eq!(user.count(read).await?, 30);
    Ok(())
}

/// For how long a request is sent again after its first failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an answer may take, beyond the time that the request itself waits for a lock.
const ANSWER: Duration = Duration::from_secs(15);

/// Sends a request that has an idempotency id until it is answered, and answers what it did, whichever try that was.
async fn transact_once(user: &User, request: &TransactRequest) -> Outcome<TransactAnswer> {
    let limit = ANSWER + Duration::from_secs(request.lock_wait.unwrap_or(0).try_into()?);
    let (mut pause, mut first_failure) = (Duration::from_millis(100), None);
    loop {
        let (error, at_least): (Failure, _) = match timeout(limit, user.transact(request)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(Error::ErrorResponse(refusal))) if refusal.code == ErrorCode::DuplicateRequest => {
                return first_answer(refusal.into_inner());
            }
            Ok(Err(error)) if may_pass(&error) => {
                let seconds = retry_after(&error);
                (error.into(), seconds)
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(elapsed) => (elapsed.into(), None),
        };
        let next = pause.max(at_least.unwrap_or_default());
        if first_failure.get_or_insert_with(Instant::now).elapsed() + next > PATIENCE {
            return Err(error);
        }
        sleep(next).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// What the request was answered when it was applied, by the refusal of the same one.
fn first_answer(refusal: ErrorAnswer) -> Outcome<TransactAnswer> {
    if refusal.same_request != Some(true) {
        return Err(refusal.message.into());
    }
    let answer = refusal.response.ok_or("applied before; the answer was too long to keep")?;
    Ok(serde_json::from_str(answer.get())?)
}

/// Whether the same request may be answered a little later.
fn may_pass(error: &Error<ErrorAnswer>) -> bool {
    match error {
        // The connection broke within an answer.
        Error::ResponseBodyError(_) => true,
        // A gateway's answer.
        Error::UnexpectedResponse(answer) => matches!(answer.status().as_u16(), 500 | 502..=504),
        // The same, by a status that Cloud Dragon has too: 503, say. What has a code is Cloud Dragon's.
        Error::InvalidResponsePayload(body, _) => serde_json::from_slice::<HashMap<String, Json>>(body)
            .map_or(true, |body| !body.contains_key("Code")),
        // 429 and 503, or a connection that broke before.
        other => other.is_retryable(),
    }
}

/// How long the server asks to wait.
fn retry_after(error: &Error<ErrorAnswer>) -> Option<Duration> {
    let headers = match error {
        Error::ErrorResponse(refusal) => refusal.headers(),
        Error::UnexpectedResponse(answer) => answer.headers(),
        _ => return None,
    };
    let seconds = headers.get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

const LAST: u32 = 50;

async fn watches(watcher: &User, writer: &User) -> Outcome {
    let writing = {
        let writer = writer.clone();
        tokio::spawn(async move {
            for number in 1..=LAST {
                writer.write("watched", &number).await?;
            }
            Outcome::Ok(())
        })
    };
    let mut versions = Vec::new();
    let mut version = 0;
    loop {
        // None: nothing has changed for a minute.
        let Some(state) = watcher.watch("watched", version, 60).await? else { continue };
        version = state.version;
        // Here is what the change is good for.
        versions.push(version);
        // Version 0: deleted.
        if version > 0 && parse::<u32>(&state)? == LAST {
            break;
        }
    }
    writing.await??;
    assert!(versions.is_sorted_by(|earlier, later| earlier < later));
    assert_eq!(watcher.read("watched").await?.version, version);

    assert!(watcher.watch("watched", version, 1).await?.is_none());

    writer.set(SetOperation { key: "watched".into(), delete: Some(true), ..Default::default() }).await?;
    let gone = watcher.watch("watched", version, 60).await?.ok_or("the deletion was not seen")?;
    assert_eq!(gone.version, 0);
    assert!(gone.value.is_none());
    Ok(())
}

async fn lists_by_pages(user: &User) -> Outcome {
    let keys: Vec<_> = (1..=25).map(|number| format!("page/{number:02}")).collect();
    let set = keys.iter().map(|key| {
        Ok(SetOperation { key: key.clone(), value: Some(to_raw_value(key)?), ..Default::default() })
    });
    let set = set.collect::<Outcome<Vec<_>>>()?;
    user.transact(&TransactRequest { kv_set: Some(set), ..Default::default() }).await?;

    let (listed, pages) = list_all(user, "page/").await?;
    assert!(listed.iter().map(|state| &state.key).eq(&keys));
    assert_eq!(pages, 3);

    let request = ListRequest {
        kind: Some(ListRequestKind::Counters),
        prefix: Some("orders".into()),
        ..Default::default()
    };
    let page = user.client.list(&user.account, &request).await?;
    let counters: Vec<_> =
        page.counters.iter().map(|counter| (counter.key.as_str(), counter.value)).collect();
    assert_eq!(counters, [("orders", 110)]);

    let take = TransactRequest { lock_id: Some("listed".into()), lock_dur: Some(30), ..Default::default() };
    let handle = user.transact(&take).await?.lock;
    let request = ListRequest { kind: Some(ListRequestKind::Locks), ..Default::default() };
    let page = user.client.list(&user.account, &request).await?;
    let locks: Vec<_> = page.locks.iter().map(|lock| (lock.id.as_str(), Some(lock.lock))).collect();
    assert_eq!(locks, [("listed", handle)]);
    let give_back =
        TransactRequest { unlock_id: Some("listed".into()), unlock: handle, ..Default::default() };
    user.transact(&give_back).await?;
    Ok(())
}

/// All values whose keys begin with this, and in how many pages they came.
async fn list_all(user: &User, prefix: &str) -> Outcome<(Vec<ValueState>, u32)> {
    let mut request = ListRequest { prefix: Some(prefix.into()), limit: Some(10), ..Default::default() };
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let page = user.client.list(&user.account, &request).await?.into_inner();
        pages += 1;
        all.extend(page.kv);
        if page.more != Some(true) {
            return Ok((all, pages));
        }
        request.after = all.last().map(|state| state.key.clone());
    }
}

async fn keeps_numbers(user: &User) -> Outcome {
    for number in [9_007_199_254_740_993, i64::MAX, i64::MIN] {
        let set = AtomicOperation { key: "exact".into(), set: Some(number), ..Default::default() };
        assert_eq!(user.count(set).await?, number);
        let read = AtomicOperation { key: "exact".into(), ..Default::default() };
        assert_eq!(user.count(read).await?, number);
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Account {
        id: u64,
        balance: i64,
    }
    let account = Account { id: u64::MAX, balance: i64::MIN };
    user.write("account", &account).await?;
    assert_eq!(parse::<Account>(&user.read("account").await?)?, account);
    Ok(())
}

async fn keeps_bytes(user: &User) -> Outcome {
    let text = r#"{"b":1,"a":9007199254740993,"big":123456789012345678901234567890,"d":1.10,"e":"\u00e9"}"#;
    let value: Json = RawValue::from_string(text.to_owned())?;
    user.set(SetOperation { key: "raw".into(), value: Some(value), ..Default::default() }).await?;
    assert_eq!(user.read("raw").await?.value.ok_or("no value")?.get(), text);

    // A JSON null is a value, and reads as none: its version tells it from a key that does not exist.
    user.write("null", &()).await?;
    let null = user.read("null").await?;
    assert!(null.version > 0 && null.value.is_none());
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let place = Place::from_environment()?;
    let (first, second) = (place.user()?, place.user()?);

    asks_for_tokens(&place).await?;
    println!("ok: auth");
    let handle = waits_for_a_lock(&first, &second).await?;
    println!("ok: lock with a wait");
    guards_a_write(&second, handle).await?;
    println!("ok: guarded write");
    holds_locks(&first, &second).await?;
    println!("ok: extended and lost locks");
    counts(&place).await?;
    println!("ok: counter");
    handles_a_conflict(&first, &second).await?;
    loses_no_append(&place).await?;
    println!("ok: compare-and-swap");
    retries_once_applied(&place, &first).await?;
    println!("ok: idempotent retry");
    watches(&first, &second).await?;
    println!("ok: watch loop");
    lists_by_pages(&first).await?;
    println!("ok: list pages");
    keeps_numbers(&first).await?;
    keeps_bytes(&first).await?;
    println!("ok: exact numbers and values");
    Ok(())
}
