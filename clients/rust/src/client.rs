//! The server: where it is, and how it is spoken to.

use crate::error::Refusal;
use crate::{Account, Error, RetryPolicy};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, StatusCode, Url};
use rustls::crypto::{CryptoProvider, ring};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer that is none of Cloud Dragon's is shown.
const SHOWN_CHARS: usize = 200;

/// A server, or several behind one URL. It is cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
    timeout: Duration,
    retry: RetryPolicy,
}

/// How a [`Client`] is made.
///
/// It goes by the proxies that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), as curl does;
/// but not to a server at `localhost` or a loopback address, which no proxy can reach. [`http`](Self::http) takes a client
/// that goes by others, or by none.
#[derive(Clone, Debug)]
#[must_use = "it makes a client by `build`"]
pub struct ClientBuilder {
    url: String,
    token: Option<HeaderValue>,
    authorities: Vec<Certificate>,
    /// What was given that can't be used.
    wrong: Option<&'static str>,
    http: Option<reqwest::Client>,
    timeout: Duration,
    connect_timeout: Duration,
    retry: RetryPolicy,
}

impl ClientBuilder {
    /// The token that says who one is. No log and no error shows it.
    pub fn token(mut self, token: &str) -> Self {
        match HeaderValue::try_from(format!("Bearer {token}")) {
            Ok(mut header) => {
                header.set_sensitive(true);
                self.token = Some(header);
            }
            Err(_) => self.wrong = Some("the token has characters that no token has"),
        }
        self
    }

    /// Believes these authorities, in PEM, besides those that the machine believes: for a server whose certificate is
    /// signed by one's own.
    pub fn authorities(mut self, pem: &[u8]) -> Self {
        match Certificate::from_pem_bundle(pem) {
            Ok(authorities) if !authorities.is_empty() => self.authorities.extend(authorities),
            _ => self.wrong = Some("there are no certificates in PEM where the authorities should be"),
        }
        self
    }

    /// Sends by this HTTP client: for certificates, a proxy or connections of one's own. It should follow no redirects and
    /// speak HTTP/1.1, by which a request that is given up closes its connection: on one of HTTP/2 that has died, all
    /// requests hang until it is found out. Authorities and the time to connect are its own,
    /// and it can be built only once rustls has a provider: this crate installs one with the first client that it makes by itself.
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// How long an answer may take, beyond what the request itself tells the server to wait; 15 s when not given.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long it may take until a connection is there; 5 s when not given.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// When requests are sent again that may be.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The client. It connects only when a request is sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the URL or the token is none.
    pub fn build(self) -> Result<Client, Error> {
        if let Some(wrong) = self.wrong {
            return Err(Error::Invalid(wrong.to_owned()));
        }
        let base = base(&self.url)?;
        let http = match self.http {
            Some(http) => http,
            None => http(self.connect_timeout, self.authorities, is_on_this_machine(&base))?,
        };
        let (token, timeout, retry) = (self.token, self.timeout, self.retry);
        Ok(Client(Arc::new(Inner { http, base, token, timeout, retry })))
    }
}

fn base(url: &str) -> Result<Url, Error> {
    let wrong = || Error::Invalid("the server's URL must be like http://127.0.0.1:8080".to_owned());
    let mut base = Url::parse(url).map_err(|_| wrong())?;
    let has_more = base.query().is_some() || base.fragment().is_some();
    let has_user = !base.username().is_empty() || base.password().is_some();
    if !matches!(base.scheme(), "http" | "https") || has_more || has_user {
        return Err(wrong());
    }
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    Ok(base)
}

/// Whether the server is one that a proxy would look for on its own machine.
fn is_on_this_machine(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
    is_loopback || host == "localhost" || host.ends_with(".localhost")
}

fn http(
    connect_timeout: Duration,
    authorities: Vec<Certificate>,
    is_direct: bool,
) -> Result<reqwest::Client, Error> {
    if CryptoProvider::get_default().is_none() {
        // Where another thread was faster, its choice holds.
        drop(ring::default_provider().install_default());
    }
    // By HTTP/1.1 a request that is given up closes its connection: the server sees at once that nobody waits any more,
    // and the next request does not go by a connection that may be dead. A redirect would turn a request into another.
    let builder = reqwest::Client::builder().http1_only().redirect(reqwest::redirect::Policy::none());
    let builder = if is_direct { builder.no_proxy() } else { builder };
    builder.connect_timeout(connect_timeout).tls_certs_merge(authorities).build().map_err(Error::of_transport)
}

impl Client {
    /// A client of the server at this URL, which may have a path. Everything else is as it usually is.
    ///
    /// # Errors
    /// [`Error::Invalid`] when this is no URL.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// A client of the server at this URL, with settings.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            token: None,
            authorities: Vec::new(),
            wrong: None,
            http: None,
            timeout: TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            retry: RetryPolicy::default(),
        }
    }

    /// An account of the server. It comes into being with its first write.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name has not 1–128 bytes of `A-Z a-z 0-9 _ . -`, or is `.` or `..`.
    pub fn account(&self, name: &str) -> Result<Account, Error> {
        Account::new(self.clone(), name)
    }

    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        self.0.retry
    }

    /// Sends one request and reads its answer: `None` when it has no body. The server may hold the answer back for `hold`.
    pub(crate) async fn post(&self, path: &str, body: Bytes, hold: Duration) -> Result<Option<Bytes>, Error> {
        let url = self.0.base.join(path).map_err(|error| Error::Invalid(error.to_string()))?;
        let mut request = self.0.http.post(url).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.0.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let request = request.timeout(self.0.timeout.saturating_add(hold)).body(body);
        let response = request.send().await.map_err(Error::of_transport)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(Error::of_transport)?;
        match status {
            StatusCode::OK => Ok(Some(body)),
            StatusCode::NO_CONTENT => Ok(None),
            _ => Err(refused(status, &headers, &body)),
        }
    }
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(mut refusal) => {
            refusal.status = status.as_u16();
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            refusal.retry_after = seconds.map(Duration::from_secs);
            Error::Refused(Box::new(refusal))
        }
        Err(_) => Error::NotCloudDragon {
            status: status.as_u16(),
            detail: String::from_utf8_lossy(body).chars().take(SHOWN_CHARS).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, base, is_on_this_machine};

    #[test]
    fn a_path_of_the_url_is_kept() {
        let at = |url| base(url).unwrap().join("db/a").unwrap().to_string();
        assert_eq!(at("http://127.0.0.1:8080"), "http://127.0.0.1:8080/db/a");
        assert_eq!(at("https://dragon.example/team/x"), "https://dragon.example/team/x/db/a");
        assert_eq!(at("https://dragon.example/team/x/"), "https://dragon.example/team/x/db/a");
        for wrong in ["", "dragon", "ftp://dragon", "http://", "http://a/?b", "http://me:secret@a/"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers_on_this_machine_are_told_from_others() {
        let is_here = |host: &str| is_on_this_machine(&base(&format!("http://{host}:8080/")).unwrap());
        for here in [
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "LocalHost",
            "localhost.",
            "a.localhost",
        ] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in
            ["10.0.0.1", "[::2]", "dragon", "localhost.example", "notlocalhost", "127.0.0.1.example"]
        {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn nothing_shows_the_token() {
        let builder = Client::builder("http://127.0.0.1:1").token("secret");
        assert!(!format!("{builder:?}").contains("secret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("secret"));
        let error = Client::builder("http://127.0.0.1:1").token("sec\nret").build().unwrap_err();
        assert!(!format!("{error:?}").contains("sec"));
    }
}
