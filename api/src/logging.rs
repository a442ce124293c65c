//! The log, by `tracing`, to standard error.

use crate::config::{LogFormat, Settings};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts the log. A filter that can't be read is replaced by `info`, and that is said.
pub fn start(settings: &Settings) {
    let parsed = EnvFilter::try_new(&settings.log);
    let refused = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    if let Some(error) = refused {
        tracing::warn!(%error, filter = settings.log, "the log filter can't be read; logging at info");
    }
}
