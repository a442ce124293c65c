//! The dashboard, the alert rules and the scrape configuration, against a real Prometheus that scrapes a real server.

use crate::access::TokensFile;
use crate::support::{Account, Connection, eventually, request_bytes};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn given(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../observability");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// A running Prometheus. Dropping it kills it.
struct Prometheus(Child, std::net::SocketAddr);

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Prometheus {
    /// With the files as they are given, but for the server's address and the time between scrapes.
    fn start(folder: &Path, target: &str) -> Self {
        let config = given("prometheus.yaml").replace("127.0.0.1:8080", target);
        assert!(config.contains(target));
        let config = format!("global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n{config}");
        fs::write(folder.join("prometheus.yaml"), config).unwrap();
        fs::write(folder.join("alerts.yaml"), given("alerts.yaml")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus is installed (packages.sh)");
        Self(process, address)
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let mut connection = Connection::try_open(self.1).await.ok()?;
        let answer = connection.try_get(path).await.ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// What an expression finds; `None` where it is none.
    async fn find(&self, expression: &str) -> Option<Vec<Value>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await?;
        Some(answer["data"]["result"].as_array().unwrap().clone())
    }
}

/// The names of metrics in an expression.
fn metrics(expression: &str) -> Vec<String> {
    let words = expression.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("dragon_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_what_there_is() {
    let file = TokensFile::new();
    let token = file.token("prometheus", "*", "admin").await;
    let server = file.server();
    // One server of perhaps several.
    let account = Account::of(&server, "x").on_one_frontend();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
    let prometheus = Prometheus::start(folder.path(), &account.address().to_string());

    eventually("the server is scraped", async || {
        // Something has to happen while it is looked at.
        let mut connection = Connection::open(account.address()).await;
        let request = request_bytes(&account.path("db"), br#"{"Atomic":[{"Key":"n","Add":1}]}"#);
        let head = format!("Authorization: Bearer {token}\r\nContent-Length:");
        let request = String::from_utf8(request).unwrap().replace("Content-Length:", &head);
        connection.exchange(request.as_bytes()).await.ok();
        connection.get("/metrics").await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let found =
            prometheus.find("rate(dragon_requests_total{route=\"/db\",code=\"200\"}[10s]) > 0").await?;
        (!found.is_empty()).then_some(())
    })
    .await;

    let dashboard: Value = serde_json::from_str(&given("dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in &expressions {
        let expression = expression.replace("$__rate_interval", "10s").replace("$instance", ".*");
        let found = prometheus.find(&expression).await;
        let found = found.unwrap_or_else(|| panic!("Prometheus does not understand {expression}"));
        // No backup was taken, so it has no age; no embedded store, no moves.
        assert!(!found.is_empty() || expression.contains("> 0"), "nothing to show: {expression}");
    }
    let rules = eventually("the rules are evaluated", async || {
        let rules = prometheus.get("/api/v1/rules").await?["data"]["groups"][0]["rules"].as_array()?.clone();
        let is_evaluated = |rule: &Value| rule["health"] != "unknown";
        rules.iter().all(is_evaluated).then_some(rules)
    })
    .await;
    assert!(rules.len() >= 9, "{rules:?}");
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&"ok".into(), &"inactive".into()), "{rule}");
        expressions.push(rule["query"].as_str().unwrap().to_owned());
    }
    for name in expressions.iter().flat_map(|expression| metrics(expression)) {
        let found = prometheus.find(&format!("{{__name__=\"{name}\",job=\"cloud-dragon\"}}")).await.unwrap();
        assert!(!found.is_empty(), "there is no metric {name}");
    }

    // And an alert comes when it should.
    fs::write(file.path(), "no tokens").unwrap();
    eventually("the alert of the unusable file", async || {
        let alerts = prometheus.get("/api/v1/alerts").await?["data"]["alerts"].as_array()?.clone();
        alerts.iter().any(|alert| alert["labels"]["alertname"] == "CloudDragonFileUnusable").then_some(())
    })
    .await;
}
