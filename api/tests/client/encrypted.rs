//! A server that speaks TLS with a certificate of one's own authority.

use crate::place::{ACCOUNT, Place, seconds};
use crate::support::eventually;
use dragon_client::{Account, Client, Error, RetryPolicy};
use std::process::Command;
use tempfile::TempDir;

/// An authority, and a certificate for this machine that it has signed.
const MAKE: &str = r#"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=ca" -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj "/CN=server" -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > extensions
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem
"#;

/// A server that speaks TLS.
struct Encrypted {
    url: String,
    /// Who has signed its certificate, in PEM.
    authority: Vec<u8>,
    _place: Place,
    _certificates: TempDir,
}

fn encrypted() -> Encrypted {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh").args(["-ec", MAKE]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = [("DRAGON_TLS_CERT", path("server.pem")), ("DRAGON_TLS_KEY", path("server.key"))];
    let place = Place::start_with(&settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    let url = format!("https://{}", place.server.address());
    let authority = std::fs::read(path("ca.pem")).unwrap();
    Encrypted { url, authority, _place: place, _certificates: folder }
}

async fn until_waiting(account: &Account, waiting: u64) {
    eventually("the length of the queue", || async {
        let locks = account.locks("l").all().await.unwrap();
        locks.first().is_some_and(|lock| lock.waiting == waiting).then_some(())
    })
    .await;
}

/// Takes the lock, waits for it, leaves the queue, and waits again.
async fn use_a_lock(account: &Account) {
    let first = account.lock("l").lease(seconds(60)).acquire().await.unwrap();
    let waiting = tokio::spawn(account.lock("l").wait(seconds(60)).acquire());
    until_waiting(account, 1).await;
    waiting.abort();
    until_waiting(account, 0).await;
    let waiting = tokio::spawn(account.lock("l").wait(seconds(60)).acquire());
    until_waiting(account, 1).await;
    first.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn authorities_are_believed_that_are_given_and_no_others() {
    let Encrypted { url, authority, .. } = &encrypted();
    let client = Client::builder(url).authorities(authority).build().unwrap();
    use_a_lock(&client.account(ACCOUNT).unwrap()).await;

    let stranger = Client::builder(url).retry(RetryPolicy::never()).build().unwrap();
    let error = stranger.account(ACCOUNT).unwrap().add("n", 1).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    let error = Client::builder(url).authorities(b"none").build().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
}

/// By HTTP/2 all of a client's requests share a connection: one that is given up must be told to the server.
#[tokio::test]
async fn a_client_of_ones_own_may_speak_http_2() {
    let Encrypted { url, authority, .. } = &encrypted();
    drop(rustls::crypto::ring::default_provider().install_default());
    let authority = reqwest::Certificate::from_pem(authority).unwrap();
    let http = reqwest::Client::builder().tls_certs_merge([authority]).build().unwrap();
    assert_eq!(
        http.get(format!("{url}/health/live")).send().await.unwrap().version(),
        reqwest::Version::HTTP_2
    );
    let client = Client::builder(url).http(http).build().unwrap();
    use_a_lock(&client.account(ACCOUNT).unwrap()).await;
}
