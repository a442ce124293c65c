//! What an answer says of its request's fate, and whether the contract knows such an answer at all.

use super::exchange::Reply;
use dragon_checker::history::Endpoint;
use serde_json::Value;

/// The fate of an answered request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Answered 200, 204 or 409, with this body.
    Answered(Value),
    /// Nothing of it was applied, and nothing will be.
    NotApplied,
    /// It may have been applied.
    Unknown,
}

/// The fields that each refusal may have besides `Code` and `Message`, of which those must be there that are not
/// optional.
struct Refusal {
    code: &'static str,
    fields: &'static [&'static str],
    optional: &'static [&'static str],
}

const REFUSALS: [Refusal; 5] = [
    // No answer is kept that is too long.
    Refusal { code: "duplicate_request", fields: &["ID", "SameRequest"], optional: &["Response"] },
    Refusal { code: "lock_timeout", fields: &["Till"], optional: &["Owner"] },
    Refusal { code: "not_locked", fields: &["ID"], optional: &[] },
    Refusal { code: "precondition_failed", fields: &["Key"], optional: &["Version", "Value"] },
    Refusal { code: "counter_overflow", fields: &["Key"], optional: &[] },
];

/// What the answer says.
///
/// # Errors
/// When the contract has no such answer to this endpoint: says why, and shows it.
pub(super) fn judge(endpoint: Endpoint, reply: &Reply) -> Result<Verdict, String> {
    let shown = || format!("{}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    if reply.status == 204 {
        let may = endpoint == Endpoint::Watch && reply.body.is_empty();
        return if may { Ok(Verdict::Answered(Value::Null)) } else { Err(shown()) };
    }
    let body: Value =
        serde_json::from_slice(&reply.body).map_err(|error| format!("{error} in {}", shown()))?;
    let Some(fields) = body.as_object() else { return Err(format!("no object in {}", shown())) };
    if reply.status == 200 {
        return Ok(Verdict::Answered(body));
    }
    let code = body["Code"].as_str().unwrap_or_default();
    if body["Message"].as_str().is_none_or(str::is_empty) {
        return Err(format!("no Message in {}", shown()));
    }
    match (reply.status, code) {
        (409, _) if endpoint == Endpoint::Db => match REFUSALS.iter().find(|refusal| refusal.code == code) {
            Some(refusal) if refusal.fits(fields) => Ok(Verdict::Answered(body)),
            _ => Err(shown()),
        },
        (429, "too_many_requests") | (503, "unavailable") if reply.has_retry_after && fields.len() == 2 => {
            Ok(Verdict::NotApplied)
        }
        (503, "outcome_unknown") if endpoint == Endpoint::Db && fields.len() == 2 => Ok(Verdict::Unknown),
        _ => Err(shown()),
    }
}

impl Refusal {
    fn fits(&self, fields: &serde_json::Map<String, Value>) -> bool {
        let known = |name: &str| {
            ["Code", "Message"].contains(&name)
                || self.fields.contains(&name)
                || self.optional.contains(&name)
        };
        fields.keys().all(|name| known(name)) && self.fields.iter().all(|name| fields.contains_key(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(status: u16, body: &Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Reply { status, body, has_retry_after: true, ..Reply::default() }
    }

    #[test]
    fn answers_that_the_contract_knows() {
        let error = |code: &str| json!({"Code": code, "Message": "m"});
        let duplicate = json!({"Code": "duplicate_request", "Message": "m", "ID": "i", "SameRequest": true,
            "Response": {}});
        for (status, body, verdict) in [
            (200, json!({}), Verdict::Answered(json!({}))),
            (409, duplicate.clone(), Verdict::Answered(duplicate)),
            (429, error("too_many_requests"), Verdict::NotApplied),
            (503, error("unavailable"), Verdict::NotApplied),
            (503, error("outcome_unknown"), Verdict::Unknown),
        ] {
            assert_eq!(judge(Endpoint::Db, &reply(status, &body)), Ok(verdict), "{status} {body}");
        }
        let nothing_changed = judge(Endpoint::Watch, &reply(204, &Value::Null));
        assert_eq!(nothing_changed, Ok(Verdict::Answered(Value::Null)));
    }

    #[test]
    fn answers_that_it_does_not_know() {
        for (status, body) in [
            (204, Value::Null),
            (200, Value::Null),
            (200, json!([])),
            (400, json!({"Code": "invalid_request", "Message": "m"})),
            (500, json!({"Code": "internal", "Message": "m"})),
            (503, json!({"Code": "unavailable"})),
            (503, json!({"Code": "unavailable", "Message": "m", "ID": "i"})),
            (409, json!({"Code": "not_locked", "Message": "m"})),
            (409, json!({"Code": "not_locked", "Message": "m", "ID": "i", "Till": 3})),
            (409, json!({"Code": "invented", "Message": "m"})),
        ] {
            assert!(judge(Endpoint::Db, &reply(status, &body)).is_err(), "{status} {body}");
        }
        let no_conflicts = json!({"Code": "not_locked", "Message": "m", "ID": "i"});
        assert!(judge(Endpoint::List, &reply(409, &no_conflicts)).is_err());
        let mut unhelpful = reply(503, &json!({"Code": "unavailable", "Message": "m"}));
        unhelpful.has_retry_after = false;
        assert!(judge(Endpoint::Db, &unhelpful).is_err());
    }
}
