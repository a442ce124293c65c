//! Request bodies: bounded in size and time, then read from bytes straight into a type.

use crate::error::{ApiError, Code, MEDIA_TYPE_MESSAGE};
use crate::wire::object::FromObject;
use bytes::{Bytes, BytesMut};
use dragon_core::limits::Limits;
use futures_util::{Stream, StreamExt as _};
use poem::http::header;
use poem::{Body, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::de::DeserializeOwned;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the body of a request is read that is refused for its head.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
/// How much of a body that is too large is read and thrown away, so that the client, which is still
/// sending, gets to read the answer.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// A JSON body, read into a type.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !is_json(request.headers().get(header::CONTENT_TYPE).map(|declared| declared.as_bytes())) {
            return Err(ApiError::new(Code::UnsupportedMediaType, MEDIA_TYPE_MESSAGE).into());
        }
        let bytes_max = request.data::<Arc<Limits>>().map_or(usize::MAX, |limits| limits.request_bytes);
        let bytes =
            read_body(body.take()?, declared_bytes(request), expects_continue(request), bytes_max).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// Reads the body of a request that is refused, within bounds, and throws it away: a connection that is closed with bytes unread takes
/// back the answer.
pub(crate) async fn discard(request: Request) {
    if expects_continue(&request) {
        return; // The client waits for leave to send.
    }
    let chunks = pin!(request.into_body().into_bytes_stream());
    // Who is slow to send gets no answer.
    drop(timeout(DISCARD_TIME_MAX, throw_away(chunks)).await);
}

/// Reads what a client is still sending, so that it gets to read the answer, but no more than [`DISCARDED_BYTES_MAX`].
pub(crate) async fn throw_away<E>(mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(chunk)) = chunks.next().await
        && chunk.len() < left
    {
        left -= chunk.len();
    }
}

/// Whether a body of this `Content-Type` is declared as JSON, or not declared at all.
pub(crate) fn is_json(declared: Option<&[u8]>) -> bool {
    let Some(declared) = declared else { return true };
    if declared == b"application/json" {
        return true;
    }
    let media_type = declared.split(|byte| *byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    media_type == b"application/json"
        || (media_type.starts_with(b"application/") && media_type.ends_with(b"+json"))
}

fn declared_bytes(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn expects_continue(request: &Request) -> bool {
    request.headers().contains_key(header::EXPECT)
}

async fn read_body(
    body: Body,
    declared: Option<usize>,
    expects_continue: bool,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("The body is larger than {bytes_max} bytes; split the request.");
        Err(ApiError::new(Code::PayloadTooLarge, message))
    };
    let is_declared_too_large = declared.is_some_and(|bytes| bytes > bytes_max);
    if is_declared_too_large && expects_continue {
        return too_large(); // The client waits for leave to send.
    }
    let deadline = Instant::now() + BODY_TIME_MAX;
    let mut chunks = Box::pin(body.into_bytes_stream());
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    let mut read_bytes = 0;
    loop {
        let chunk = match timeout_at(deadline, chunks.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => {
                let message = format!("The body did not arrive whole: {error}.");
                return Err(ApiError::new(Code::InvalidRequest, message));
            }
            Err(_) => {
                let message = format!("The body did not arrive within {} seconds.", BODY_TIME_MAX.as_secs());
                return Err(ApiError::new(Code::InvalidRequest, message));
            }
        };
        read_bytes += chunk.len();
        if read_bytes > DISCARDED_BYTES_MAX {
            break;
        }
        if is_declared_too_large || read_bytes > bytes_max {
            (whole, joined) = (Bytes::new(), BytesMut::new());
        } else if whole.is_empty() && joined.is_empty() {
            whole = chunk; // Most bodies come as one chunk, which is not copied.
        } else {
            if joined.is_empty() {
                joined.reserve(declared.unwrap_or_default().min(bytes_max));
                joined.extend_from_slice(&std::mem::take(&mut whole));
            }
            joined.extend_from_slice(&chunk);
        }
    }
    if is_declared_too_large || read_bytes > bytes_max {
        return too_large();
    }
    Ok(if joined.is_empty() { whole } else { joined.freeze() })
}

/// Reads JSON. Only when that fails it is read again with a look at the path, to name the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let read = serde_json::from_slice::<FromObject<T>>(bytes);
    read.map(|FromObject(value)| value).map_err(|error| {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let path = match serde_path_to_error::deserialize::<_, FromObject<T>>(&mut deserializer) {
            Err(error) => error.path().to_string(),
            Ok(_) => String::new(),
        };
        let field = if matches!(path.as_str(), "" | "." | "?") { "the request" } else { &path };
        ApiError::new(Code::InvalidRequest, format!("{field}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::db::DbRequest;

    fn problem(json: &str) -> String {
        parse::<DbRequest>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_field() {
        for (json, field) in [
            (r#"{"KVSet":[{"Key":"a","Value":1},{"Key":"b","TTL":"x","Value":1}]}"#, "KVSet[1].TTL"),
            (r#"{"Atomic":[{"Key":"a","Add":9223372036854775808}]}"#, "Atomic[0].Add"),
            (r#"{"LockDur":-1}"#, "LockDur"),
            (r#"{"Unlock":"12x"}"#, "Unlock"),
            (r#"{"Unlock":"+1"}"#, "Unlock"),
            (r#"{"KVGet":[{"Key":"a","Kye":1}]}"#, "Kye"),
            (r#"{"LockID":"a","LockID":"b"}"#, "LockID"),
            (r#"{"KVGet":[{"Key":"\ud800"}]}"#, "KVGet[0].Key"),
            (r#"{"KVGet":[["k"]]}"#, "KVGet[0]"),
        ] {
            let problem = problem(json);
            assert!(problem.contains(field), "{json}: {problem}");
        }
        for broken in ["", "{", "[]", "[null,null]", "{} x", "\"\"", "\u{1}", &"[".repeat(100_000)] {
            assert!(problem(broken).starts_with("the request: "), "{}", problem(broken));
        }
    }

    #[test]
    fn what_a_client_sent_does_not_make_a_message_long() {
        for letter in ["x", "é", "\u{1f409}"] {
            let text = letter.repeat(1 << 20);
            let unknown = problem(&format!("{{\"{text}\":1}}"));
            let typed = problem(&format!("{{\"LockDur\":\"{text}\"}}"));
            for (problem, told) in [(unknown, "expected one of"), (typed, "LockDur: ")] {
                assert!(problem.len() <= 2_048 && problem.contains(told), "{problem}");
            }
        }
    }

    #[test]
    fn values_are_kept_byte_for_byte() {
        for value in [
            "null",
            "1E400",
            "{ \"b\":1, \"a\": [\"\\ud800\\u0041\"] ,\"b\":2}",
            "123456789012345678901234567890",
        ] {
            let json = format!(r#"{{"KVSet":[{{"Key":"a","Value": {value} }}],"KVGet":null}}"#);
            let request: DbRequest = parse(json.as_bytes()).unwrap();
            let stored = request.kv_set.unwrap().remove(0).value.unwrap().into_bytes();
            assert_eq!(stored, value.as_bytes());
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(
            parse::<DbRequest>(format!(r#"{{"KVSet":[{{"Key":"a","Value":{deep}}}]}}"#).as_bytes()).is_ok()
        );
    }
}
