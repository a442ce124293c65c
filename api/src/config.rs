//! Settings: by flag and by environment under the same name, all checked before anything opens.

use crate::access::AccessSettings;
use crate::cli::{
    BackupCommand, CasArguments, DeleteArguments, ExportArguments, GetArguments, HealthArguments,
    ImportArguments, IncrArguments, ListArguments, LockArguments, SetArguments, SupervisorArguments,
    TokenCommand, WatchArguments,
};
use crate::quotas::QuotaSettings;
use crate::serve::ServeError;
use crate::tls::TlsSettings;
use crate::traces::TraceSettings;
use clap::builder::RangedU64ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dragon_backups::{BackupMetrics, Bucket, BucketOptions, Encryption, Keep, Keeper, Location, Recipient};
use dragon_core::limits::{
    ANSWER_BYTES_MAX, IDEMPOTENCY_IDS_MAX, KEY_BYTES_MAX, Limits, OPERATIONS_MAX, REQUEST_BYTES_MAX,
    VALUE_BYTES_MAX, VALUE_DEPTH_MAX,
};
use dragon_embedded::LogBounds;
use dragon_postgres::{Address, StoreOptions};
use dragon_waiters::Frontend;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// More than one machine usually can serve: a bound against what goes wrong, not a share.
const CONNECTIONS_MAX_DEFAULT: NonZeroU32 = NonZeroU32::new(100_000).unwrap();
/// The shortest time between backups.
const BACKUP_EVERY_MIN: Duration = Duration::from_secs(1);

/// Locks, watches, versioned values and counters in one atomic, durable HTTP request.
///
/// Without a command it serves, as `cloud-dragon serve` does: the store is the folder
/// ./cloud-dragon-data, the address 127.0.0.1:8080.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`, when no command is given.
    #[command(flatten)]
    pub settings: Settings,
}

/// The script by which a shell completes the program's arguments.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "cloud-dragon", &mut script);
    script
}

impl Arguments {
    /// Those of this process.
    ///
    /// # Errors
    /// What is wrong with them, or the help that was asked for.
    pub fn read() -> Result<Self, clap::Error> {
        Self::read_from(std::env::args_os())
    }

    fn read_from(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(arguments)?;
        let mut asked = &matches;
        while let Some((_, of_command)) = asked.subcommand() {
            asked = of_command;
        }
        let is_given = |id: &str| {
            asked.try_contains_id(id).is_ok() && asked.value_source(id) == Some(ValueSource::CommandLine)
        };
        // A store in the environment is no contradiction: it is that of the server, or of other commands.
        if is_given("server") && is_given("store") {
            let message = "the argument '--server <URL>' cannot be used with '--store <STORE>'";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Self::from_arg_matches(&matches)
    }
}

/// The same error without the value of a store, which may hold a password, or of a recipient, which by mistake may be a
/// secret key: it may be told to a log.
#[must_use]
pub fn without_values(mut error: clap::Error) -> clap::Error {
    let may_be_secret = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::String(argument))
            if ["--store", "--backup-age-recipient", "--token "].iter().any(|secret| argument.starts_with(secret))
    );
    if may_be_secret {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".into()));
    }
    error
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve requests (the default)
    Serve(Box<Settings>),
    /// Write accounts to files, as of one moment each
    Export(Box<ExportArguments>),
    /// Put accounts from files into a store
    Import(Box<ImportArguments>),
    /// Take, list, check and restore backups in an S3 bucket
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Ask a server whether it is ready: the exit code tells
    Health(HealthArguments),
    /// Make tokens for clients
    #[command(subcommand)]
    Token(TokenCommand),
    /// Run a command while a lock is held, and kill it before the lock could pass to another
    Lock(Box<LockArguments>),
    /// Read a value or a counter
    Get(Box<GetArguments>),
    /// Write a value, and print its version
    Set(Box<SetArguments>),
    /// Delete a value or a counter
    Delete(Box<DeleteArguments>),
    /// List values, counters or locks, one JSON object a line
    List(Box<ListArguments>),
    /// Print the changes of a key as they happen, one JSON object a line
    Watch(Box<WatchArguments>),
    /// Add to a counter, and print what it is then
    Incr(Box<IncrArguments>),
    /// Set a counter if it is what is expected (compare and swap)
    Cas(Box<CasArguments>),
    /// Print the OpenAPI document
    Openapi,
    /// Print a script by which a shell completes this program's commands and options
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Run a command until it is told otherwise: started by `lock`
    #[command(hide = true)]
    LockSupervisor(SupervisorArguments),
}

