//! The client that progenitor generates from Cloud Dragon's OpenAPI document. `docs/clients/progenitor.md` is its guide.

use std::time::Duration;

use progenitor_client::{ClientHooks, ClientInfo, OperationInfo};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Body, Request, Response, StatusCode};

mod timeout;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}

pub use generated::{ByteStream, Client, Error, ResponseValue, types};

/// Any JSON: its text, byte for byte.
pub type Json = Box<serde_json::value::RawValue>;

/// A client that shows this token. Without a token `Client::new` is enough.
pub fn connect(server: &str, token: &str) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))?;
    authorization.set_sensitive(true);
    let http = reqwest::Client::builder()
        .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]))
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(timeout::SECONDS))
        .build()?;
    Ok(Client::new_with_client(server, http))
}

impl ClientHooks for Client {
    /// Gives a 204, which has no body, the one that is read as `None`: build.rs has said so of a watch.
    async fn exec(&self, request: Request, _: &OperationInfo) -> reqwest::Result<Response> {
        let response = self.client().execute(request).await?;
        if response.status() != StatusCode::NO_CONTENT {
            return Ok(response);
        }
        Ok(http::Response::<Body>::from(response).map(|_| "null").into())
    }
}
