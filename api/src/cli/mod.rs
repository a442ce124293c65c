//! The commands besides serving: `cloud-dragon export`, `import` and `backup`, on a store that nobody serves or on a server,
//! `health` and `token`; and for shells that use a server, `lock`, `get`, `set`, `delete`, `list`, `watch`, `incr`, `cas`.
//! Standard output is for what was asked for, standard error for how it goes.

mod account;
mod backup;
mod data;
mod files;
mod health;
mod lock;
mod progress;
mod remote;
mod site;
mod token;

use crate::config::StoreSettings;
pub use backup::{BackupCommand, backup};
use clap::{ArgGroup, Args};
pub use data::{
    CasArguments, DeleteArguments, GetArguments, IncrArguments, ListArguments, SetArguments, WatchArguments,
    cas, delete, get, incr, list, set, watch,
};
use dragon_core::cell::{Account, InvalidAccount};
use dragon_transfer::Mode;
use files::{Input, Output};
pub use health::{HealthArguments, health};
pub use lock::{LockArguments, SupervisorArguments, lock, supervise};
use progress::Progress;
use site::Site;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
pub use token::{TokenCommand, token};

/// 128 and the number of SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// Why a command failed, in words for whoever gave it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CliError(String);

impl CliError {
    fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

/// Where the accounts are.
#[derive(Clone, Debug, Args)]
pub struct SiteArguments {
    /// A running server, as in http://127.0.0.1:8080; without it the store itself is opened, which nobody may be serving if it is a folder
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The token that the server asks for
    #[arg(long, env = "DRAGON_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The store.
    #[command(flatten)]
    pub store: StoreSettings,
}

/// Which accounts.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["account", "all"]))]
pub struct AccountArguments {
    /// One account
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub account: Option<Account>,
    /// All accounts, each in a file of its own, NAME.ndjson, in a folder
    #[arg(long)]
    pub all: bool,
}

fn account(name: &str) -> Result<Account, InvalidAccount> {
    Account::new(name)
}

/// What `export` takes.
#[derive(Clone, Debug, Args)]
pub struct ExportArguments {
    /// Which accounts.
    #[command(flatten)]
    pub which: AccountArguments,
    /// The file to write, or with --all the folder; - or nothing is standard output
    #[arg(long, short, value_name = "PATH", required_if_eq("all", "true"))]
    pub output: Option<PathBuf>,
    /// Where from.
    #[command(flatten)]
    pub site: SiteArguments,
}

/// What `import` takes.
#[derive(Clone, Debug, Args)]
pub struct ImportArguments {
    /// Which accounts.
    #[command(flatten)]
    pub which: AccountArguments,
    /// The file to read, or with --all the folder; - or nothing is standard input
    #[arg(long, short, value_name = "PATH", required_if_eq("all", "true"))]
    pub input: Option<PathBuf>,
    /// Replace what is in the accounts; without it they must be empty
    #[arg(long)]
    pub replace: bool,
    /// Where to.
    #[command(flatten)]
    pub site: SiteArguments,
}

/// Runs a command and says how it failed.
pub fn run(command: impl FnOnce() -> Result<(), CliError>) -> ExitCode {
    match command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something on standard error, if anybody listens.
fn say(what: fmt::Arguments<'_>) {
    let _unheard = writeln!(io::stderr(), "{what}");
}

/// Writes to standard output.
///
/// # Errors
/// [`CliError`] when it is closed.
pub fn print(bytes: &[u8]) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        // Whoever reads has seen enough: as programs end that are told by the signal.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(BROKEN_PIPE),
        written => written.map_err(|error| CliError::new("standard output", error)),
    }
}

/// `cloud-dragon export`.
///
/// # Errors
/// [`CliError`]. A file that could not be written to its end does not get its name.
pub fn export(arguments: &ExportArguments) -> Result<(), CliError> {
    site::on(&arguments.site, async |site| {
        let accounts = match &arguments.which.account {
            Some(account) => vec![account.clone()],
            None => all_accounts(&site).await?,
        };
        refuse_alike(&accounts)?;
        for account in accounts {
            let output = Output::new(arguments.output.as_deref(), arguments.which.all, &account)?;
            let progress = Progress::of(format!("exporting {account}"), None);
            let pieces = progress.watch(site.export(&account).await?);
            let (rows, bytes) = output.write(&account, pieces).await?;
            progress.done(&format!("exported {account}: {rows} rows, {bytes} bytes"));
        }
        Ok(())
    })
}

/// Where a file system ignores case, the file of one account would be that of another.
fn refuse_alike(accounts: &[Account]) -> Result<(), CliError> {
    let mut names = HashMap::new();
    for account in accounts {
        if let Some(other) = names.insert(account.as_str().to_ascii_lowercase(), account) {
            let why = format!("{other} and {account} differ in case only: export them one by one");
            return Err(CliError::new("--all", why));
        }
    }
    Ok(())
}

async fn all_accounts(site: &Site) -> Result<Vec<Account>, CliError> {
    let mut accounts: Vec<Account> = Vec::new();
    loop {
        let page = site.accounts(accounts.last()).await?;
        accounts.extend(page.accounts);
        if !page.more {
            return Ok(accounts);
        }
    }
}

/// `cloud-dragon import`.
///
/// # Errors
/// [`CliError`]. The account whose import failed is as it was; those before it were imported.
pub fn import(arguments: &ImportArguments) -> Result<(), CliError> {
    let mode = if arguments.replace { Mode::Replace } else { Mode::Empty };
    site::on(&arguments.site, async |site| {
        for input in Input::all(arguments.input.as_deref(), arguments.which.account.as_ref())? {
            let account = &input.account;
            let (pieces, bytes) = input.open().await?;
            let progress = Progress::of(format!("importing {account}"), bytes);
            let imported = site.import(account, mode, progress.watch(pieces)).await?;
            progress.done(&format!("imported {account}: {} rows", imported.rows));
        }
        Ok(())
    })
}