/// The settings of the server.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Address and port to serve on; port 0 takes a free one
    #[arg(long, env = "DRAGON_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// The store.
    #[command(flatten)]
    pub store: StoreSettings,

    /// How long to go on serving, not ready, after SIGTERM, so that load balancers notice, in seconds
    #[arg(long, env = "DRAGON_DRAIN_DELAY", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=300), value_name = "SECONDS")]
    pub drain_delay: u16,

    /// Whether plain requests take the short way past the web framework; both ways answer alike
    #[arg(long, env = "DRAGON_FAST_PATH", default_value_t = true, action = clap::ArgAction::Set, hide_short_help = true, value_name = "BOOL")]
    pub fast_path: bool,

    /// Which requests get a line in the log: none, those that failed in the server (5xx), or all, with id, method, route, status, token and time
    #[arg(long, env = "DRAGON_ACCESS_LOG", value_enum, default_value_t = AccessLog::Failed, value_name = "WHICH")]
    pub access_log: AccessLog,

    /// Form of the log lines
    #[arg(long, env = "DRAGON_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What to log: off, error, warn, info, debug, trace, or a filter such as `info,dragon_waiters=debug`
    #[arg(long, env = "DRAGON_LOG", default_value = "info", value_parser = log_filter, value_name = "FILTER")]
    pub log: String,

    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceSettings,

    /// Who may come.
    #[command(flatten, next_help_heading = "Access")]
    pub access: AccessSettings,

    /// Encryption.
    #[command(flatten, next_help_heading = "TLS")]
    pub tls: TlsSettings,

    /// The backups.
    #[command(flatten, next_help_heading = "Backups")]
    pub backups: BackupSettings,

    /// What one account may ask for.
    #[command(flatten, next_help_heading = "Quotas (none unless given)")]
    pub quotas: QuotaSettings,

    /// Connections of clients at a time; more are answered 503 and closed
    #[arg(long, env = "DRAGON_MAX_CONNECTIONS", default_value_t = CONNECTIONS_MAX_DEFAULT, value_name = "COUNT")]
    pub max_connections: NonZeroU32,

    /// The limits of requests.
    #[command(flatten, next_help_heading = "Limits (each can be lowered)")]
    pub limits: LimitSettings,
}

/// Where the data is, and how the store is used.
#[derive(Clone, Debug, Args)]
pub struct StoreSettings {
    /// Where the data is: `embedded:PATH` (a local folder, durable), `postgres://USER@HOST/DATABASE?schema=NAME` or `fdb:CLUSTER_FILE?prefix=NAME` (shared by any number of servers), or `memory:` (lost at exit)
    #[arg(
        long,
        env = "DRAGON_STORE",
        default_value = "embedded:cloud-dragon-data",
        hide_env_values = true,
        value_name = "STORE"
    )]
    pub store: Store,

    /// How long a file of the embedded store's log grows before its rows are moved to the database: more takes more memory, and a restart after a crash more time
    #[arg(long, env = "DRAGON_LOG_FILE_BYTES", default_value_t = LogBounds::FILE_BYTES_DEFAULT, value_parser = clap::value_parser!(u64).range(65_536..=1 << 30), value_name = "BYTES")]
    pub log_file_bytes: u64,

    /// The settings of the Postgres store.
    #[command(flatten, next_help_heading = "Postgres (with --store postgres://…)")]
    pub postgres: PostgresSettings,
}

/// A filter is kept as text, since what it is read into can't be copied.
fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The settings of the Postgres store.
#[derive(Clone, Debug, Args)]
pub struct PostgresSettings {
    /// File that holds the password, instead of the address or PGPASSWORD; a line end after it is left out
    #[arg(long, env = "DRAGON_POSTGRES_PASSWORD_FILE", value_name = "FILE")]
    pub postgres_password_file: Option<PathBuf>,
    /// Connections for reading and the like, besides 4 for commits and 2 for waking and housekeeping
    #[arg(long, env = "DRAGON_POSTGRES_CONNECTIONS", default_value_t = StoreOptions::CONNECTIONS_DEFAULT, value_parser = clap::value_parser!(u32).range(2..=1_000), value_name = "COUNT")]
    pub postgres_connections: u32,
    /// How long the database may work on one statement
    #[arg(long, env = "DRAGON_POSTGRES_STATEMENT_TIMEOUT", default_value_t = StoreOptions::STATEMENT_TIMEOUT_S_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=300), value_name = "SECONDS")]
    pub postgres_statement_timeout: u64,
}

