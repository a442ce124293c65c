//! Every scenario, for a moment each, against the real program: all of them measure something, and none finds
//! anything wrong.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOAD_TEST: &str = env!("CARGO_BIN_EXE_cloud-dragon-loadtest");
const SCENARIOS: [&str; 15] = [
    "echo",
    "kv-write",
    "kv-read",
    "counter",
    "cas",
    "mixed",
    "idempotent",
    "list",
    "lock-pairs",
    "lock-crowd",
    "watch-one",
    "watch-many",
    "idle-long-polls",
    "store-size",
    "hot-growth",
];

/// The server's program: the one named, else the one that the tests of the workspace built beside this one's,
/// else it is built now.
fn server() -> PathBuf {
    if let Some(named) = std::env::var_os("DRAGON_TEST_PROGRAM") {
        // From the root, as the other tests take it.
        return Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(named);
    }
    let beside = Path::new(LOAD_TEST).with_file_name("cloud-dragon");
    if !beside.is_file() {
        let built = Command::new(env!("CARGO")).args(["build", "--package", "cloud-dragon"]).status();
        assert!(built.is_ok_and(|status| status.success()), "cloud-dragon could not be built");
    }
    assert!(beside.is_file(), "{} is not there, although it was built", beside.display());
    beside
}

#[test]
fn every_scenario_measures_and_finds_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("report.json"), folder.path().join("report.html"));
    let output = Command::new(LOAD_TEST)
        .args(["--scenario", &SCENARIOS.join(",")])
        .args("--connections 4 --accounts 2 --keys 20 --wakes 2 --seconds 0.2 --warm-up 0.05".split(' '))
        .args(["--server-bin".as_ref(), server().as_os_str()])
        .args(["--json".as_ref(), json.as_os_str(), "--html".as_ref(), html.as_os_str()])
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["failures"], Value::Array(Vec::new()), "{stderr}");
    for scenario in SCENARIOS {
        let rows = report["rows"].as_array().unwrap().iter();
        let row = rows.clone().find(|row| row["scenario"] == *scenario);
        let row = row.unwrap_or_else(|| panic!("{scenario} has no row: {stderr}"));
        assert!(row["units"].as_u64().unwrap() > 0, "{row}");
        assert!(stdout.contains(&format!("\n## {scenario}\n")), "{stdout}");
    }
    let html = std::fs::read_to_string(html).unwrap();
    assert!(SCENARIOS.iter().all(|scenario| html.contains(&format!("<h2 id=\"{scenario}\">"))));
}

/// A rate, a count and a round trip, which the run above has not.
#[test]
fn loops_can_be_open_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let status = Command::new(LOAD_TEST)
        .args(
            "--scenario kv-write --connections 8 --rate 500 --count 100 --rtt-ms 4 --warm-up 0.05".split(' '),
        )
        .args(["--server-bin".as_ref(), server().as_os_str(), "--json".as_ref(), json.as_os_str()])
        .status()
        .unwrap();
    assert!(status.success());
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let row = &report["rows"][0];
    assert_eq!(row["units"], 100);
    assert!(row["p50_us"].as_f64().unwrap() >= 4_000.0, "{row}");
}

#[test]
fn a_server_that_is_no_server_fails_the_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    // The answer that a write would have the first time, always.
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"Version\":1}");
                }
            });
        }
    });
    let output = Command::new(LOAD_TEST)
        .args("--scenario kv-write --connections 2 --seconds 0.2 --warm-up 0.05 --url".split(' '))
        .arg(url)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && stdout.contains("**FAILED** kv-write on Cloud Dragon"), "{stdout}");
}
