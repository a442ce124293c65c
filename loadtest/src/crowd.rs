//! Many connections at once.

use crate::client::Connection;
use crate::http::Request;
use crate::server::Server;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// Files that this process opens besides the crowd's connections.
const OTHER_FILES: u64 = 200;
/// Far fewer than a server lets wait to be accepted: past that the kernel drops attempts, and each one
/// dropped is tried again only after a second.
const CONNECT_TOGETHER: usize = 50;

/// Opens so many connections, to the server's frontends in turn.
///
/// # Errors
/// When this process or the server may not have so many.
pub async fn connect(server: &Server, connections: usize) -> Result<Vec<Connection>> {
    connect_to(|number| server.frontend(number), connections).await
}

/// Opens so many connections, each to the frontend of its number.
///
/// # Errors
/// As [`connect`].
pub async fn connect_to(
    frontend: impl Fn(usize) -> SocketAddr,
    connections: usize,
) -> Result<Vec<Connection>> {
    let wanted = connections as u64 + OTHER_FILES;
    let files = rlimit::increase_nofile_limit(wanted)?;
    ensure!(files >= wanted, "{wanted} files have to be open at once and {files} may (see ulimit -n)");
    let mut crowd = Vec::with_capacity(connections);
    while crowd.len() < connections {
        for _ in 0..CONNECT_TOGETHER.min(connections - crowd.len()) {
            crowd.push(Connection::open(frontend(crowd.len())).await?);
        }
        // Connections are accepted in turn: when this one is answered, whatever the
        // answer, those before it are accepted.
        let address = frontend(crowd.len() - 1);
        Connection::open(address).await?.exchange(&Request::get(address, "/health/live")).await?;
    }
    Ok(crowd)
}
