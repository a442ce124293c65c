//! Where a store lies: the cluster's file, and the prefix of its keys.

use crate::failure::AddressError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const PREFIX_DEFAULT: &str = "cloud-dragon";
/// Longest prefix, in bytes: it is part of every key.
const PREFIX_BYTES_MAX: usize = 64;

/// The address of a store: `fdb:CLUSTER_FILE?prefix=NAME`. Without a file it is the client's own default:
/// `FDB_CLUSTER_FILE`, or `/etc/foundationdb/fdb.cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    cluster_file: Option<PathBuf>,
    prefix: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("fdb:").ok_or(AddressError::Scheme)?;
        let (file, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let mut prefix = PREFIX_DEFAULT;
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("prefix", name)) => prefix = name,
                _ => return Err(AddressError::Parameter(parameter.into())),
            }
        }
        let spelled = prefix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/'));
        if !spelled || !(1..=PREFIX_BYTES_MAX).contains(&prefix.len()) {
            return Err(AddressError::Prefix(prefix.into()));
        }
        let cluster_file = (!file.is_empty()).then(|| file.into());
        Ok(Self { cluster_file, prefix: prefix.into() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.cluster_file.as_deref().unwrap_or(Path::new(""));
        write!(formatter, "fdb:{}?prefix={}", file.display(), self.prefix)
    }
}

impl Address {
    /// The cluster's file; `None` = the client's default.
    #[must_use]
    pub fn cluster_file(&self) -> Option<&Path> {
        self.cluster_file.as_deref()
    }

    /// What the keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address: Address = "fdb:/etc/foundationdb/fdb.cluster".parse().unwrap();
        assert_eq!(address.cluster_file(), Some(Path::new("/etc/foundationdb/fdb.cluster")));
        assert_eq!(address.prefix(), "cloud-dragon");
        assert_eq!("fdb:".parse::<Address>().unwrap().cluster_file(), None);
        let address: Address = "fdb:c?prefix=team/a".parse().unwrap();
        assert_eq!((address.prefix(), address.to_string().as_str()), ("team/a", "fdb:c?prefix=team/a"));
        assert!(matches!("x:c".parse::<Address>(), Err(AddressError::Scheme)));
        for bad in ["fdb:c?prefix=", "fdb:c?prefix=a b", &format!("fdb:c?prefix={}", "x".repeat(65))] {
            assert!(matches!(bad.parse::<Address>(), Err(AddressError::Prefix(_))), "{bad}");
        }
        for bad in ["fdb:c?prefx=a", "fdb:c?prefix"] {
            assert!(matches!(bad.parse::<Address>(), Err(AddressError::Parameter(_))), "{bad}");
        }
    }
}
