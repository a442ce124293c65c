//! `store-size`: writes to keys by chance of a store that was filled with all of them before. With more keys
//! a write should cost no more.

use crate::book::Book;
use crate::dataset;
use crate::exchange;
use crate::outcome::Outcome;
use crate::plan::Parameters;
use crate::scenarios::kv_write::{KvWrite, verify};
use crate::server::Server;
use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;

/// Fills the store, unless an earlier run did, and writes on top.
///
/// # Errors
/// For the first wrong answer, or an update that is lost or there twice.
pub async fn run(server: &Server, parameters: &Parameters) -> Result<Outcome> {
    let Parameters { accounts, keys, value_bytes, .. } = *parameters;
    let dataset = dataset::loaded(server, "store-size", accounts, keys, value_bytes).await?;
    let book = Rc::new(RefCell::new(Book::on(&dataset.revisions(), keys)));
    let new = |number| KvWrite::new(server.frontend(number), &dataset.space, &book, number, value_bytes);
    let (measured, _) = exchange::run(server, parameters, new).await?;
    let book = book.take();
    dataset.set_revisions(book.revisions());
    verify(server.address, &dataset.space, &book, value_bytes).await?;
    let disk_mib = server.disk_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20));
    Ok(Outcome::of(measured)
        .with("keys stored", (accounts * keys) as f64)
        .with_known("disk, MiB", disk_mib)
        .with_known(
            "disk bytes a key",
            server.disk_bytes().map(|bytes| bytes as f64 / (accounts * keys) as f64),
        ))
}
