//! A proxy that loses the first answer: a connection that breaks after the server has done what it was asked.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub struct LosingProxy {
    pub address: SocketAddr,
}

impl LosingProxy {
    /// Starts one, which lives as long as the process.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let is_first = Arc::new(AtomicBool::new(true));
            for client in listener.incoming() {
                let is_first = Arc::clone(&is_first);
                // A connection that ends in an error has ended.
                thread::spawn(move || relay(client?, TcpStream::connect(server)?, &is_first));
            }
        });
        Self { address }
    }
}

fn relay(client: TcpStream, server: TcpStream, is_first: &AtomicBool) -> io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to).map(drop).and_then(|()| to.shutdown(Shutdown::Write)));
    let (mut from, mut to) = (server, client);
    let mut answer = vec![0; 65_536];
    loop {
        let length = from.read(&mut answer)?;
        if length == 0 || is_first.swap(false, Ordering::Relaxed) {
            from.shutdown(Shutdown::Both).and(to.shutdown(Shutdown::Both))?;
            return Ok(());
        }
        to.write_all(&answer[..length])?;
    }
}
