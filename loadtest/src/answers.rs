//! The answers of the server as their scenarios read them: by their bytes where they look as expected, else
//! as JSON.

use crate::client::Answer;
use crate::scan::Scan;
use anyhow::{Result, ensure};
use serde::Deserialize;

/// The answer of a write.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Written {
    /// The revision.
    pub version: u64,
}

impl Written {
    /// Reads one.
    ///
    /// # Errors
    /// For another answer.
    pub fn read(answer: &Answer<'_>) -> Result<Self> {
        match Self::scan(answer.body) {
            Some(written) if answer.status == 200 => Ok(written),
            _ => answer.read(),
        }
    }

    fn scan(body: &[u8]) -> Option<Self> {
        let mut scan = Scan::new(body);
        scan.literal(br#"{"Version":"#)?;
        let version = scan.number()?;
        scan.literal(b"}")?;
        scan.end()?;
        Some(Self { version })
    }
}

/// The answer of one addition to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The sum.
    pub value: u64,
    /// The revision.
    pub version: u64,
}

impl Counted {
    /// Reads one of this counter.
    ///
    /// # Errors
    /// For another answer.
    pub fn read(answer: &Answer<'_>, counter: &[u8]) -> Result<Self> {
        match Self::scan(answer.body, counter) {
            Some(counted) if answer.status == 200 => Ok(counted),
            _ => Self::read_json(answer, counter),
        }
    }

    fn scan(body: &[u8], counter: &[u8]) -> Option<Self> {
        let mut scan = Scan::new(body);
        scan.literal(br#"{"Atomic":[{"Key":""#)?;
        scan.literal(counter)?;
        scan.literal(br#"","Value":"#)?;
        let value = scan.number()?;
        scan.literal(br#"}],"Version":"#)?;
        let version = scan.number()?;
        scan.literal(b"}")?;
        scan.end()?;
        Some(Self { value, version })
    }

    fn read_json(answer: &Answer<'_>, counter: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "PascalCase")]
        struct Body {
            atomic: [Sum; 1],
            version: u64,
        }
        let Body { atomic: [Sum { key, value }], version } = answer.read()?;
        ensure!(
            key.as_bytes() == counter,
            "asked for {}, answered for {key}",
            String::from_utf8_lossy(counter)
        );
        Ok(Self { value, version })
    }
}

/// A counter and what it came to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Sum {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: u64,
}

/// The answer of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Granted {
    /// The handle.
    pub lock: u64,
    /// When the lease ends.
    pub till: u64,
    /// The revision.
    pub version: u64,
}

impl Granted {
    /// Reads one.
    ///
    /// # Errors
    /// For another answer.
    pub fn read(answer: &Answer<'_>) -> Result<Self> {
        match Self::scan(answer.body) {
            Some(granted) if answer.status == 200 => Ok(granted),
            _ => answer.read(),
        }
    }

    fn scan(body: &[u8]) -> Option<Self> {
        let mut scan = Scan::new(body);
        scan.literal(br#"{"Lock":"#)?;
        let lock = scan.number()?;
        scan.literal(br#","Till":"#)?;
        let till = scan.number()?;
        scan.literal(br#","Version":"#)?;
        let version = scan.number()?;
        scan.literal(b"}")?;
        scan.end()?;
        Some(Self { lock, till, version })
    }
}

/// Checks the answer of a release that did nothing else.
///
/// # Errors
/// For another answer.
pub fn released(answer: &Answer<'_>) -> Result<()> {
    if answer.status == 200 && answer.body == b"{}" {
        return Ok(());
    }
    let Released {} = answer.read()?;
    Ok(())
}

/// The answer of a release that did nothing else.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {}

/// A key as reads, lists and watches answer it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Kv<V> {
    /// Its name.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Its value, unless there is none.
    pub value: Option<V>,
}

/// The answer of a read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Values<V> {
    /// In the order in which they were asked for.
    #[serde(rename = "KV")]
    pub kv: Vec<Kv<V>>,
}

/// An error, as far as scenarios provoke any.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Refusal<'a> {
    /// Its code.
    pub code: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(body: &str) -> Answer<'_> {
        Answer { status: 200, body: body.as_bytes() }
    }

    /// Each answer, read by its bytes and as JSON, is the same or refused by both.
    #[test]
    fn both_ways_of_reading_agree() {
        let max = u64::MAX;
        let bodies = [
            r#"{"Version":7}"#.to_owned(),
            format!(r#"{{"Version":{max}}}"#),
            format!(r#"{{"Version":{max}0}}"#),
            r#"{"Version": 7}"#.to_owned(),
            r#"{"Version":07}"#.to_owned(),
            r#"{"Version":-7}"#.to_owned(),
            r#"{"Version":7,"More":1}"#.to_owned(),
            r#"{"Version":7}}"#.to_owned(),
            r#"{"Version":}"#.to_owned(),
            "{}".to_owned(),
            r#"{"Atomic":[{"Key":"a","Value":5}],"Version":9}"#.to_owned(),
            r#"{"Atomic":[{"Key":"b","Value":5}],"Version":9}"#.to_owned(),
            r#"{"Version":9,"Atomic":[{"Value":5,"Key":"a"}]}"#.to_owned(),
            r#"{"Atomic":[{"Key":"a","Value":-5}],"Version":9}"#.to_owned(),
            r#"{"Lock":5,"Till":6,"Version":5}"#.to_owned(),
            r#"{"Version":5,"Lock":5,"Till":6}"#.to_owned(),
            r#"{"Lock":5,"Till":6,"Expired":true,"Version":5}"#.to_owned(),
        ];
        for body in &bodies {
            let answer = ok(body);
            let slow = answer.read::<Written>().ok().map(|written| written.version);
            assert_eq!(Written::read(&answer).ok().map(|written| written.version), slow, "{body}");
            if let Some(fast) = Written::scan(body.as_bytes()) {
                assert_eq!(Some(fast.version), slow, "{body}");
            }
            let slow = Counted::read_json(&answer, b"a").ok();
            assert_eq!(Counted::read(&answer, b"a").ok(), slow, "{body}");
            assert!(Counted::scan(body.as_bytes(), b"a").is_none_or(|fast| Some(fast) == slow), "{body}");
            let slow = answer.read::<Granted>().ok();
            assert_eq!(Granted::read(&answer).ok(), slow, "{body}");
            assert!(Granted::scan(body.as_bytes()).is_none_or(|fast| Some(fast) == slow), "{body}");
            assert_eq!(released(&answer).is_ok(), body == "{}", "{body}");
        }
        assert!(Written::read(&Answer { status: 409, body: br#"{"Version":7}"# }).is_err());
        assert!(Counted::scan(bodies[10].as_bytes(), b"a").is_some(), "the fast way is taken");
    }
}
