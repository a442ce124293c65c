//! Web pages must not reach a server that asks for no token. A browser says which page a request comes
//! from (`Origin`), and which name it used for the server (`Host`): a page elsewhere has another
//! origin, and one that had its own name point to this machine (DNS rebinding) uses that name.

use crate::error::{ApiError, Code};
use poem::http::Uri;
use std::net::{IpAddr, SocketAddr};

/// Which names are the server's own.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// An address of clients that other machines can reach does not: people name it as they like.
    checks_host: bool,
    /// What most clients call it: needs no closer look.
    address: String,
    allowed: Vec<String>,
}

impl Guard {
    pub(crate) fn new(listen: SocketAddr, allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        Self { checks_host: listen.ip().is_loopback(), address: listen.to_string(), allowed }
    }

    /// One that checks the name wherever it listens: a page that has its own name point there would be no foreign one.
    pub(crate) fn strict(listen: SocketAddr, allowed: &[String]) -> Self {
        Self { checks_host: true, ..Self::new(listen, allowed) }
    }

    /// Refuses what a foreign page could have sent.
    pub(crate) fn check(&self, host: Option<&[u8]>, origin: Option<&[u8]>) -> Result<(), ApiError> {
        if origin.is_none() && host == Some(self.address.as_bytes()) {
            return Ok(());
        }
        let visible = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
        let text = |value: &[u8]| match std::str::from_utf8(value) {
            Ok(text) if value.iter().all(visible) => text.to_ascii_lowercase(),
            _ => "?".to_owned(),
        };
        let host = host.map(text).unwrap_or_default();
        if self.checks_host && !host.is_empty() && !self.is_own(name_of(&host)) {
            let message = format!(
                "The host {host:?} is not this server's; use its address, localhost, or --allow-host."
            );
            return Err(ApiError::new(Code::Forbidden, message));
        }
        let Some(origin) = origin.map(text) else { return Ok(()) };
        let authority = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
        let is_same = authority.as_deref() == Some(host.as_str());
        if is_same
            || authority.is_some_and(|authority| self.allowed.iter().any(|name| name == name_of(&authority)))
        {
            return Ok(());
        }
        let message = format!(
            "The origin {origin:?} is not this server's; a page elsewhere must not use it, unless --allow-host names it."
        );
        Err(ApiError::new(Code::Forbidden, message))
    }

    fn is_own(&self, name: &str) -> bool {
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok() || name == "localhost" || self.allowed.iter().any(|allowed| allowed == name)
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, host: &str, origin: Option<&str>) -> bool {
        guard.check(Some(host.as_bytes()), origin.map(str::as_bytes)).is_ok()
    }

    #[test]
    fn pages_elsewhere_are_refused() {
        let local = Guard::new("127.0.0.1:8080".parse().unwrap(), &["dev.example".into()]);
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "dev.example", "LOCALHOST"] {
            assert!(check(&local, host, None), "{host}");
        }
        assert!(!check(&local, "evil.example:8080", None));
        assert!(check(&local, "localhost:8080", Some("http://localhost:8080")));
        assert!(check(&local, "localhost:8080", Some("https://dev.example")));
        for origin in ["http://evil.example", "null", "http://localhost:3000", "file://"] {
            assert!(!check(&local, "localhost:8080", Some(origin)), "{origin}");
        }
        let public = Guard::new("0.0.0.0:8080".parse().unwrap(), &[]);
        assert!(check(&public, "dragon.svc:8080", None));
        assert!(!check(&public, "dragon.svc:8080", Some("http://evil.example")));
    }
}
