//! Answers' bytes, as hyper would write them.

use crate::admission::{REQUEST_ID, RequestId};
use crate::error::{ApiError, SCHEME};
use bytes::Bytes;
use dragon_core::json::push_number;
use poem::http::StatusCode;
use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `None` = no body, as for 204.
    pub(super) json: Option<Bytes>,
    /// Seconds after which to send the request again.
    pub(super) retry_after_s: Option<u64>,
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        let (status, retry_after_s) = (error.http_status(), error.retry_after_s());
        Self { status, json: Some(error.body()), retry_after_s }
    }
}

impl Answer {
    /// Appends the head of the answer.
    pub(super) fn write_head(&self, output: &mut Vec<u8>, request_id: &RequestId, is_last: bool) {
        output.extend_from_slice(b"HTTP/1.1 ");
        output.extend_from_slice(self.status.as_str().as_bytes());
        output.push(b' ');
        output.extend_from_slice(self.status.canonical_reason().unwrap_or_default().as_bytes());
        if self.json.is_some() {
            output.extend_from_slice(b"\r\ncontent-type: application/json");
        }
        if let Some(retry_after_s) = self.retry_after_s {
            output.extend_from_slice(b"\r\nretry-after: ");
            push_number(output, retry_after_s);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            output.extend_from_slice(b"\r\nwww-authenticate: ");
            output.extend_from_slice(SCHEME.as_bytes());
        }
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(REQUEST_ID.as_bytes());
        output.extend_from_slice(b": ");
        // Writing into a Vec can't fail.
        write!(output, "{request_id}").unwrap_or_default();
        if is_last {
            output.extend_from_slice(b"\r\nconnection: close");
        }
        if let Some(json) = &self.json {
            output.extend_from_slice(b"\r\ncontent-length: ");
            push_number(output, json.len());
        }
        output.extend_from_slice(b"\r\ndate: ");
        push_date(output);
        output.extend_from_slice(b"\r\n\r\n");
    }
}

/// Appends the date, which is written anew once a second and thread.
fn push_date(output: &mut Vec<u8>) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    DATE.with_borrow_mut(|(written_s, date)| {
        if *written_s != now_s {
            *date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now_s));
            *written_s = now_s;
        }
        output.extend_from_slice(date.as_bytes());
    });
}
