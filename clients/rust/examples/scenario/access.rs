//! Tokens, and what they are good for; clients with settings.

use crate::place::{Outcome, Place, refusal};
use dragon_client::{Client, Code, RetryPolicy};
use reqwest::redirect::Policy;
use std::time::Duration;

pub async fn asks_for_tokens(place: &Place) -> Outcome {
    let nobody = Client::new(&place.server)?.account(&place.account)?;
    let refused = refusal(nobody.set("auth", "nobody").await)?;
    assert_eq!((refused.status, refused.code), (401, Code::Unauthorized));

    let reader = place.account_by(&place.server, &place.read_token)?;
    let refused = refusal(reader.set("auth", "reader").await)?;
    assert_eq!((refused.status, refused.code), (403, Code::Forbidden));

    assert!(!reader.get("auth").await?.exists());
    assert!(reader.values("").all().await?.is_empty());
    Ok(())
}

pub async fn has_settings(place: &Place) -> Outcome {
    let client = Client::builder(&place.server)
        .token(&place.token)
        .timeout(Duration::from_secs(5))
        .connect_timeout(Duration::from_secs(1))
        .retry(RetryPolicy::lasting(Duration::from_secs(120)))
        .build()?;
    client.account(&place.account)?.set("settings", "others").await?;

    let client = by_own_http(&place.server, &place.token)?;
    let read = client.account(&place.account)?.get("settings").await?;
    assert_eq!(read.json::<String>()?.as_deref(), Some("others"));
    Ok(())
}

/// A client by an HTTP client of one's own: for a proxy, say, or a certificate that shows who the client is.
fn by_own_http(server: &str, token: &str) -> Outcome<Client> {
    // reqwest panics without a provider of TLS. Where there is one already, it stays.
    drop(rustls::crypto::ring::default_provider().install_default());
    let http = reqwest::Client::builder().http1_only().redirect(Policy::none());
    let http = http.connect_timeout(Duration::from_secs(5)).build()?;
    Ok(Client::builder(server).token(token).http(http).build()?)
}
