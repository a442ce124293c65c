//! Tokens, and their hashes: the one place that makes and compares them.

use dragon_transfer::format::hex;
use rustls::crypto::GetRandomFailed;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq as _;

/// What a token begins with, so that those who look for secrets in the wrong places find it.
const BEGINNING: &str = "dragon_";
const RANDOM_BYTES: usize = 32;
const HASH_BYTES: usize = 32;

/// A secret that gives rights.
pub struct Token(String);

impl Token {
    /// A new one, of 256 random bits.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, GetRandomFailed> {
        let mut bytes = [0; RANDOM_BYTES];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes)?;
        Ok(Self(format!("{BEGINNING}{}", hex(&bytes))))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// The SHA-256 of a token. A slow hash would gain nothing: nobody finds 256 random bits by trying.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; HASH_BYTES]);

impl TokenHash {
    /// That of what came as a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in the same time wherever they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Where to look for it: the first bits say nothing of a token that would help to guess it.
    #[must_use]
    pub fn slot(&self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

impl FromStr for TokenHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a hash is the 64 hexadecimal digits of a SHA-256";
        if text.len() != 2 * HASH_BYTES || !text.is_ascii() {
            return Err(wrong);
        }
        let mut hash = [0; HASH_BYTES];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong)?;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(token.reveal().len(), BEGINNING.len() + 2 * RANDOM_BYTES);
        let written: TokenHash = String::from(token.hash()).parse().unwrap();
        assert!(written.is(&token.hash()) && !written.is(&other.hash()));
        assert!(!format!("{token:?}").contains(token.reveal()));
        for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            assert!(bad.parse::<TokenHash>().is_err(), "{bad}");
        }
    }
}
