//! What the pages print is what happens: their examples are run as they are printed.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod readme;
mod recipes;
#[path = "../common/server.rs"]
mod server;
mod shell;
mod shell_guide;
mod walk_through;
