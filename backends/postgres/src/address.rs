//! Where a store lies: the database's address, as a URL, and the schema in it.

use crate::failure::AddressError;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use url::Url;

const SCHEMA_DEFAULT: &str = "cloud_dragon";
/// Longest name of a schema: a channel's name of 63 bytes has room for it.
const SCHEMA_BYTES_MAX: usize = 40;
/// What may stand behind the `?` beside `schema`. Others would be ignored by the driver, and a misspelled
/// `sslmode` must not be.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The address of a store: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME&sslmode=MODE`, all of
/// it but the scheme optional, as libpq reads it: what it leaves out comes from `PGHOST`, `PGUSER`,
/// `PGPASSWORD`, `~/.pgpass` and their like. The password is never shown.
#[derive(Clone)]
pub struct Address {
    url: Url,
    options: PgConnectOptions,
    /// A checked name: it can stand in SQL as it is, quoted.
    schema: Arc<str>,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut url = Url::parse(text)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(AddressError::Scheme);
        }
        let (mut schema, mut others) = (None, Vec::new());
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "schema" => schema = Some(value.into_owned()),
                known if PARAMETERS.contains(&known) => others.push((name.into_owned(), value.into_owned())),
                _ => return Err(AddressError::Parameter(name.into_owned())),
            }
        }
        let schema = schema.unwrap_or_else(|| SCHEMA_DEFAULT.into());
        if !names_a_schema(&schema) {
            return Err(AddressError::Schema(schema));
        }
        url.query_pairs_mut().clear().extend_pairs(others);
        let mut options = PgConnectOptions::from_url(&url).map_err(AddressError::Options)?;
        if options.get_application_name().is_none() {
            options = options.application_name("cloud-dragon");
        }
        Ok(Self { options: options.disable_statement_logging(), url, schema: schema.into() })
    }
}

fn names_a_schema(name: &str) -> bool {
    let spelled = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let begun = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    spelled && begun && name.len() <= SCHEMA_BYTES_MAX && !name.starts_with("pg_")
}

impl Address {
    /// The same address with this password, whatever it or the environment said.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.options = self.options.password(password);
        self
    }

    /// The schema's name.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How to connect.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }
}

/// Without the password.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, database) = (&self.options, self.options.get_database().unwrap_or_default());
        let (user, port) = (options.get_username(), options.get_port());
        match options.get_socket() {
            Some(folder) => write!(formatter, "postgres://{user}@{}:{port}/{database}", folder.display())?,
            None => write!(formatter, "postgres://{user}@{}:{port}/{database}", options.get_host())?,
        }
        write!(formatter, "?schema={}", self.schema)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.schema) == (&other.url, &other.schema)
    }
}

impl Eq for Address {}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    #[test]
    fn the_parts_of_an_address_are_read() {
        let address = address(
            "postgres://me:secret%21@db.example:5433/dragons?schema=north&sslmode=require&application_name=app",
        )
        .unwrap();
        let options = address.options();
        assert_eq!(
            (options.get_username(), options.get_host(), options.get_port()),
            ("me", "db.example", 5433)
        );
        assert_eq!((options.get_database(), address.schema()), (Some("dragons"), "north"));
        assert_eq!(options.get_application_name(), Some("app"));
        assert_eq!(address.to_string(), "postgres://me@db.example:5433/dragons?schema=north");
        assert_eq!(super::Address::from_str("postgresql://h/d").unwrap().schema(), "cloud_dragon");
    }

    #[test]
    fn the_password_is_never_shown() {
        let address = address("postgres://me:secret@h/d").unwrap();
        assert!(!format!("{address} {address:?} {address:#?}").contains("secret"));
        let address = address.with_password("hidden");
        assert!(!format!("{address} {address:?} {address:#?}").contains("hidden"));
        for wrong in [
            "postgres://me:secret@h:port/d",
            "postgres://me:secret@h/d?sslmode=secret",
            "mysql://me:secret@h/d",
        ] {
            let error = super::Address::from_str(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("me:secret"), "{error:?}");
        }
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        assert!(
            matches!(address("postgres://h/d?ssl_mode=require"), Err(AddressError::Parameter(name)) if name == "ssl_mode")
        );
        assert!(matches!(address("postgres://h/d?sslmode=perhaps"), Err(AddressError::Options(_))));
        assert!(matches!(address("mysql://h/d"), Err(AddressError::Scheme)));
        assert!(matches!(address("nonsense"), Err(AddressError::Url(_))));
    }

    #[test]
    fn names_of_schemas_are_checked() {
        for good in ["dragon", "_d1", &"x".repeat(40)] {
            assert!(address(&format!("postgres://h/d?schema={good}")).is_ok(), "{good}");
        }
        for bad in ["", "1a", "A", "a\"b", "a-b", "pg_x", &"x".repeat(41)] {
            let refused = address(&format!("postgres://h/d?schema={bad}"));
            assert!(matches!(refused, Err(AddressError::Schema(_))), "{bad}");
        }
    }
}
