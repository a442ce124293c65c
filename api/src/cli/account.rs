//! An account of a server, for the commands that work on its data.

use super::CliError;
use clap::Args;
use dragon_client::{Account, Client};

/// Which account, at which server.
#[derive(Clone, Debug, Args)]
pub struct ClientArguments {
    /// The server
    #[arg(long, env = "DRAGON_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub server: String,
    /// The token that the server asks for
    #[arg(long, env = "DRAGON_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The account
    #[arg(long, short, env = "DRAGON_ACCOUNT", default_value = "default", value_name = "NAME")]
    pub account: String,
}

impl ClientArguments {
    pub(super) fn account(&self) -> Result<Account, CliError> {
        let mut client = Client::builder(&self.server);
        if let Some(token) = &self.token {
            client = client.token(token);
        }
        let account = client.build().and_then(|client| client.account(&self.account));
        account.map_err(|error| told(&error))
    }
}

/// An error with what caused it, in one line.
pub(super) fn told(error: &dragon_client::Error) -> CliError {
    CliError(dragon_backups::with_causes(error))
}
