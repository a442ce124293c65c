//! TLS, by rustls: certificates from files that are read again when they change.

use crate::metrics::ReloadMetrics;
use crate::reload::{ReloadError, Reloaded};
use clap::Args;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on how to encrypt.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// What is spoken inside, the best first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Has clients in this process use the same cryptography as the server.
pub(crate) fn choose_provider() {
    // Another part of the program may have chosen already.
    drop(ring::default_provider().install_default());
}

/// Whether connections are encrypted, and how.
#[derive(Clone, Debug, Args)]
pub struct TlsSettings {
    /// File of the server's certificate and those that vouch for it, in PEM; read again when it changes
    #[arg(long, env = "DRAGON_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// File of the certificate's private key, in PEM; read again when it changes
    #[arg(long, env = "DRAGON_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// File of the authorities, in PEM, one of which must vouch for each client's certificate; without it clients need none
    #[arg(long, env = "DRAGON_TLS_CLIENT_CA", requires = "tls_cert", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// What encrypts connections, if they are to be.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub(crate) fn open(&self, metrics: &ReloadMetrics) -> Result<Option<Tls>, ReloadError> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let files = [cert, key].into_iter().chain(&self.tls_client_ca).cloned().collect();
        Ok(Some(Tls(Reloaded::open("tls", files, metrics, |contents| match contents {
            [cert, key, client_ca @ ..] => config(cert, key, client_ca.first().map(Vec::as_slice)),
            _ => Err("files are missing".into()),
        })?)))
    }
}

fn config(cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<ServerConfig, String> {
    let certs = certificates(cert, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key: {error}"))?;
    let provider = Arc::new(ring::default_provider());
    let versions =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| error.to_string())?;
    let clients = match client_ca {
        Some(authorities) => versions.with_client_cert_verifier(verifier(authorities, provider)?),
        None => versions.with_no_client_auth(),
    };
    let config = clients.with_single_cert(certs, key);
    let mut config = config.map_err(|error| format!("the certificate and its key: {error}"))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(format!("the {what}: there is none in the file")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("the {what}: {error}")),
    }
}

fn verifier(
    authorities: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let wrong = |error: &dyn Error| format!("the clients' authorities: {error}");
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, "clients' authorities")? {
        roots.add(authority).map_err(|error| wrong(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
    verifier.map_err(|error| wrong(&error))
}

/// What encrypts connections.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<Reloaded<ServerConfig>>);

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Tls {
    /// Agrees with a client, and tells what it will speak.
    ///
    /// # Errors
    /// When they can't agree, or not in time.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, Http), Box<dyn Error + Send + Sync>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.current()));
        let stream = tokio::time::timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await??;
        let is_two = stream.get_ref().1.alpn_protocol() == Some(PROTOCOLS[0]);
        Ok((stream, if is_two { Http::Two } else { Http::One }))
    }
}
