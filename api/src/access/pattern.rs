//! Which accounts a token is for.

use dragon_core::cell::Account;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One account, or all whose names begin alike: `jobs`, `team-*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum AccountPattern {
    /// This one.
    Exactly(Account),
    /// All that begin with this.
    BeginsWith(String),
}

impl AccountPattern {
    /// Whether it is one of them.
    #[must_use]
    pub fn matches(&self, account: &str) -> bool {
        match self {
            Self::Exactly(name) => name.as_str() == account,
            Self::BeginsWith(beginning) => account.starts_with(beginning.as_str()),
        }
    }

    /// Whether all accounts there could be are among them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self, Self::BeginsWith(beginning) if beginning.is_empty())
    }
}

impl FromStr for AccountPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |error: &dyn fmt::Display| format!("{text:?}: {error}");
        let Some(beginning) = text.strip_suffix('*') else {
            return Account::new(text).map(Self::Exactly).map_err(|error| wrong(&error));
        };
        // What an account may begin with is what may stand in one; `..` may, although it is none itself.
        if !beginning.is_empty() {
            Account::new(&format!("{beginning}a")).map_err(|error| wrong(&error))?;
        }
        Ok(Self::BeginsWith(beginning.to_owned()))
    }
}

impl TryFrom<String> for AccountPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for AccountPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(account) => write!(formatter, "{account}"),
            Self::BeginsWith(beginning) => write!(formatter, "{beginning}*"),
        }
    }
}

impl From<AccountPattern> for String {
    fn from(pattern: AccountPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        let matches = |pattern: &str, account| pattern.parse::<AccountPattern>().unwrap().matches(account);
        assert!(matches("jobs", "jobs") && !matches("jobs", "jobs2") && !matches("jobs", "job"));
        assert!(matches("team-*", "team-a") && matches("team-*", "team-") && !matches("team-*", "team"));
        assert!(matches("*", "jobs") && "*".parse::<AccountPattern>().unwrap().is_all());
        for bad in ["", "a b", "a*b", "**", "a/b", ".", &"x".repeat(129)] {
            assert!(bad.parse::<AccountPattern>().is_err(), "{bad}");
        }
        for good in ["a", "a*", "*", ".*"] {
            assert_eq!(good.parse::<AccountPattern>().unwrap().to_string(), good);
        }
    }
}
