//! What the document says of answers: the statuses, what each means, and the headers that come with it.

use crate::error::{ErrorShape, SCHEME};
use poem::http::header;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef,
};
use poem_openapi::types::Type;

const FORBIDDEN: (u16, &str) =
    (403, "`forbidden`: the token does not have the right; or a host or origin that is not the server's own");
const UNAUTHORIZED: (u16, &str) = (401, "`unauthorized`: no token, or one that is not known or has expired");
const UNAVAILABLE: (u16, &str) =
    (503, "`unavailable`: nothing was applied, send it again after Retry-After seconds");

/// The answers of an operation on data.
pub(crate) fn answer_meta<T: Type>(more: &[(u16, &'static str)]) -> MetaResponses {
    let errors = [
        (400, "`invalid_request`: the message names the field and says what to change"),
        UNAUTHORIZED,
        FORBIDDEN,
        (404, "`not_found`: no such path, or one that is served at the address for administration only"),
        (413, "`payload_too_large`: the body, a value, or the answer is too large"),
        (429, "`too_many_requests`: over a quota; send it again after Retry-After seconds"),
        (415, "`unsupported_media_type`: the body is declared as something other than JSON"),
        UNAVAILABLE,
    ];
    meta(content::<T>("application/json"), &[&errors, more].concat())
}

/// The answers of an operation that tells how the server does.
pub(crate) fn health_meta<T: Type>() -> MetaResponses {
    meta(content::<T>("application/json"), &[FORBIDDEN, UNAVAILABLE])
}

/// The answers of an operation that tells what the server counts.
pub(crate) fn text_meta(content_type: &'static str) -> MetaResponses {
    meta(content::<String>(content_type), &[UNAUTHORIZED, FORBIDDEN])
}

pub(crate) fn content<T: Type>(content_type: &'static str) -> Vec<MetaMediaType> {
    vec![MetaMediaType { content_type, schema: T::schema_ref() }]
}

fn meta(content: Vec<MetaMediaType>, errors: &[(u16, &'static str)]) -> MetaResponses {
    let mut responses = vec![response(200, "Done, and durable", content)];
    let errors = errors.iter();
    responses.extend(errors.map(|(status, description)| response(*status, description, content_of_errors())));
    responses.sort_by_key(|response| response.status);
    MetaResponses { responses }
}

fn content_of_errors() -> Vec<MetaMediaType> {
    content::<ErrorShape>("application/json")
}

/// One answer.
pub(crate) fn response(status: u16, description: &'static str, content: Vec<MetaMediaType>) -> MetaResponse {
    let seconds = MetaSchema { minimum: Some(1.0), ..MetaSchema::new_with_format("integer", "int64") };
    let headers = match status {
        401 => vec![answer_header(header::WWW_AUTHENTICATE, SCHEME, MetaSchema::new("string"))],
        429 | 503 => {
            vec![answer_header(header::RETRY_AFTER, "After how many seconds to send it again", seconds)]
        }
        _ => Vec::new(),
    };
    MetaResponse { description, status: Some(status), status_range: None, content, headers }
}

fn answer_header(name: header::HeaderName, description: &str, schema: MetaSchema) -> MetaHeader {
    MetaHeader {
        name: name.to_string(),
        description: Some(description.into()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(schema)),
    }
}
