//! `cloud-dragon get`, `set`, `delete`, `list`, `watch`, `incr` and `cas`: one account's data, for shells.
//!
//! They end with 0 when it is done, with 1 when the answer is no (no such key, another version, another value), and with 2 in
//! case of trouble, as grep does. What was asked for is on standard output.

use super::account::{ClientArguments, told};
use super::{CliError, say, site};
use clap::{Args, ValueEnum};
use dragon_client::{Account, Code, Count, Error, Handle, Request, Set, ValueState};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::{self, Read as _};
use std::process::ExitCode;
use std::time::Duration;

/// It was done.
const DONE: u8 = 0;
/// The answer is no.
const NO: u8 = 1;
/// It could not be asked, or not be answered.
const TROUBLE: u8 = 2;

/// What is printed of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The value as JSON, byte for byte
    Value,
    /// The text of a string, without quotes and escapes; other values as JSON
    Text,
    /// An object with key, version and value
    Json,
}

/// What `get` takes.
#[derive(Clone, Debug, Args)]
pub struct GetArguments {
    /// The key, or with --counter the counter
    pub key: String,
    /// Read a counter; one that does not exist is 0
    #[arg(long, conflicts_with = "output")]
    pub counter: bool,
    /// What to print
    #[arg(long, short, value_enum, default_value_t = Form::Value)]
    pub output: Form,
    /// Where.
    #[command(flatten)]
    pub client: ClientArguments,
}

/// Under which condition something is written, and how often.
#[derive(Clone, Debug, Args)]
pub struct WriteArguments {
    /// Only if the lock that `cloud-dragon lock` runs this under is still held
    #[arg(long, conflicts_with = "idempotency_id")]
    pub locked: bool,
    /// Do it once, however often it is run with this id within a day: again, it prints what it printed first
    #[arg(long, value_name = "ID")]
    pub idempotency_id: Option<String>,
    /// Where.
    #[command(flatten)]
    pub client: ClientArguments,
}

/// What `set` takes.
#[derive(Clone, Debug, Args)]
pub struct SetArguments {
    /// The key
    pub key: String,
    /// The value, in JSON; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub value: String,
    /// The value is text, not JSON
    #[arg(long)]
    pub text: bool,
    /// How long it stays, as in 90s, 15m or 1d; without it, until it is deleted
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub ttl: Option<Duration>,
    /// Only if the key has this version; 0: only if it does not exist
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArguments,
}

/// What `delete` takes.
#[derive(Clone, Debug, Args)]
pub struct DeleteArguments {
    /// The key, or with --counter the counter
    pub key: String,
    /// Delete a counter
    #[arg(long, conflicts_with = "if_version")]
    pub counter: bool,
    /// Only if the key has this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArguments,
}

/// What `list` takes.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Only what begins so
    #[arg(default_value = "")]
    pub prefix: String,
    /// What to list
    #[arg(long, value_enum, default_value_t = Listed::Values)]
    pub kind: Listed,
    /// Print names only, one a line
    #[arg(long)]
    pub names: bool,
    /// Where.
    #[command(flatten)]
    pub client: ClientArguments,
}

/// A name space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Values
    Values,
    /// Counters
    Counters,
    /// The locks that are held now
    Locks,
}

/// What `watch` takes.
#[derive(Clone, Debug, Args)]
pub struct WatchArguments {
    /// The key
    pub key: String,
    /// The version that is known: only changes from there on; 0, the default, begins with what is there now
    #[arg(long, value_name = "VERSION", default_value_t = 0)]
    pub after: u64,
    /// End after so many changes
    #[arg(long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Where.
    #[command(flatten)]
    pub client: ClientArguments,
}

/// What `incr` takes.
#[derive(Clone, Debug, Args)]
pub struct IncrArguments {
    /// The counter
    pub counter: String,
    /// What to add; below 0 it is taken off
    #[arg(default_value_t = 1, allow_negative_numbers = true)]
    pub by: i64,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArguments,
}

