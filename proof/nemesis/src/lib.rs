//! Real processes under faults: a cluster of frontends over one store, what is done to it, and clients that record
//! what they are told. Judging that is the checker's.

pub mod campaign;
pub mod cluster;
pub mod disk;
pub mod faults;
pub mod load;
pub mod proxy;
pub mod random;
pub mod reach;
