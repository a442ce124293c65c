//! TLS to the database, and a password: what `sslmode` asks for is kept to.

use dragon_contract::conformance::counting::add_one;
use dragon_postgres::{Address, PostgresMetrics, PostgresStore, StoreOptions};
use dragon_private_postgres::Server;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::timeout;

/// An authority, and a certificate of it for 127.0.0.1.
const MAKE: &str = r#"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=another -keyout other.key -out other.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=database -keyout server.key -out server.csr
printf 'subjectAltName=IP:127.0.0.1' >extensions
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem
if [ "$(id -u)" = 0 ]; then chown postgres server.key; fi
chmod 600 server.key
"#;

fn make_certificates(folder: &Path) {
    // The server may run as another user.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("permissions");
    let made = Command::new("sh").args(["-ec", MAKE]).current_dir(folder).output().expect("sh runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

async fn count(address: Address) -> Result<i64, String> {
    let store = PostgresStore::open(&StoreOptions::new(address), PostgresMetrics::default());
    let opened = timeout(Duration::from_secs(30), store.opened()).await.expect("in time");
    opened.map_err(|error| error.to_string())?;
    Ok(add_one(&store).await.expect("it counts"))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_passwords_are_checked() {
    let folder = tempfile::Builder::new().prefix("dragon-tls-").tempdir().expect("a folder");
    make_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let settings = format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nhba_file = '{}'\n",
        file("server.pem"),
        file("server.key"),
        file("hba")
    );
    // Whoever comes without TLS is turned away, and whoever is not the superuser needs a password.
    let hba = "local all all trust\nhostssl all postgres all trust\nhostssl all app all scram-sha-256\n";
    fs::write(file("hba"), hba).expect("rules");
    let server = Server::start_with_tcp(&settings);
    server.execute("CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE SCHEMA dragon AUTHORIZATION app").await;

    let address = |user: &str, parameters: &str| -> Address {
        let url = server.tcp_url().replacen("postgres@", &format!("{user}@"), 1);
        format!("{url}?schema=dragon&{parameters}").parse().expect("an address")
    };
    let verified = format!("sslmode=verify-full&sslrootcert={}", file("ca.pem"));
    assert_eq!(count(address("app:secret", &verified)).await, Ok(1));
    assert_eq!(count(address("app", &verified).with_password("secret")).await, Ok(2));
    assert_eq!(count(address("app:secret", "sslmode=require")).await, Ok(3));

    let refused = count(address("app:wrong", &verified)).await.expect_err("the password is wrong");
    assert!(refused.contains("password") && !refused.contains("wrong"), "{refused}");
    let refused = count(address("app:secret", "sslmode=disable")).await.expect_err("it needs TLS");
    assert!(refused.contains("pg_hba.conf"), "{refused}");
    let another = format!("sslmode=verify-full&sslrootcert={}", file("other.pem"));
    let refused = count(address("app:secret", &another)).await.expect_err("an unknown authority");
    assert!(refused.to_lowercase().contains("certificate"), "{refused}");
}
