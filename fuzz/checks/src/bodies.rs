//! Bodies of `POST /db/{account}`, written from what was read of them: with the fields in the contract's order and nothing between
//! them, or from the last to the first, with white space and what means nothing.

use dragon_core::request::{AtomicDraft, Draft, SetDraft};

/// An object in the making.
struct Object {
    fields: Vec<String>,
    is_odd: bool,
}

impl Object {
    fn new(is_odd: bool) -> Self {
        Self { fields: Vec::new(), is_odd }
    }

    fn raw(&mut self, name: &str, json: &str) {
        let space = if self.is_odd { " \r\n\t" } else { "" };
        self.fields.push(format!("\"{name}\"{space}:{space}{json}"));
    }

    fn optional<T>(&mut self, name: &str, value: Option<&T>, write: impl FnOnce(&T) -> String) {
        match value {
            Some(value) => self.raw(name, &write(value)),
            // The same as absent, but for a value.
            None if self.is_odd && name != "Value" => self.raw(name, "null"),
            None => {}
        }
    }

    fn list<T>(&mut self, name: &str, entries: &[T], write: impl Fn(&T) -> String) {
        let list = (!entries.is_empty()).then(|| entries.iter().map(write).collect::<Vec<_>>().join(","));
        self.optional(name, list.as_ref(), |list| format!("[{list}]"));
    }

    fn text(&mut self, name: &str, text: Option<&String>) {
        let is_odd = self.is_odd;
        self.optional(name, text, |text| string(text, is_odd));
    }

    fn number<T: ToString>(&mut self, name: &str, number: Option<&T>) {
        self.optional(name, number, T::to_string);
    }

    fn flag(&mut self, name: &str, is_set: bool) {
        let stated = (is_set || self.is_odd).then_some(is_set);
        self.number(name, stated.as_ref());
    }

    fn finish(mut self) -> String {
        if self.is_odd {
            self.fields.reverse();
        }
        format!("{{{}}}", self.fields.join(if self.is_odd { " ,\n" } else { "," }))
    }
}

/// A string, by another writer than the server's own. An odd one has all escaped that can be.
fn string(text: &str, is_odd: bool) -> String {
    if is_odd {
        let escapes = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
        format!("\"{}\"", escapes.collect::<String>())
    } else {
        serde_json::Value::from(text).to_string()
    }
}

fn counter(draft: &AtomicDraft, is_odd: bool) -> String {
    let mut object = Object::new(is_odd);
    object.text("Key", Some(&draft.key));
    object.number("Add", draft.add.as_ref());
    object.number("Set", draft.set.as_ref());
    object.flag("Delete", draft.delete);
    object.number("IfEq", draft.if_eq.as_ref());
    object.finish()
}

fn set(draft: &SetDraft, is_odd: bool) -> String {
    let mut object = Object::new(is_odd);
    object.text("Key", Some(&draft.key));
    object.optional("Value", draft.value.as_ref(), |json| {
        std::str::from_utf8(json).expect("JSON is of UTF-8").to_owned()
    });
    object.flag("Delete", draft.delete);
    object.number("TTL", draft.ttl_s.as_ref());
    object.number("IfVersion", draft.if_version.as_ref());
    object.finish()
}

/// The body of a request.
pub(crate) fn body(draft: &Draft, is_odd: bool) -> String {
    let mut object = Object::new(is_odd);
    object.list("IdempotencyIDs", &draft.idempotency_ids, |id| string(id, is_odd));
    object.number("IdempotencyTTL", draft.idempotency_ttl_s.as_ref());
    object.text("UnlockID", draft.unlock_id.as_ref());
    let digits = if is_odd { "\"" } else { "" };
    object.optional("Unlock", draft.unlock.as_ref(), |handle| format!("{digits}{handle}{digits}"));
    object.text("LockID", draft.lock_id.as_ref());
    object.number("LockDur", draft.lock_dur_s.as_ref());
    object.number("LockWait", draft.lock_wait_s.as_ref());
    object.text("LockOwner", draft.lock_owner.as_ref());
    object.list("Atomic", &draft.atomic, |draft| counter(draft, is_odd));
    object.list("KVSet", &draft.kv_set, |draft| set(draft, is_odd));
    object.list("KVGet", &draft.kv_get, |key| {
        let mut object = Object::new(is_odd);
        object.text("Key", Some(key));
        object.finish()
    });
    object.finish()
}
