//! Accounts in and out of a store: the format in which one is exported ([`mod@format`]), its export as a stream, and
//! its import, which puts other content into an account's place in steps that an interruption can't leave half
//! done. It speaks to a [`Frontend`](dragon_waiters::Frontend), so every store can do it.

mod export;
pub mod format;
mod import;
mod lock;
mod registry;
mod resume;
mod steps;
mod system;

pub use export::{ExportError, Exporting, export};
pub use import::{ImportError, Imported, Mode, delete, import, meta};
pub use lock::SystemLock;
pub use registry::wait_for_import;
pub use resume::resume_abandoned;
pub use system::{NoteAnswer, ask_system, damaged, read_note, write_note};
