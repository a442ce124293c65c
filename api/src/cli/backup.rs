//! `cloud-dragon backup now`, `list`, `verify` and `restore`.

use super::progress::Progress;
use super::site::{self, Site};
use super::{CliError, SiteArguments, account};
use crate::config::{BackupWritingSettings, BucketSettings};
use clap::{Args, Subcommand};
use dragon_backups::{
    BackupError, Bucket, BucketOptions, Identities, Keep, Keeper, Lines, Location, Manifest, Reader, Target,
    last, list, manifests, wanted,
};
use dragon_core::UnixMs;
use dragon_core::cell::Account;
use dragon_transfer::{Imported, Mode};
use futures_util::{StreamExt as _, TryStreamExt as _};
use indicatif::HumanBytes;
use std::path::PathBuf;
use std::pin::pin;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Take a backup
    Now(Box<NowArguments>),
    /// List the backups, the oldest first
    List(PlaceArguments),
    /// Download a backup and check everything in it
    Verify(WhichArguments),
    /// Put a backup's accounts into a store that has none
    Restore(Box<RestoreArguments>),
}

/// Where the backups are.
#[derive(Clone, Debug, Args)]
pub struct PlaceArguments {
    /// Where the backups are, as in s3://BUCKET/PREFIX. Region, credentials and endpoint are what the AWS SDKs take
    #[arg(long, env = "DRAGON_BACKUP_TO", value_name = "PLACE")]
    backup_to: Location,
    /// The bucket.
    #[command(flatten)]
    bucket: BucketSettings,
}

/// What `now` takes.
#[derive(Clone, Debug, Args)]
pub struct NowArguments {
    /// Where to, as in s3://BUCKET/PREFIX; a server (--server) has a place of its own
    #[arg(long, env = "DRAGON_BACKUP_TO", required_unless_present = "server", value_name = "PLACE")]
    backup_to: Option<Location>,
    /// The bucket.
    #[command(flatten)]
    bucket: BucketSettings,
    /// How it is written.
    #[command(flatten)]
    writing: BackupWritingSettings,
    /// Of what.
    #[command(flatten)]
    site: SiteArguments,
}

/// Which backup.
#[derive(Clone, Debug, Args)]
pub struct WhichArguments {
    /// The last backup begun by this time (RFC 3339), as in 2026-11-27T06:00:00Z; without it the last one that has an account
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    at: Option<UnixMs>,
    /// File with the secret keys of age, where accounts are encrypted
    #[arg(long, env = "DRAGON_BACKUP_AGE_IDENTITY", value_name = "FILE")]
    backup_age_identity: Option<PathBuf>,
    /// Where it is.
    #[command(flatten)]
    place: PlaceArguments,
}

/// What `restore` takes.
#[derive(Clone, Debug, Args)]
pub struct RestoreArguments {
    /// Which backup.
    #[command(flatten)]
    which: WhichArguments,
    /// One account only
    #[arg(long, value_name = "NAME", value_parser = account)]
    account: Option<Account>,
    /// Replace what is in the accounts; those that the backup does not have stay. Also to go on with a restore that was interrupted
    #[arg(long)]
    force: bool,
    /// Where to.
    #[command(flatten)]
    site: SiteArguments,
}

/// Milliseconds of a time; of one that is told to the second its end.
fn time_ms(text: &str) -> Result<UnixMs, String> {
    let wrong = |_| "give a time as in 2026-11-27T06:00:00Z".to_owned();
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| wrong(error.to_string()))?;
    let time_ms = u64::try_from(time.unix_timestamp_nanos() / 1_000_000);
    let time_ms = time_ms.map_err(|error| wrong(error.to_string()))?;
    Ok(if text.contains('.') { time_ms } else { time_ms + 999 })
}

/// To the second, which is enough for `--at`.
fn time_text(time_ms: UnixMs) -> String {
    let time = OffsetDateTime::from_unix_timestamp((time_ms / 1_000).cast_signed()).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| time_ms.to_string())
}

fn failed(error: BackupError) -> CliError {
    CliError(error.to_string())
}

/// `cloud-dragon backup`.
///
/// # Errors
/// [`CliError`].
pub fn backup(command: &BackupCommand) -> Result<(), CliError> {
    match command {
        BackupCommand::Now(arguments) => now(arguments),
        BackupCommand::List(place) => site::block_on(async { print_list(&place.open().await).await }),
        BackupCommand::Verify(which) => site::block_on(verify(which)),
        BackupCommand::Restore(arguments) => restore(arguments),
    }
}

