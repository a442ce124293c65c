//! The file of tokens, and what those who come with one may do.

use super::token::TokenHash;
use super::{AccountPattern, Claim, Permit, Right};
use crate::error::{ApiError, Code};
use crate::quotas;
use crate::route::Need;
use governor::DefaultDirectRateLimiter;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use time::OffsetDateTime;

const SCHEME: &[u8] = b"bearer ";

/// One token, as the file has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called in logs.
    pub name: String,
    /// What is known of the secret.
    pub sha256: TokenHash,
    /// The accounts that it is for.
    pub accounts: Vec<AccountPattern>,
    /// What it may do with them.
    pub rights: Vec<Right>,
    /// From when on it is of no use.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires: Option<OffsetDateTime>,
    /// Requests a second, instead of its accounts' quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_requests: Option<NonZeroU32>,
    /// Requests that may wait at a time, instead of its accounts' quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_waiting: Option<NonZeroU32>,
    /// Bytes that may be stored in each account that it writes to, instead of the accounts' quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<NonZeroU64>,
}

/// A token of the file, and what it has asked for lately.
#[derive(Debug)]
pub struct KnownToken {
    /// What the file says.
    pub entry: Entry,
    pub(crate) requests: Option<DefaultDirectRateLimiter>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

impl Entry {
    /// The entry as it is written into the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&File { token: vec![self.clone()] })
    }

    fn right_on(&self, is_meant: impl Fn(&AccountPattern) -> bool) -> Option<Right> {
        self.accounts.iter().any(is_meant).then(|| self.rights.iter().max().copied()).flatten()
    }
}

