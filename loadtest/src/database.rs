//! A private Postgres, with every COMMIT synced: for the peer, and for servers that keep their data there.

use crate::process::{Place, Process, Start, find, free_ports};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};

/// More connections than this it is not made for: each is a process.
pub const CONNECTIONS_MAX: usize = 500;
const READY_TIME_MAX: Duration = Duration::from_secs(30);
const POLL_TIME: Duration = Duration::from_millis(20);

/// Starts it on an empty data folder, and waits until it lets anyone in.
///
/// # Errors
/// When it is not on this machine, or does not come up.
pub fn start(start: &Start) -> Result<Process> {
    const INSTALL: &str = "it is in Debian's package postgresql";
    let initdb = find("initdb").context("there is no initdb").context(INSTALL)?;
    let program = find("postgres").context("there is no postgres").context(INSTALL)?;
    let place = Place::for_postgres(start)?;
    let folder = place.data();
    let data = folder.to_str().context("the folder's name is no text")?;
    let arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D", data];
    place.run(&initdb, &arguments)?;
    let [address] = free_ports()?;
    let (port, most) = (format!("port={}", address.port()), format!("max_connections={CONNECTIONS_MAX}"));
    let mut arguments = vec!["-D", data, "-c", "listen_addresses=127.0.0.1", "-c", &port, "-c", &most];
    arguments.extend(["-c", "unix_socket_directories=", "-c", "shared_buffers=256MB"]);
    arguments.extend(["-c", "fsync=on", "-c", "synchronous_commit=on"]);
    let process = place.start(&program, &arguments, address)?;
    // It accepts connections a little before it lets anyone in, and says so in this file.
    let begun = Instant::now();
    let status = || std::fs::read_to_string(folder.join("postmaster.pid")).unwrap_or_default();
    while !status().lines().any(|line| line.trim() == "ready") {
        ensure!(begun.elapsed() < READY_TIME_MAX, "Postgres lets nobody in");
        std::thread::sleep(POLL_TIME);
    }
    Ok(process)
}
