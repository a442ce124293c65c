//! What tells one request from another that gives the same idempotency id: a SHA-256 (FIPS 180-4),
//! cut to 128 bits, over the request's meaning, field by field. White space and the order of the
//! fields of the body do not count; each value's bytes do. The encoding is part of the stored
//! format: every piece is tagged and length-prefixed, so that no two meanings share one.

use crate::layout::FINGERPRINT_BYTES;
use crate::limits::IDEMPOTENCY_TTL_S_DEFAULT;
use crate::request::Draft;
use sha2::{Digest, Sha256};

struct Pieces(Sha256);

impl Pieces {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.update([u8::from(value.is_some())]);
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn optional_number(&mut self, number: Option<u64>) {
        self.optional(number, Self::number);
    }

    fn optional_signed(&mut self, number: Option<i64>) {
        self.optional_number(number.map(i64::cast_unsigned));
    }

    fn optional_text(&mut self, text: Option<&String>) {
        self.optional(text, |pieces, text| pieces.bytes(text.as_bytes()));
    }
}

/// The fingerprint of a request. Only one with ids has need of it, so others get zeros.
pub(crate) fn of(draft: &Draft) -> [u8; FINGERPRINT_BYTES] {
    let mut fingerprint = [0; FINGERPRINT_BYTES];
    if draft.idempotency_ids.is_empty() {
        return fingerprint;
    }
    let mut pieces = Pieces(Sha256::new());
    pieces.number(draft.idempotency_ids.len() as u64);
    draft.idempotency_ids.iter().for_each(|id| pieces.bytes(id.as_bytes()));
    pieces.number(draft.idempotency_ttl_s.unwrap_or(IDEMPOTENCY_TTL_S_DEFAULT));
    pieces.optional_text(draft.unlock_id.as_ref());
    pieces.optional_number(draft.unlock);
    pieces.optional_text(draft.lock_id.as_ref());
    pieces.optional_number(draft.lock_dur_s);
    pieces.number(draft.lock_wait_s.unwrap_or(0));
    pieces.optional_text(draft.lock_owner.as_ref());
    pieces.number(draft.atomic.len() as u64);
    for atomic in &draft.atomic {
        pieces.bytes(atomic.key.as_bytes());
        pieces.optional_signed(atomic.add);
        pieces.optional_signed(atomic.set);
        pieces.number(atomic.delete.into());
        pieces.optional_signed(atomic.if_eq);
    }
    pieces.number(draft.kv_set.len() as u64);
    for set in &draft.kv_set {
        pieces.bytes(set.key.as_bytes());
        pieces.optional(set.value.as_ref(), |pieces, json| pieces.bytes(json));
        pieces.number(set.delete.into());
        pieces.optional_number(set.ttl_s);
        pieces.optional_number(set.if_version);
    }
    pieces.number(draft.kv_get.len() as u64);
    draft.kv_get.iter().for_each(|key| pieces.bytes(key.as_bytes()));
    fingerprint.copy_from_slice(&pieces.0.finalize()[..FINGERPRINT_BYTES]);
    fingerprint
}