impl PostgresSettings {
    /// What the store at this address is opened with.
    ///
    /// # Errors
    /// When the file with the password can't be read.
    pub fn options(&self, address: &Address) -> Result<StoreOptions, ServeError> {
        let address = match &self.postgres_password_file {
            Some(file) => {
                let unreadable = |error| ServeError::Password(file.display().to_string(), error);
                let password = std::fs::read_to_string(file).map_err(unreadable)?;
                address.clone().with_password(password.trim_end_matches(['\r', '\n']))
            }
            None => address.clone(),
        };
        Ok(StoreOptions {
            address,
            connections: self.postgres_connections,
            statement_timeout: Duration::from_secs(self.postgres_statement_timeout),
        })
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Which requests the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    /// None
    Off,
    /// Those that failed in the server, as warnings
    Failed,
    /// All
    All,
}

/// When backups are taken, to where, and which are kept.
#[derive(Clone, Debug, Args)]
pub struct BackupSettings {
    /// Where backups go, as in s3://BUCKET/PREFIX; none are taken without it. Region, credentials and endpoint are what the AWS SDKs take: AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, profiles, the machine's role
    #[arg(long, env = "DRAGON_BACKUP_TO", value_name = "PLACE")]
    pub backup_to: Option<Location>,

    /// How often, as in 15m, 1h or 1d; or `never`: only when asked by POST /backups
    #[arg(long, env = "DRAGON_BACKUP_EVERY", default_value = "1h", value_parser = every, value_name = "TIME")]
    pub backup_every: Every,

    /// Which of this store's backups are kept: for how long, as in 36h or 7d, or how many, as in 20, or `all`. The last one always
    #[arg(long, env = "DRAGON_BACKUP_KEEP", default_value = "all", value_name = "TIME|COUNT")]
    pub backup_keep: Keep,

    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketSettings,

    /// Encryption.
    #[command(flatten)]
    pub writing: BackupWritingSettings,
}

/// How a bucket is spoken to.
#[derive(Clone, Debug, Args)]
pub struct BucketSettings {
    /// Put the bucket's name into the path instead of the host name, as MinIO and Garage have it
    #[arg(long, env = "DRAGON_BACKUP_PATH_STYLE")]
    pub backup_path_style: bool,
}

/// How backups are written.
#[derive(Clone, Debug, Args)]
pub struct BackupWritingSettings {
    /// Encryption by the S3 server: AES256, aws:kms or aws:kms:dsse
    #[arg(long, env = "DRAGON_BACKUP_SSE", value_parser = ["AES256", "aws:kms", "aws:kms:dsse"], value_name = "ALGORITHM")]
    pub backup_sse: Option<String>,

    /// The key for that, where it is not the bucket's own
    #[arg(long, env = "DRAGON_BACKUP_SSE_KMS_KEY", requires = "backup_sse", value_name = "KEY")]
    pub backup_sse_kms_key: Option<String>,

    /// Encrypt accounts before they are uploaded to these public keys of age (age1…)
    #[arg(
        long = "backup-age-recipient",
        env = "DRAGON_BACKUP_AGE_RECIPIENT",
        value_delimiter = ',',
        value_name = "KEY"
    )]
    pub backup_age_recipient: Vec<Recipient>,
}

/// How often backups are taken; `None` = only when asked.
pub type Every = Option<Duration>;

fn every(text: &str) -> Result<Every, String> {
    if text == "never" {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(every) if every >= BACKUP_EVERY_MIN => Ok(Some(every)),
        _ => Err("say how often, as in 15m, 1h or 1d and no more often than each second, or never".into()),
    }
}

impl BackupSettings {
    /// What takes backups, if there is a place for them.
    pub(crate) async fn keeper(&self, frontend: &Frontend, metrics: BackupMetrics) -> Option<Keeper> {
        let location = self.backup_to.clone()?;
        Some(Keeper {
            frontend: frontend.clone(),
            bucket: Bucket::open(location, &self.writing.options(&self.bucket)).await,
            recipients: self.writing.backup_age_recipient.clone(),
            is_gentle: true,
            keep: self.backup_keep,
            metrics,
        })
    }
}

impl BackupWritingSettings {
    /// How the bucket is spoken to.
    pub(crate) fn options(&self, bucket: &BucketSettings) -> BucketOptions {
        let (algorithm, kms_key) = (self.backup_sse.clone(), self.backup_sse_kms_key.clone());
        BucketOptions { path_style: bucket.backup_path_style, encryption: Encryption { algorithm, kms_key } }
    }
}

fn up_to(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max as u64)
}