/// What `cas` takes.
#[derive(Clone, Debug, Args)]
pub struct CasArguments {
    /// The counter
    pub counter: String,
    /// What it has to be; one that does not exist is 0
    #[arg(allow_negative_numbers = true)]
    pub expected: i64,
    /// What it becomes
    #[arg(allow_negative_numbers = true)]
    pub new: i64,
    /// How it is written.
    #[command(flatten)]
    pub write: WriteArguments,
}

/// A time of whole seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}; say it as in 90s, 15m or 1h"))?;
    if time.subsec_nanos() == 0 { Ok(time) } else { Err("it must be whole seconds".to_owned()) }
}

/// Does it on a runtime of its own, and tells how it ended.
fn run(work: impl Future<Output = Result<u8, CliError>>) -> ExitCode {
    site::block_on(work).map_or_else(
        |error| {
            say(format_args!("error: {error}"));
            ExitCode::from(TROUBLE)
        },
        ExitCode::from,
    )
}

/// Whether the server has answered with a no, which is told like any error but is none.
fn refused(error: &Error) -> Result<u8, CliError> {
    match error.code() {
        Some(Code::PreconditionFailed | Code::NotLocked | Code::CounterOverflow) => {
            say(format_args!("{}", told(error)));
            Ok(NO)
        }
        _ => Err(told(error)),
    }
}

fn print(line: &str) -> Result<(), CliError> {
    super::print(format!("{line}\n").as_bytes())
}

/// Prints an object in one line. A line break in JSON stands between its parts, since in a string it is escaped.
fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string(value).map_err(|error| CliError::new("the answer", error))?;
    print(&json.replace(['\n', '\r'], " "))
}

/// `cloud-dragon get`.
pub fn get(arguments: &GetArguments) -> ExitCode {
    run(async {
        let account = arguments.client.account()?;
        if arguments.counter {
            let value = account.counter(&*arguments.key).await.map_err(|error| told(&error))?;
            return print(&value.to_string()).map(|()| DONE);
        }
        let state = account.get(&*arguments.key).await.map_err(|error| told(&error))?;
        let Some(value) = state.value.as_ref().filter(|_| state.exists()) else {
            say(format_args!("there is no such key: {}", arguments.key));
            return Ok(NO);
        };
        match arguments.output {
            Form::Json => print_json(&state)?,
            Form::Value => print(value.get())?,
            Form::Text => match serde_json::from_str::<String>(value.get()) {
                Ok(text) => print(&text)?,
                Err(_no_string) => print(value.get())?,
            },
        }
        Ok(DONE)
    })
}

/// `cloud-dragon set`.
pub fn set(arguments: &SetArguments) -> ExitCode {
    run(async {
        let mut value = arguments.value.clone();
        if value == "-" {
            value.clear();
            let read = io::stdin().lock().read_to_string(&mut value);
            read.map_err(|error| CliError::new("standard input", error))?;
        }
        let mut set = if arguments.text {
            Set::json(&*arguments.key, &value).map_err(|error| told(&error))?
        } else {
            let raw = RawValue::from_string(value.trim().to_owned());
            let hint = |error| CliError::new("the value is not JSON, give --text if it is text", error);
            Set::raw(&*arguments.key, raw.map_err(hint)?)
        };
        if let Some(ttl) = arguments.ttl {
            set = set.ttl(ttl);
        }
        if let Some(version) = arguments.if_version {
            set = set.if_version(version);
        }
        write_value(&arguments.write, set).await
    })
}

/// `cloud-dragon delete`.
pub fn delete(arguments: &DeleteArguments) -> ExitCode {
    run(async {
        if arguments.counter {
            return count(&arguments.write, Count::delete(&*arguments.key)).await;
        }
        let mut set = Set::delete(&*arguments.key);
        if let Some(version) = arguments.if_version {
            set = set.if_version(version);
        }
        write_value(&arguments.write, set).await
    })
}

/// `cloud-dragon incr`.
pub fn incr(arguments: &IncrArguments) -> ExitCode {
    run(count(&arguments.write, Count::add(&*arguments.counter, arguments.by)))
}

