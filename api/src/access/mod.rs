//! Who may do what. Everything that comes in asks here, once, before anything of an account is looked at.

mod guard;
mod pattern;
mod permitted;
mod settings;
mod token;
mod tokens;

use crate::error::{ApiError, Code};
use crate::reload::Reloaded;
use crate::route::{Need, Route};
use guard::Guard;
pub use pattern::AccountPattern;
pub(crate) use permitted::Permitted;
pub use settings::{AccessError, AccessSettings};
use std::sync::Arc;
pub use token::Token;
pub use tokens::{Entry, KnownToken, Tokens};

/// What may be done with an account. Each includes those before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Look at values, counters and locks, and wait for changes
    Read,
    /// Change them, and take locks
    Write,
    /// Export and import the account; on all accounts: list them, take backups, see metrics
    Admin,
}

/// What whoever sent a request may do with what the request is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permit {
    right: Option<Right>,
    /// By which token, where it takes one.
    pub(crate) token: Option<Arc<KnownToken>>,
}

impl Permit {
    /// Refuses what needs a higher right.
    pub(crate) fn require(&self, right: Right) -> Result<(), ApiError> {
        if self.allows(right) {
            return Ok(());
        }
        let may = match right {
            Right::Read => "read",
            Right::Write => "write",
            Right::Admin => "admin",
        };
        let message =
            format!("This needs the right `{may}` on what it asks for, which the token does not have.");
        Err(ApiError::new(Code::Forbidden, message))
    }

    pub(crate) fn allows(&self, right: Right) -> bool {
        self.right >= Some(right)
    }
}

/// What access needs to know of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) route: Route,
    /// The account that the path names, decoded.
    pub(crate) account: Option<&'a str>,
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) origin: Option<&'a [u8]>,
    pub(crate) authorization: Option<&'a [u8]>,
}

/// Who may do what at an address.
#[derive(Debug)]
pub(crate) enum Access {
    /// Whoever comes may do this much; web pages of others may not come.
    Open { guard: Guard, right: Right },
    /// Whoever comes may do what is not about keys and locks. Web pages of others may not come.
    AdminOnly(Guard),
    /// Those who have a token may do what it says.
    Tokens(Arc<Reloaded<Tokens>>),
}

impl Access {
    /// What the sender of a request may do with what it is about.
    ///
    /// # Errors
    /// What to answer those who may do nothing.
    pub(crate) fn permit(&self, claim: &Claim<'_>) -> Result<Permit, ApiError> {
        Ok(match self {
            Self::Open { guard, right } => {
                guard.check(claim.host, claim.origin)?;
                Permit { right: Some(*right), token: None }
            }
            Self::AdminOnly(guard) => {
                guard.check(claim.host, claim.origin)?;
                if claim.route.is_of_keys() {
                    let message = "This address is for administration; ask for this at the other one.";
                    return Err(ApiError::new(Code::NotFound, message));
                }
                Permit { right: Some(Right::Admin), token: None }
            }
            Self::Tokens(tokens) => tokens.current().permit(claim)?,
        })
    }

    /// Refuses what is not permitted.
    pub(crate) fn require(&self, route: Route, permit: &Permit) -> Result<(), ApiError> {
        match route.need() {
            Need::Nothing => Ok(()),
            Need::OnAccount(right) => permit.require(right),
            Need::OnAll(right) => self.require_on_all(permit, right),
        }
    }

    /// Where no token is asked for, what concerns all accounts may have an address of its own.
    fn require_on_all(&self, permit: &Permit, right: Right) -> Result<(), ApiError> {
        match self {
            Self::Open { .. } if !permit.allows(right) => {
                let message = "This is to be had at the address for administration (--admin-listen) only.";
                Err(ApiError::new(Code::Forbidden, message))
            }
            _ => permit.require(right),
        }
    }
}
