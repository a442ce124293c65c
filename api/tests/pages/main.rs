//! What the pages print is what happens: their examples are run as they are printed.

#![allow(clippy::unwrap_used, reason = "these are tests; a panic is how they fail")]

mod readme;
mod shell;
mod walk_through;
