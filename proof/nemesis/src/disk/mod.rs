//! Disks that fail. A library that is loaded into a process refuses its writes and syncs and keeps a journal of
//! them; from that journal the files are made as a disk may hold them after a power cut.

mod control;
mod image;
mod journal;

pub use control::{Counts, Shim};
pub use image::{Disk, Image};
pub use journal::{Event, read_journal};
