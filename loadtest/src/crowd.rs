//! Many connections at once.

use crate::client::Connection;
use crate::server::Server;
use anyhow::{Result, ensure};

/// Files that this process opens besides the crowd's connections.
const OTHER_FILES: u64 = 200;

/// Opens so many connections.
///
/// # Errors
/// When this process or the server may not have so many.
pub async fn connect(server: &Server, connections: usize) -> Result<Vec<Connection>> {
    let wanted = connections as u64 + OTHER_FILES;
    let files = rlimit::increase_nofile_limit(wanted)?;
    ensure!(files >= wanted, "{wanted} files have to be open at once and {files} may (see ulimit -n)");
    let mut crowd = Vec::with_capacity(connections);
    for _ in 0..connections {
        crowd.push(Connection::open(server.address).await?);
    }
    Ok(crowd)
}
