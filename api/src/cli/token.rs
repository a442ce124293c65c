//! `cloud-dragon token`: making tokens for clients.

use super::CliError;
use crate::access::{AccountPattern, Entry, Right, Token, Tokens};
use clap::{Args, Subcommand};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token: print it, and add what the server needs to know of it to a file
    ///
    /// The token itself is printed once and kept nowhere; the file has its hash. To take a token back, delete its entry.
    New(NewTokenArguments),
}

/// What `token new` takes.
#[derive(Clone, Debug, Args)]
pub struct NewTokenArguments {
    /// What it is called in the server's log
    #[arg(value_parser = name)]
    pub name: String,
    /// The file; it comes into being with its first token
    #[arg(long, env = "DRAGON_TOKENS", value_name = "FILE")]
    pub tokens: PathBuf,
    /// The accounts that it is for: a name, or the beginning of names and an asterisk, as in team-* or *
    #[arg(long = "account", required = true, value_delimiter = ',', value_name = "NAME|PREFIX*")]
    pub accounts: Vec<AccountPattern>,
    /// What it may do with them; each right includes those before it
    #[arg(long = "right", required = true, value_delimiter = ',', value_enum, value_name = "RIGHT")]
    pub rights: Vec<Right>,
    /// For how long it is good, as in 12h or 90d; without it, until its entry is deleted
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub expires_in: Option<Duration>,
    /// Requests a second that each server takes with it, instead of the quotas of its accounts
    #[arg(long, value_name = "COUNT")]
    pub quota_requests: Option<NonZeroU32>,
    /// Requests with it that may wait at a time at each server, instead of the quotas of its accounts
    #[arg(long, value_name = "COUNT")]
    pub quota_waiting: Option<NonZeroU32>,
    /// Bytes that may be stored in each account that it writes to, instead of the accounts' quota
    #[arg(long, value_name = "BYTES")]
    pub quota_bytes: Option<NonZeroU64>,
}

fn name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a name is some text on one line");
    }
    Ok(text.to_owned())
}

/// `cloud-dragon token`.
///
/// # Errors
/// [`CliError`]. There is no new token then.
pub fn token(command: &TokenCommand) -> Result<(), CliError> {
    let TokenCommand::New(arguments) = command;
    // A name that points elsewhere goes on pointing there.
    let file = &fs::canonicalize(&arguments.tokens).unwrap_or_else(|_| arguments.tokens.clone());
    // Two that make tokens at a time would lose one. Freed when it is dropped.
    let _alone = lock_folder(file).map_err(|error| CliError::new(file.display(), error))?;
    let before = read(file)?;
    let known = Tokens::parse(&before).map_err(|error| CliError::new(file.display(), error))?;
    if known.has(&arguments.name) {
        return Err(CliError::new(file.display(), format!("there is a token {:?} already", arguments.name)));
    }
    let no_token = |error: &dyn std::fmt::Display| CliError::new("no token could be made", error);
    let token = Token::random().map_err(|_| no_token(&"the system gives no random bytes"))?;
    let entry = Entry {
        name: arguments.name.as_str().into(),
        sha256: token.hash(),
        accounts: arguments.accounts.clone(),
        rights: arguments.rights.clone(),
        expires: arguments.expires_in.map(end).transpose()?,
        quota_requests: arguments.quota_requests,
        quota_waiting: arguments.quota_waiting,
        quota_bytes: arguments.quota_bytes,
    };
    let entry = entry.to_toml().map_err(|error| no_token(&error))?;
    let after = joined(&before, &entry);
    Tokens::parse(&after)
        .map_err(|error| CliError::new(file.display(), format!("an entry can't follow: {error}")))?;
    replace(file, &after).map_err(|error| CliError::new(file.display(), error))?;
    println!("{}", token.reveal());
    Ok(())
}

/// To the second: nobody wants to read more.
fn end(expires_in: Duration) -> Result<OffsetDateTime, CliError> {
    let end = i64::try_from(expires_in.as_secs()).ok();
    let end = end.and_then(|seconds| OffsetDateTime::now_utc().checked_add(time::Duration::seconds(seconds)));
    let end = end.and_then(|end| end.replace_nanosecond(0).ok());
    end.ok_or_else(|| CliError::new("--expires-in", "that is longer than can be said"))
}

fn read(file: &Path) -> Result<String, CliError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(CliError::new(file.display(), error)),
    }
}

fn joined(before: &str, entry: &str) -> String {
    match before {
        "" => entry.to_owned(),
        _ => format!("{}\n\n{entry}", before.trim_end()),
    }
}

fn lock_folder(file: &Path) -> io::Result<File> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

/// Puts another content into the file's place at once: a server may be reading it.
fn replace(file: &Path, content: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    // Of one that was killed.
    drop(fs::remove_file(&beside));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut new| {
            if let Ok(old) = fs::metadata(file) {
                fchown(&new, Some(old.uid()), Some(old.gid()))?;
                new.set_permissions(old.permissions())?;
            }
            new.write_all(content.as_bytes())?;
            new.sync_all()?;
            fs::rename(&beside, file)
        });
    if written.is_err() {
        drop(fs::remove_file(&beside));
    }
    written
}
