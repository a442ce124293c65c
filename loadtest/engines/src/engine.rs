//! What an engine has to do to be measured.

use std::path::Path;

use anyhow::Result;

use crate::work::Batch;

/// A storage engine opened on a folder of its own.
pub trait Engine {
    /// Puts all rows in, durably, and brings the files to the state of a store that has been at rest.
    fn load(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<()>;

    /// Answers the reads of one batch, then makes its changed rows durable in one commit.
    fn commit(&mut self, batch: &mut Batch) -> Result<()>;
}

/// One engine with one setting: what a row of the table stands for.
#[derive(Clone, Copy)]
pub struct Variant {
    /// The name in the table.
    pub name: &'static str,
    /// Whether a full cache in memory answers the reads.
    pub cached: bool,
    /// Opens the engine on an empty folder.
    pub open: fn(&Path) -> Result<Box<dyn Engine>>,
}

/// All variants, in the order of the table.
pub const VARIANTS: &[Variant] = &[
    Variant { name: "nothing", cached: true, open: crate::nothing::open },
    Variant { name: "log", cached: true, open: crate::log::open_growing },
    Variant { name: "log-prealloc", cached: true, open: crate::log::open_preallocated },
    Variant { name: "fjall", cached: false, open: crate::fjall_engine::open },
    Variant { name: "fjall-cached", cached: true, open: crate::fjall_engine::open },
    Variant { name: "redb", cached: false, open: crate::redb_engine::open },
    Variant { name: "redb-cached", cached: true, open: crate::redb_engine::open },
    Variant { name: "sqlite-1000", cached: false, open: crate::sqlite_engine::open_1000 },
    Variant { name: "sqlite-1000-cached", cached: true, open: crate::sqlite_engine::open_1000 },
    Variant { name: "sqlite-8000", cached: false, open: crate::sqlite_engine::open_8000 },
    Variant { name: "sqlite-8000-cached", cached: true, open: crate::sqlite_engine::open_8000 },
    Variant { name: "lmdb", cached: false, open: crate::lmdb_engine::open },
    Variant { name: "lmdb-cached", cached: true, open: crate::lmdb_engine::open },
];
