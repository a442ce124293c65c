//! A server that knows its answers beforehand.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A status and a body; or none, and the connection is cut.
pub type Reply = Option<(&'static str, &'static str)>;

/// A server that gives these answers one after the other, and the last of them again and again.
pub async fn server(replies: Vec<Reply>) -> SocketAddr {
    let last = *replies.last().unwrap();
    serve(replies.into_iter().chain(std::iter::repeat(last))).await
}

/// The same, but it begins again after the last one.
pub async fn server_in_turns(replies: Vec<Reply>) -> SocketAddr {
    serve(replies.into_iter().cycle()).await
}

/// The same, but it is gone after the last one.
pub async fn server_that_goes(replies: Vec<Reply>) -> SocketAddr {
    serve(replies.into_iter()).await
}

async fn serve(replies: impl Iterator<Item = Reply> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for reply in replies {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream, reply));
        }
    });
    address
}

/// Each connection is for one request.
async fn answer(mut stream: TcpStream, reply: Reply) {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    let Some((status, body)) = reply else { return };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    drop(stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await);
}
