//! The reference: Poem as it comes, one POST route that answers with the body. What HTTP itself costs.

use anyhow::Result;
use poem::listener::{Acceptor as _, Listener as _, TcpListener};
use poem::{Body, Route, Server, handler, post};

#[handler]
async fn echo(body: Body) -> poem::Result<Body> {
    Ok(Body::from(body.into_bytes().await?))
}

/// Serves on a free port until killed, and says on which.
///
/// # Errors
/// When it can't serve.
pub fn serve() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
        let addresses = acceptor.local_addr();
        for address in addresses.iter().filter_map(|address| address.as_socket_addr()) {
            eprintln!("listening on http://{address}");
        }
        Server::new_with_acceptor(acceptor).run(Route::new().at("/echo", post(echo))).await?;
        Ok(())
    })
}
