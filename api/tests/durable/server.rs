//! The server under strace, and one client.

use crate::trace::{Event, read_trace};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The calls that make up the life of a file, and answers.
const CALLS: &str = "trace=openat,pwrite64,write,writev,sendto,fdatasync,fsync,ftruncate,rename,unlink";

pub struct TracedServer {
    strace: Child,
    client: TcpStream,
    folder: TempDir,
}

impl TracedServer {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut strace = Command::new("strace")
            .args([
                "-f",
                "-ff",
                "--absolute-timestamps=format:unix,precision:ns",
                "-T",
                "-xx",
                "-y",
                "-s",
                "70000",
            ])
            .args(["-e", CALLS, "-e", "signal=none", "-o"])
            .arg(folder.path().join("trace"))
            .arg(env!("CARGO_BIN_EXE_cloud-dragon"))
            .args(["--listen", "127.0.0.1:0", "--drain-delay", "0", "--log-file-bytes", "65536", "--store"])
            .arg(format!("embedded:{}", folder.path().join("data").display()))
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace must be installed (Debian package strace)");
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else { panic!("the server ended before it listened: {seen:?}") };
            let line = line.unwrap();
            seen.push(line.clone());
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { strace, client: TcpStream::connect(address).unwrap(), folder }
    }

    /// Adds one to a counter, beside a value that fills the log, and returns what the server says it is then.
    pub fn add_one(&mut self) -> i64 {
        let value = "x".repeat(1_500);
        let body =
            format!(r#"{{"Atomic":[{{"Key":"n","Add":1}}],"KVSet":[{{"Key":"v","Value":"{value}"}}]}}"#);
        let request =
            format!("POST /db/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.client.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"}\n") && !String::from_utf8_lossy(&answer).contains("\"Version\":") {
            self.client.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        while byte[0] != b'}' {
            self.client.read_exact(&mut byte).unwrap();
        }
        let text = String::from_utf8_lossy(&answer);
        let rest = text.split_once("\"Value\":").unwrap().1;
        rest[..rest.find('}').unwrap()].parse().unwrap()
    }

    /// Kills the server and returns what it did, in the order in which the calls began.
    pub fn stop_and_read_trace(mut self) -> Vec<Event> {
        // The server is the one child of strace; with it strace ends and has written all.
        let children = format!("/proc/{0}/task/{0}/children", self.strace.id());
        let server = std::fs::read_to_string(children).unwrap();
        let killed = Command::new("sh").arg("-c").arg(format!("kill -9 {server}")).status().unwrap();
        assert!(killed.success());
        self.strace.wait().unwrap();
        read_trace(self.folder.path())
    }
}