/// All tokens of a file.
#[derive(Debug, Default)]
pub struct Tokens {
    /// By the slots of their hashes.
    entries: HashMap<u32, Vec<Arc<KnownToken>>>,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// In words for the operator, without a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            // Without the line itself: by mistake it may hold a token.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, error.message())
        })?;
        let mut names = HashSet::new();
        let mut tokens = Self::default();
        for entry in file.token {
            let name = &entry.name;
            if name.is_empty() || !names.insert(name.clone()) {
                return Err(format!("each token needs a name of its own, and {name:?} is not"));
            }
            if entry.accounts.is_empty() || entry.rights.is_empty() {
                return Err(format!("the token {name:?} has no accounts or no rights"));
            }
            let slot = tokens.entries.entry(entry.sha256.slot()).or_default();
            if slot.iter().any(|other| other.entry.sha256.is(&entry.sha256)) {
                return Err(format!("the token {name:?} is there twice"));
            }
            let requests = entry.quota_requests.map(quotas::of_token);
            slot.push(Arc::new(KnownToken { entry, requests }));
        }
        Ok(tokens)
    }

    /// Whether it has a token of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.values().flatten().any(|token| token.entry.name == name)
    }

    /// What the sender of a request may do.
    pub(super) fn permit(&self, claim: &Claim<'_>) -> Result<Permit, ApiError> {
        let need = claim.route.need();
        let token = match (self.find(claim.authorization), need) {
            (Ok(token), _) => token,
            // What is for everybody is for those too whose token is not known.
            (Err(_), Need::Nothing) => return Ok(Permit::default()),
            (Err(error), _) => return Err(error),
        };
        let right = match (claim.account, need) {
            (Some(account), Need::OnAccount(_)) => token.entry.right_on(|pattern| pattern.matches(account)),
            _ => token.entry.right_on(AccountPattern::is_all),
        };
        Ok(Permit { right, token: Some(Arc::clone(token)) })
    }

    fn find(&self, authorization: Option<&[u8]>) -> Result<&Arc<KnownToken>, ApiError> {
        let unauthorized = |message: &str| ApiError::new(Code::Unauthorized, message);
        let Some(authorization) = authorization else {
            return Err(unauthorized("A token is needed: send the header Authorization: Bearer TOKEN."));
        };
        let (scheme, secret) = authorization.split_at(SCHEME.len().min(authorization.len()));
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(unauthorized("The token has to come as Authorization: Bearer TOKEN."));
        }
        let hash = TokenHash::of(secret.trim_ascii());
        let known =
            self.entries.get(&hash.slot()).into_iter().flatten().find(|token| token.entry.sha256.is(&hash));
        let token = known.ok_or_else(|| unauthorized("This token is not known here."))?;
        match token.entry.expires {
            Some(expires) if expires <= OffsetDateTime::now_utc() => {
                Err(unauthorized("This token has expired; ask for a new one."))
            }
            _ => Ok(token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Token;
    use super::*;
    use crate::route::Route;

    fn entry(token: &Token, name: &str, accounts: &[&str], rights: &[Right]) -> Entry {
        let accounts = accounts.iter().map(|account| account.parse().unwrap()).collect();
        Entry {
            name: name.into(),
            sha256: token.hash(),
            accounts,
            rights: rights.into(),
            expires: None,
            quota_requests: None,
            quota_waiting: None,
            quota_bytes: None,
        }
    }

    fn right(
        tokens: &Tokens,
        authorization: &str,
        route: Route,
        account: &str,
    ) -> Result<Option<Right>, String> {
        let account = (!account.is_empty()).then_some(account);
        let authorization = Some(authorization.as_bytes()).filter(|header| !header.is_empty());
        let claim = Claim { route, account, host: None, origin: None, authorization };
        tokens.permit(&claim).map(|permit| permit.right).map_err(|error| error.to_string())
    }

    #[test]
    fn tokens_give_their_rights_and_no_more() {
        let (worker, root, old) =
            (Token::random().unwrap(), Token::random().unwrap(), Token::random().unwrap());
        let expired = Entry {
            expires: Some(OffsetDateTime::now_utc() - time::Duration::SECOND),
            ..entry(&old, "old", &["*"], &[Right::Admin])
        };
        let text = [
            entry(&worker, "worker", &["jobs", "team-*"], &[Right::Read, Right::Write]).to_toml().unwrap(),
            entry(&root, "root", &["*"], &[Right::Admin]).to_toml().unwrap(),
            expired.to_toml().unwrap(),
        ];
        let tokens = Tokens::parse(&text.join("\n# A remark\n")).unwrap();
        assert_eq!(tokens.entries.values().flatten().count(), 3);
        let bearer = |token: &Token| format!("Bearer {}", token.reveal());
        let of = |token: &Token, route, account| right(&tokens, &bearer(token), route, account);
        for account in ["jobs", "team-a"] {
            assert_eq!(of(&worker, Route::Db, account), Ok(Some(Right::Write)));
        }
        assert_eq!(of(&worker, Route::Db, "other"), Ok(None));
        assert_eq!(of(&worker, Route::Metrics, ""), Ok(None));
        assert_eq!(of(&root, Route::Db, "other"), Ok(Some(Right::Admin)));
        assert_eq!(of(&root, Route::Metrics, ""), Ok(Some(Right::Admin)));
        assert_eq!(right(&tokens, "", Route::Ready, ""), Ok(None));
        for wrong in ["", "Bearer ", "Bearer dragon_00", "Basic abc", "Bear", &bearer(&old)] {
            assert!(right(&tokens, wrong, Route::Db, "jobs").is_err(), "{wrong}");
        }
        assert!(right(&tokens, &bearer(&worker).to_lowercase(), Route::Db, "jobs").is_ok());
    }

    #[test]
    fn what_is_no_file_of_tokens_is_refused() {
        let token = Token::random().unwrap();
        let good = entry(&token, "a", &["*"], &[Right::Read]).to_toml().unwrap();
        assert!(Tokens::parse("").is_ok_and(|tokens| tokens.entries.is_empty()));
        for bad in [
            good.replace("read", "own"),
            good.replace("accounts", "account"),
            good.replace("[\"*\"]", "[]"),
            good.replace("\"a\"", "\"\""),
            good.replace("[[token]]", "[[tokens]]"),
            good.clone() + &good,
            good.clone() + &good.replace("\"a\"", "\"b\""),
            good.clone() + "expires = \"tomorrow\"\n",
            good[..good.len() / 2].to_owned(),
        ] {
            assert!(Tokens::parse(&bad).is_err(), "{bad}");
        }
        let by_mistake = good.replace("sha256 = \"", &format!("sha256 = \"{}", token.reveal()));
        let told = Tokens::parse(&by_mistake).unwrap_err();
        assert!(told.starts_with("line ") && !told.contains(token.reveal()), "{told}");
    }
}
