//! Checks recorded histories. Nothing here knows how a history came about: the simulation and the runs on real
//! processes hand theirs in alike.

pub mod history;