/// The limits of requests, as settings.
#[derive(Clone, Debug, Args)]
pub struct LimitSettings {
    /// Entries of KVSet, KVGet and Atomic together in one request
    #[arg(long, env = "DRAGON_LIMIT_OPERATIONS", default_value_t = OPERATIONS_MAX, value_parser = up_to(OPERATIONS_MAX), value_name = "COUNT")]
    pub limit_operations: usize,
    /// Body of a request
    #[arg(long, env = "DRAGON_LIMIT_REQUEST_BYTES", default_value_t = REQUEST_BYTES_MAX, value_parser = up_to(REQUEST_BYTES_MAX), value_name = "BYTES")]
    pub limit_request_bytes: usize,
    /// Body of an answer
    #[arg(long, env = "DRAGON_LIMIT_ANSWER_BYTES", default_value_t = ANSWER_BYTES_MAX, value_parser = up_to(ANSWER_BYTES_MAX), value_name = "BYTES")]
    pub limit_answer_bytes: usize,
    /// One value
    #[arg(long, env = "DRAGON_LIMIT_VALUE_BYTES", default_value_t = VALUE_BYTES_MAX, value_parser = up_to(VALUE_BYTES_MAX), value_name = "BYTES")]
    pub limit_value_bytes: usize,
    /// Nesting of arrays and objects in a value
    #[arg(long, env = "DRAGON_LIMIT_VALUE_DEPTH", default_value_t = VALUE_DEPTH_MAX, value_parser = up_to(VALUE_DEPTH_MAX), value_name = "LEVELS")]
    pub limit_value_depth: usize,
    /// A key, a lock id or an idempotency id
    #[arg(long, env = "DRAGON_LIMIT_KEY_BYTES", default_value_t = KEY_BYTES_MAX, value_parser = up_to(KEY_BYTES_MAX), value_name = "BYTES")]
    pub limit_key_bytes: usize,
    /// Idempotency ids in one request
    #[arg(long, env = "DRAGON_LIMIT_IDEMPOTENCY_IDS", default_value_t = IDEMPOTENCY_IDS_MAX, value_parser = up_to(IDEMPOTENCY_IDS_MAX), value_name = "COUNT")]
    pub limit_idempotency_ids: usize,
}

impl LimitSettings {
    /// The limits as the rules take them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            operations: self.limit_operations,
            request_bytes: self.limit_request_bytes,
            answer_bytes: self.limit_answer_bytes,
            value_bytes: self.limit_value_bytes,
            value_depth: self.limit_value_depth,
            key_bytes: self.limit_key_bytes,
            idempotency_ids: self.limit_idempotency_ids,
        }
    }
}

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A local folder.
    Embedded(PathBuf),
    /// A schema of a Postgres database.
    Postgres(Box<Address>),
    /// A prefix of a FoundationDB cluster's keys.
    #[cfg(feature = "foundationdb")]
    FoundationDb(dragon_foundationdb::Address),
    /// Memory.
    Memory,
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", "")) => Err("embedded: needs a folder, as in embedded:./data".into()),
            Some(("embedded", folder)) => Ok(Self::Embedded(folder.into())),
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("postgres" | "postgresql", _)) => text
                .parse()
                .map(|address| Self::Postgres(Box::new(address)))
                .map_err(|error| error.to_string()),
            #[cfg(feature = "foundationdb")]
            Some(("fdb", _)) => text
                .parse()
                .map(Self::FoundationDb)
                .map_err(|error: dragon_foundationdb::AddressError| error.to_string()),
            #[cfg(not(feature = "foundationdb"))]
            Some(("fdb", _)) => {
                Err("this program was built without FoundationDB (the cargo feature `foundationdb`)".into())
            }
            _ => Err("a store is embedded:PATH, postgres://…, fdb:CLUSTER_FILE or memory:".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent_and_every_setting_has_its_variable() {
        Arguments::command().debug_assert();
        let command = Arguments::command();
        for argument in command.get_arguments().filter(|argument| argument.get_long().is_some()) {
            let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let variable = format!("DRAGON_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }

    #[test]
    fn no_password_is_shown() {
        for store in
            ["postgres://me:secret@h:x/d", "postgre://me:secret@h/d", "postgres://me:secret@h/d?ssl=on"]
        {
            let error = Arguments::read_from(["cloud-dragon", "--store", store]).unwrap_err();
            let shown = without_values(error).to_string();
            assert!(shown.contains("--store") && !shown.contains("secret"), "{shown}");
        }
        let arguments = ["cloud-dragon", "--store", "postgres://me:secret@h/d"];
        let shown = format!("{:?}", Arguments::read_from(arguments).unwrap());
        assert!(shown.contains("postgres://me@h") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn stores_are_checked() {
        assert_eq!("memory:".parse(), Ok(Store::Memory));
        assert_eq!("embedded:/x:y".parse(), Ok(Store::Embedded("/x:y".into())));
        for bad in ["", "embedded", "embedded:", "memory", "memory:x", "redis:x"] {
            assert!(bad.parse::<Store>().is_err(), "{bad}");
        }
    }
}
