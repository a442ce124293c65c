//! Which tokens are asked for, and where.

use super::guard::Guard;
use super::{Access, Right, Tokens};
use crate::metrics::ReloadMetrics;
use crate::reload::{ReloadError, Reloaded};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Who may come.
#[derive(Clone, Debug, Args)]
pub struct AccessSettings {
    /// File of the tokens that are asked for, as `cloud-dragon token new` writes it; read again when it changes
    #[arg(long, env = "DRAGON_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,

    /// Serve others than this machine without asking for tokens
    #[arg(long, env = "DRAGON_INSECURE_NO_AUTH", conflicts_with = "tokens")]
    pub insecure_no_auth: bool,

    /// A further address where metrics, backups, export, import and the like are to be had without a token; without tokens they are to be had only there
    #[arg(long, env = "DRAGON_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,

    /// Further host names that browsers may use for this server, besides its address and localhost
    #[arg(long = "allow-host", env = "DRAGON_ALLOW_HOST", value_delimiter = ',', value_name = "NAME")]
    pub allow_host: Vec<String>,
}

/// Why nobody could be let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Others than this machine would be served.
    #[error(
        "{0} can be reached from other machines: ask for tokens with --tokens FILE (cloud-dragon token new makes \
         them), or say --insecure-no-auth where everyone who can reach it may do everything"
    )]
    Unprotected(SocketAddr),
    /// The tokens can't be read.
    #[error(transparent)]
    Tokens(#[from] ReloadError),
}

impl AccessSettings {
    /// Who may do what at the address of clients, once it is listened on.
    pub(crate) fn access(&self, address: SocketAddr, metrics: &ReloadMetrics) -> Result<Access, AccessError> {
        if let Some(file) = &self.tokens {
            let parse = |contents: &[Vec<u8>]| {
                let text = contents.first().map(|content| std::str::from_utf8(content));
                let text = text.transpose().map_err(|error| error.to_string())?;
                Tokens::parse(text.unwrap_or_default())
            };
            return Ok(Access::Tokens(Reloaded::open("tokens", vec![file.clone()], metrics, parse)?));
        }
        let right = if self.admin_listen.is_some() { Right::Write } else { Right::Admin };
        Ok(Access::Open { guard: self.guard(address), right })
    }

    /// Refuses to serve strangers unasked.
    pub(crate) fn check(&self, listen: SocketAddr) -> Result<(), AccessError> {
        if self.tokens.is_none() && !self.insecure_no_auth && !listen.ip().is_loopback() {
            return Err(AccessError::Unprotected(listen));
        }
        Ok(())
    }

    /// Who may do what at the address for administration.
    pub(crate) fn admin_access(&self, address: SocketAddr) -> Access {
        Access::AdminOnly(self.guard(address))
    }

    fn guard(&self, address: SocketAddr) -> Guard {
        Guard::new(address, &self.allow_host)
    }
}