impl PlaceArguments {
    async fn open(&self) -> Bucket {
        let path_style = self.bucket.backup_path_style;
        Bucket::open(self.backup_to.clone(), &BucketOptions { path_style, ..BucketOptions::default() }).await
    }
}

fn now(arguments: &NowArguments) -> Result<(), CliError> {
    site::on(&arguments.site, async |site| {
        let taken = match (site, &arguments.backup_to) {
            (Site::Server(server), _) => server.backup().await?,
            (Site::Store(frontend), Some(location)) => {
                let options = arguments.writing.options(&arguments.bucket);
                let keeper = Keeper {
                    frontend,
                    bucket: Bucket::open(location.clone(), &options).await,
                    recipients: arguments.writing.backup_age_recipient.clone(),
                    is_gentle: false,
                    keep: Keep::All,
                    metrics: Default::default(),
                };
                keeper.take_now().await.map_err(failed)?.id
            }
            (Site::Store(_), None) => return Err(CliError::new("--backup-to", "say where to")),
        };
        println!("{taken}");
        Ok(())
    })
}

async fn print_list(bucket: &Bucket) -> Result<(), CliError> {
    let ids = list(bucket).await.map_err(failed)?;
    let mut manifests = pin!(manifests(bucket, ids));
    println!("{:<33} {:<20} {:>9} {:>12} {:>12}  STORE", "ID", "TIME", "ACCOUNTS", "ROWS", "SIZE");
    while let Some((id, manifest)) = manifests.next().await {
        match manifest {
            Ok(manifest) => println!(
                "{id:<33} {:<20} {:>9} {:>12} {:>12}  {}",
                time_text(manifest.time_ms),
                manifest.accounts.len(),
                manifest.rows(),
                HumanBytes(manifest.bytes()).to_string(),
                manifest.store_id,
            ),
            Err(error) => println!("{id:<33} {error}"),
        }
    }
    Ok(())
}

impl WhichArguments {
    async fn find(&self) -> Result<(Reader, Manifest), CliError> {
        let identities = match &self.backup_age_identity {
            Some(file) => Identities::read(file).map_err(|error| CliError::new(file.display(), error))?,
            None => Identities::default(),
        };
        let reader = Reader { bucket: self.place.open().await, identities };
        let manifest = last(&reader.bucket, self.at).await.map_err(failed)?;
        eprintln!("the backup {} of {}", manifest.id, time_text(manifest.time_ms));
        Ok((reader, manifest))
    }
}

async fn verify(which: &WhichArguments) -> Result<(), CliError> {
    let (reader, manifest) = which.find().await?;
    for entry in &manifest.accounts {
        reader.verify(&manifest.id, entry).await.map_err(failed)?;
        println!("{} {}: whole, {} rows", manifest.id, entry.account, entry.rows);
    }
    Ok(())
}

fn restore(arguments: &RestoreArguments) -> Result<(), CliError> {
    let mode = if arguments.force { Mode::Replace } else { Mode::Empty };
    site::on(&arguments.site, async |site| {
        let (reader, manifest) = arguments.which.find().await?;
        let account = arguments.account.as_ref();
        let entries = wanted(&site, &manifest, account, arguments.force).await.map_err(failed)?;
        for entry in entries {
            reader.restore(&site, &manifest.id, entry, mode).await.map_err(failed)?;
        }
        Ok(())
    })
}

impl Target for Site {
    async fn is_empty(&self) -> Result<bool, BackupError> {
        match self {
            Site::Store(frontend) => frontend.is_empty().await,
            Site::Server(server) => {
                let page = server.accounts(None).await;
                let page = page.map_err(|error| BackupError::Target(error.to_string()))?;
                Ok(page.accounts.is_empty())
            }
        }
    }

    async fn import(&self, account: &Account, mode: Mode, lines: Lines) -> Result<Imported, String> {
        let progress = Progress::of(format!("restoring {account}"), None);
        let lines = progress.watch(lines.map_err(CliError).boxed());
        let imported = Site::import(self, account, mode, lines).await.map_err(|error| error.to_string())?;
        progress.done(&format!("restored {account}: {} rows", imported.rows));
        Ok(imported)
    }
}
