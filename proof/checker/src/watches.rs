//! Watches: versions rise, nobody sleeps over a change, and who watches to the end has seen the last version.

use crate::ask::entries;
use crate::check::{Report, Scope};
use crate::history::{Endpoint, Moment, Operation, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn check(scope: &Scope<'_>, report: &mut Report) {
    let writes = Writes::gather(scope);
    let mut chains: BTreeMap<(u64, &str), (u64, usize)> = BTreeMap::new();
    for (number, operation) in scope.operations() {
        let (Endpoint::Watch, Some(key)) = (operation.endpoint, operation.body["ID"].as_str()) else {
            continue;
        };
        let Some((status, body)) = operation.answer() else { continue };
        report.looked_at.watches += 1;
        let seen = operation.body["Version"].as_u64().unwrap_or(0);
        if let Some(changed_us) = writes.changed_us(key, seen) {
            on_time(scope, (number, operation), changed_us, report);
        }
        let version = body["Version"].as_u64().unwrap_or(0);
        if status == 200 && version > 0 {
            let chain = chains.entry((operation.client, key)).or_insert((0, number));
            if version < chain.0 {
                let what = format!("the versions of {key} go from {} to {version} for one watcher", chain.0);
                report.add("watches", scope.account, what, vec![chain.1, number]);
            }
            *chain = (version, number);
        }
        if let Some(last) = writes.last_version(scope, key, operation) {
            let shown = if status == 200 { version } else { seen };
            if shown != last {
                let what = format!("a watcher of {key} ends at version {shown}; the last one is {last}");
                report.add("watches", scope.account, what, vec![number]);
            }
        }
    }
}

/// A watch of a version that had been overtaken when it was called, or was while it waited, is answered in time.
fn on_time(
    scope: &Scope<'_>,
    (number, operation): (usize, &Operation),
    changed_us: Moment,
    report: &mut Report,
) {
    let Some(returned_us) = operation.returned_us() else { return };
    if returned_us <= changed_us {
        return;
    }
    report.looked_at.woken_watches += 1;
    let from_us = changed_us.max(operation.called_us);
    let deadline_us = scope.patience.deadline_us(from_us);
    if returned_us > deadline_us {
        let what = format!("a watch slept over a change known at {changed_us} us until {returned_us} us");
        report.add("watches", scope.account, what, vec![number]);
    }
}

/// What is known of each key's writes.
#[derive(Default)]
struct Writes<'a> {
    /// Version and when it was known to be there.
    versions: BTreeMap<&'a str, Vec<(u64, Moment)>>,
    /// By when a version had expired, at the latest.
    expiries: BTreeMap<(&'a str, u64), Moment>,
    /// Keys that somebody has deleted or let expire, or may have.
    may_vanish: BTreeSet<&'a str>,
    /// The last moment at which a write of the key can have been under way; none where there is no telling.
    quiet_from_us: BTreeMap<&'a str, Option<Moment>>,
    /// The last list of all values: when it was called, and what it shows.
    last_list: Option<&'a Operation>,
}

impl<'a> Writes<'a> {
    fn gather(scope: &Scope<'a>) -> Self {
        let mut writes = Self::default();
        for (_, operation) in scope.operations() {
            if is_whole_list(operation) {
                writes.last_list = Some(operation);
            }
            for set in entries(&operation.body, "KVSet") {
                if let Some(key) = set["Key"].as_str() {
                    writes.note(key, set, operation);
                    writes.note_end(scope, key, set, operation);
                }
            }
        }
        for versions in writes.versions.values_mut() {
            versions.sort_unstable();
        }
        writes
    }

    fn note(&mut self, key: &'a str, set: &Value, operation: &'a Operation) {
        let quiet_from_us = self.quiet_from_us.entry(key).or_insert(Some(0));
        *quiet_from_us = match &operation.outcome {
            // What expires changes by itself; what is unknown may come at any time.
            Outcome::Unknown { .. } => None,
            Outcome::Answered { .. } if set["TTL"].is_u64() => None,
            Outcome::Answered { returned_us, .. } | Outcome::NotApplied { returned_us } => {
                quiet_from_us.map(|quiet_us| quiet_us.max(*returned_us))
            }
        };
        if let (Some(body), Some(returned_us)) = (operation.applied(), operation.returned_us())
            && let Some(version) = body["Version"].as_u64()
        {
            self.versions.entry(key).or_default().push((version, returned_us));
        }
    }

    fn note_end(&mut self, scope: &Scope<'_>, key: &'a str, set: &Value, operation: &Operation) {
        let ttl_s = set["TTL"].as_u64();
        if ttl_s.is_some() || set["Delete"] == true {
            self.may_vanish.insert(key);
        }
        let version = operation.applied().and_then(|body| body["Version"].as_u64());
        if let (Some(ttl_s), Some(version), Some(returned_us)) = (ttl_s, version, operation.returned_us()) {
            let clock = &scope.history.clock;
            let off_us = (clock.zero_ms_max - clock.zero_ms_min + 2) * 1_000;
            self.expiries.insert((key, version), returned_us + ttl_s * 1_000_000 + off_us);
        }
    }

    /// When it was known that the key no longer has this version. Versions don't come back; not to exist may, where
    /// somebody deletes the key, or lets it expire.
    fn changed_us(&self, key: &str, seen: u64) -> Option<Moment> {
        if seen == 0 && self.may_vanish.contains(key) {
            return None;
        }
        let later = self.versions.get(key).into_iter().flatten().filter(|(version, _)| *version > seen);
        let expiry = self.expiries.get(&(key, seen)).copied();
        later.map(|(_, known_us)| *known_us).chain(expiry).min()
    }

    /// The key's last version, where this watch began after all writes and the last list tells it.
    fn last_version(&self, scope: &Scope<'_>, key: &str, watch: &Operation) -> Option<u64> {
        let quiet_from_us = (*self.quiet_from_us.get(key)?)?;
        if watch.called_us <= quiet_from_us || scope.history.ended_us < quiet_from_us {
            return None;
        }
        let list = self.last_list.filter(|list| list.called_us > quiet_from_us)?;
        let shown = entries(list.applied()?, "KV").iter().find(|entry| entry["Key"] == key);
        Some(shown.and_then(|entry| entry["Version"].as_u64()).unwrap_or(0))
    }
}

fn is_whole_list(operation: &Operation) -> bool {
    let is_plain = ["Prefix", "After"].iter().all(|field| operation.body[*field].is_null());
    let is_of_values = matches!(operation.body["Kind"].as_str(), None | Some("KV"));
    operation.endpoint == Endpoint::List
        && is_plain
        && is_of_values
        && operation.applied().is_some_and(|body| body["More"] != true)
}
