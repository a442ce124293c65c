//! `cloud-dragon health`: what a probe asks that can run a program but speak no HTTP.

use super::CliError;
use super::remote::Remote;
use clap::Args;
use std::time::Duration;

/// How long a server may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// What `health` takes.
#[derive(Clone, Debug, Args)]
pub struct HealthArguments {
    /// The server, or its address for administration
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub server: String,
    /// Ask only whether it runs, not whether it is ready to serve
    #[arg(long)]
    pub live: bool,
}

/// `cloud-dragon health`.
///
/// # Errors
/// [`CliError`] when the server is not in order, or does not answer.
pub fn health(arguments: &HealthArguments) -> Result<(), CliError> {
    let server = Remote::direct(&arguments.server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::new("the runtime", error))?;
    let path = if arguments.live { "health/live" } else { "health/ready" };
    runtime.block_on(async {
        let asked = tokio::time::timeout(ANSWER_TIME_MAX, server.health(path)).await;
        asked.unwrap_or_else(|_| Err(CliError::new(&arguments.server, "does not answer")))
    })
}
