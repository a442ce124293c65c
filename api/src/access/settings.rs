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

    /// Let other machines reach addresses at which no token is asked for
    #[arg(long, env = "DRAGON_INSECURE_NO_AUTH")]
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
        "{0} can be reached from other machines without a token: ask for tokens at --listen with --tokens FILE \
         (cloud-dragon token new makes them) and keep --admin-listen to this machine, or say --insecure-no-auth where \
         everyone who can reach it may do everything"
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
        Ok(Access::Open { guard: Guard::new(address, &self.allow_host), right })
    }

    /// Refuses to serve strangers unasked.
    pub(crate) fn check(&self, listen: SocketAddr) -> Result<(), AccessError> {
        let listen = Some(listen).filter(|_| self.tokens.is_none());
        let unprotected = [listen, self.admin_listen].into_iter().flatten().find(|at| !at.ip().is_loopback());
        match unprotected {
            Some(address) if !self.insecure_no_auth => Err(AccessError::Unprotected(address)),
            _ => Ok(()),
        }
    }

    /// Who may do what at the address for administration.
    pub(crate) fn admin_access(&self, address: SocketAddr) -> Access {
        Access::AdminOnly(Guard::strict(address, &self.allow_host))
    }
}
