//! Where backups lie.

use std::fmt;
use std::str::FromStr;

/// A bucket, and what all names in it begin with: `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
}

/// The text is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place for backups is s3://BUCKET or s3://BUCKET/PREFIX")]
pub struct LocationError;

/// The longest location: a store notes under it what it knows of its backups there.
const BYTES_MAX: usize = 400;

impl Location {
    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of an object.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name of an object by its key, if it is here.
    #[must_use]
    pub fn name<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix)
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let rest = text.strip_prefix("s3://").ok_or(LocationError)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
        if text.len() > BYTES_MAX
            || bucket.is_empty()
            || !is_plain(bucket)
            || !is_plain(prefix)
            || prefix.contains("//")
        {
            return Err(LocationError);
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.into(), prefix })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_checked() {
        for (text, shown) in [("s3://b", "s3://b/"), ("s3://b/", "s3://b/"), ("s3://b/a/c/", "s3://b/a/c")] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(location.name(&location.key("x/y")), Some("x/y"));
        }
        for bad in ["", "b", "s3:", "s3://", "s3:///p", "http://b/p", "s3://b/a b", "s3://b/a//c"] {
            assert_eq!(bad.parse::<Location>(), Err(LocationError), "{bad}");
        }
    }
}
