//! A server, over HTTP.

use super::CliError;
use super::files::Pieces;
use crate::tls::choose_provider;
use dragon_backups::with_causes;
use dragon_contract::AccountsPage;
use dragon_core::cell::Account;
use dragon_core::limits::LIST_ENTRIES_MAX;
use dragon_transfer::{Imported, Mode};
use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Body, Client, ClientBuilder, Request, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long it may take until a connection is there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    base: Url,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    account: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Accounts {
    accounts: Vec<Listed>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Import {
    rows: u64,
    version: u64,
}

#[derive(Deserialize)]
struct Backup {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
    message: String,
}

impl Remote {
    pub(super) fn new(server: &str, token: Option<&str>) -> Result<Self, CliError> {
        Self::by(Client::builder(), server, token)
    }

    /// Without a proxy, whatever the environment says of one: it is this very server that is asked.
    pub(super) fn direct(server: &str) -> Result<Self, CliError> {
        Self::by(Client::builder().no_proxy(), server, None)
    }

    fn by(client: ClientBuilder, server: &str, token: Option<&str>) -> Result<Self, CliError> {
        let wrong =
            || CliError::new(format!("the server {server:?}"), "give its URL, as in http://127.0.0.1:8080");
        choose_provider();
        let mut base = Url::parse(server).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong());
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let bearer = HeaderValue::try_from(format!("Bearer {token}"));
            let mut bearer = bearer.map_err(|_| CliError::new("--token", "this is no token"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let client = client.default_headers(headers).connect_timeout(CONNECT_TIME_MAX).build();
        Ok(Self { client: client.map_err(|error| CliError::new("the client", with_causes(&error)))?, base })
    }

    fn url(&self, path: &str) -> Result<Url, CliError> {
        self.base.join(path).map_err(|error| CliError::new(path, error))
    }

    async fn answer(&self, request: Result<Request, reqwest::Error>) -> Result<Response, CliError> {
        let failed = |error: reqwest::Error| CliError::new(&self.base, with_causes(&error));
        let response = self.client.execute(request.map_err(failed)?).await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(failed)?;
        Err(match serde_json::from_slice(&body) {
            Ok(Refusal { code, message }) => CliError::new(code, message),
            Err(_) => CliError::new(&self.base, format!("answered {status}, as no Cloud Dragon does")),
        })
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, CliError> {
        let failed = |error: reqwest::Error| CliError::new(&self.base, with_causes(&error));
        let body = response.bytes().await.map_err(failed)?;
        serde_json::from_slice(&body).map_err(|error| CliError::new(&self.base, error))
    }

    pub(super) async fn accounts(&self, after: Option<&Account>) -> Result<AccountsPage, CliError> {
        let mut url = self.url("accounts")?;
        url.query_pairs_mut().append_pair("limit", &LIST_ENTRIES_MAX.to_string());
        if let Some(after) = after {
            url.query_pairs_mut().append_pair("after", after.as_str());
        }
        let response = self.answer(self.client.get(url).build()).await?;
        let Accounts { accounts, more } = self.json(response).await?;
        let accounts: Result<_, _> = accounts.iter().map(|listed| Account::new(&listed.account)).collect();
        let accounts = accounts.map_err(|error| CliError::new(&self.base, error))?;
        Ok(AccountsPage { accounts, more })
    }

    /// Whether it answers at one of its paths for that.
    pub(super) async fn health(&self, path: &str) -> Result<(), CliError> {
        self.answer(self.client.get(self.url(path)?).build()).await.map(drop)
    }

    /// Has it take a backup, and gives the id.
    pub(super) async fn backup(&self) -> Result<String, CliError> {
        let response = self.answer(self.client.post(self.url("backups")?).build()).await?;
        Ok(self.json::<Backup>(response).await?.id)
    }

    pub(super) async fn export(&self, account: &Account) -> Result<Pieces, CliError> {
        let url = self.url(&format!("export/{account}"))?;
        let response = self.answer(self.client.get(url).build()).await?;
        let base = self.base.clone();
        let pieces = response.bytes_stream();
        Ok(pieces.map(move |piece| piece.map_err(|error| CliError::new(&base, with_causes(&error)))).boxed())
    }

    pub(super) async fn import(
        &self,
        account: &Account,
        mode: Mode,
        pieces: Pieces,
    ) -> Result<Imported, CliError> {
        let mode = match mode {
            Mode::Empty => "empty",
            Mode::Replace => "replace",
        };
        let url = self.url(&format!("import/{account}?mode={mode}"))?;
        let request = self.client.post(url).header("content-type", "application/x-ndjson");
        let response = self.answer(request.body(Body::wrap_stream(pieces)).build()).await?;
        let Import { rows, version } = self.json(response).await?;
        Ok(Imported { rows, revision: version })
    }
}
