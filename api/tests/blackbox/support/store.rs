//! Which store the suite runs over, and how many frontends share it: `DRAGON_TEST_STORE` is `embedded`
//! (the default), `postgres` or `foundationdb`, `DRAGON_TEST_FRONTENDS` a number (1 by default).

use std::io::Write as _;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Embedded,
    Postgres,
    FoundationDb,
}

fn store() -> Store {
    match std::env::var("DRAGON_TEST_STORE").as_deref() {
        Err(_) | Ok("embedded") => Store::Embedded,
        Ok("postgres") => Store::Postgres,
        Ok("foundationdb") => Store::FoundationDb,
        Ok(other) => panic!("DRAGON_TEST_STORE is embedded, postgres or foundationdb, not {other}"),
    }
}

/// How many processes make up one server.
pub fn frontends() -> usize {
    let given = std::env::var("DRAGON_TEST_FRONTENDS").ok();
    let frontends = given.map_or(1, |count| count.parse().expect("DRAGON_TEST_FRONTENDS is a number"));
    assert!(frontends > 0, "a server has at least one frontend");
    assert!(frontends == 1 || store() != Store::Embedded, "one process has the embedded store to itself");
    frontends
}

/// The setting for a new store: in this folder, or in a new schema of the Postgres, or under a new prefix of the
/// cluster, that the tests of this process share.
pub fn fresh(data: &Path) -> String {
    match store() {
        Store::Embedded => format!("embedded:{}", data.display()),
        Store::Postgres => dragon_private_postgres::shared_address(&dragon_private_postgres::fresh_schema()),
        Store::FoundationDb => dragon_private_foundationdb::fresh_address(),
    }
}

/// Whether the suite runs over the embedded store. Where it does not, the test that asks is left out, and
/// its reason is shown, past what the test harness holds back of tests that pass.
pub fn only_embedded(reason: &str) -> bool {
    let embedded = store() == Store::Embedded;
    if !embedded {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        writeln!(std::io::stderr(), "{name} is left out: {reason}").unwrap_or_default();
    }
    embedded
}