/// `cloud-dragon cas`.
pub fn cas(arguments: &CasArguments) -> ExitCode {
    let set = Count::set(&*arguments.counter, arguments.new).if_equal(arguments.expected);
    run(count(&arguments.write, set))
}

/// The lock that this runs under, as `cloud-dragon lock` has told.
fn lock_around(client: &ClientArguments) -> Result<(String, Handle), CliError> {
    let told = |name: &str| std::env::var(name).ok().filter(|told| !told.is_empty());
    let handle = told("DRAGON_LOCK_HANDLE").and_then(|handle| handle.parse().ok());
    let (Some(id), Some(handle)) = (told("DRAGON_LOCK_ID"), handle) else {
        return Err(CliError::new("--locked", "this does not run under `cloud-dragon lock`"));
    };
    // Handles are numbers of one account: in another one they would prove something else.
    for (name, here) in [("DRAGON_LOCK_SERVER", &client.server), ("DRAGON_LOCK_ACCOUNT", &client.account)] {
        if let Some(there) = told(name).filter(|there| there != here) {
            return Err(CliError::new("--locked", format!("the lock is at {there}, and not at {here}")));
        }
    }
    Ok((id, Handle(handle)))
}

/// The request as the arguments want it written.
fn request(arguments: &WriteArguments) -> Result<Request, CliError> {
    let mut request = Request::new();
    if let Some(id) = &arguments.idempotency_id {
        request = request.idempotency_id(id);
    }
    if arguments.locked {
        let (id, handle) = lock_around(&arguments.client)?;
        request = request.only_if_locked(id, handle);
    }
    Ok(request)
}

/// Prints what came of a change.
fn print_done(number: &impl ToString) -> Result<u8, CliError> {
    let printed = print(&number.to_string());
    printed.map(|()| DONE).map_err(|error| CliError::new("it was done, but could not be told", error))
}

/// Writes, and prints the new version.
async fn write_value(arguments: &WriteArguments, set: Set) -> Result<u8, CliError> {
    match arguments.client.account()?.transact_once(request(arguments)?.write(set)).await {
        Ok(answer) => print_done(&answer.version.unwrap_or_default()),
        Err(error) => refused(&error),
    }
}

/// Changes a counter, and prints its new value.
async fn count(arguments: &WriteArguments, change: Count) -> Result<u8, CliError> {
    match arguments.client.account()?.transact_once(request(arguments)?.count(change)).await {
        Ok(answer) => print_done(&answer.counters.first().map_or(0, |state| state.value)),
        Err(error) => refused(&error),
    }
}

/// `cloud-dragon list`.
pub fn list(arguments: &ListArguments) -> ExitCode {
    run(async {
        let account = arguments.client.account()?;
        match arguments.kind {
            Listed::Values => {
                entries(arguments, account.values(&*arguments.prefix).stream(), |entry| &entry.key).await
            }
            Listed::Counters => {
                entries(arguments, account.counters(&*arguments.prefix).stream(), |entry| &entry.key).await
            }
            Listed::Locks => {
                entries(arguments, account.locks(&*arguments.prefix).stream(), |entry| &entry.id).await
            }
        }
    })
}

async fn entries<T: Serialize>(
    arguments: &ListArguments,
    mut entries: impl futures_util::Stream<Item = Result<T, Error>> + Unpin,
    name: impl Fn(&T) -> &String,
) -> Result<u8, CliError> {
    while let Some(entry) = entries.next().await {
        let entry = entry.map_err(|error| told(&error))?;
        if arguments.names { print(name(&entry))? } else { print_json(&entry)? }
    }
    Ok(DONE)
}

/// `cloud-dragon watch`.
pub fn watch(arguments: &WatchArguments) -> ExitCode {
    run(async {
        let account: Account = arguments.client.account()?;
        let mut watch = account.watch(&*arguments.key).after(arguments.after);
        let mut left = arguments.count;
        while left != Some(0) {
            let change: ValueState = watch.changed().await.map_err(|error| told(&error))?;
            print_json(&change)?;
            left = left.map(|left| left - 1);
        }
        Ok(DONE)
    })
}
