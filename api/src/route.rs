//! The routes: which there are, and what each needs.

use crate::access::Right;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// A route: one of a fixed set, so that no client can make labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Db,
    Watch,
    List,
    Accounts,
    Account,
    Export,
    Import,
    Backups,
    Health,
    Live,
    Ready,
    Metrics,
    Document,
    Docs,
    Other,
}

impl Route {
    pub(crate) const ALL: [Self; 15] = [
        Self::Db,
        Self::Watch,
        Self::List,
        Self::Accounts,
        Self::Account,
        Self::Export,
        Self::Import,
        Self::Backups,
        Self::Health,
        Self::Live,
        Self::Ready,
        Self::Metrics,
        Self::Document,
        Self::Docs,
        Self::Other,
    ];

    /// The route of a path.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            _ if path.starts_with("/db/") => Self::Db,
            _ if path.starts_with("/watch/") => Self::Watch,
            _ if path.starts_with("/list/") => Self::List,
            _ if path.starts_with("/export/") => Self::Export,
            _ if path.starts_with("/import/") => Self::Import,
            _ if path.starts_with("/accounts/") => Self::Account,
            "/accounts" => Self::Accounts,
            "/backups" => Self::Backups,
            "/health" => Self::Health,
            "/health/live" => Self::Live,
            "/health/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::Document,
            "/docs" => Self::Docs,
            _ => Self::Other,
        }
    }

    /// The account that its path names, decoded as the framework decodes it.
    pub(crate) fn account(self, path: &str) -> Option<Cow<'_, str>> {
        let Need::OnAccount(_) = self.need() else { return None };
        let (_, account) = path.strip_prefix('/')?.split_once('/')?;
        Some(percent_decode_str(account).decode_utf8_lossy())
    }

    /// Its label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Db => "/db",
            Self::Watch => "/watch",
            Self::List => "/list",
            Self::Accounts => "/accounts",
            Self::Account => "/accounts/{account}",
            Self::Export => "/export",
            Self::Import => "/import",
            Self::Backups => "/backups",
            Self::Health => "/health",
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
            Self::Metrics => "/metrics",
            Self::Document => "/openapi.json",
            Self::Docs => "/docs",
            Self::Other => "other",
        }
    }

    /// Whether it is one of those that carry data.
    pub(crate) fn is_data(self) -> bool {
        matches!(
            self,
            Self::Db
                | Self::Watch
                | Self::List
                | Self::Accounts
                | Self::Account
                | Self::Export
                | Self::Import
                | Self::Backups
        )
    }

    /// The methods that it takes.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Db | Self::Watch | Self::List | Self::Import => "POST",
            Self::Backups => "GET, POST",
            Self::Account => "DELETE",
            Self::Accounts
            | Self::Export
            | Self::Health
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Document
            | Self::Docs
            | Self::Other => "GET",
        }
    }

    /// Whether it is about the keys and locks of an account.
    pub(crate) fn is_of_keys(self) -> bool {
        matches!(self, Self::Db | Self::Watch | Self::List)
    }

    /// What its requests need at least. Those to `/db` that change something need more.
    pub(crate) fn need(self) -> Need {
        match self {
            Self::Db | Self::Watch | Self::List => Need::OnAccount(Right::Read),
            Self::Account | Self::Export | Self::Import => Need::OnAccount(Right::Admin),
            Self::Accounts | Self::Backups | Self::Metrics => Need::OnAll(Right::Admin),
            Self::Health | Self::Live | Self::Ready | Self::Document | Self::Docs | Self::Other => {
                Need::Nothing
            }
        }
    }
}

/// Which right is needed, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// On the account that the path names.
    OnAccount(Right),
    /// On every account there could be.
    OnAll(Right),
}
