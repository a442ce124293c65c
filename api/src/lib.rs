//! Cloud Dragon over HTTP: the routes and their JSON shapes, the one map from a refusal to an HTTP
//! status, the settings, and the program that ties them to a store.

pub mod access;
mod admission;
mod backups;
pub mod cli;
pub mod config;
mod connections;
mod document;
mod error;
mod fast;
#[doc(hidden)]
pub mod fuzzing;
mod json_body;
pub mod logging;
mod metrics;
pub mod quotas;
pub mod reload;
mod responses;
mod route;
mod routes;
pub mod serve;
mod service;
mod shared_stream;
mod stores;
pub mod tls;
mod traces;
mod transfer;
mod wire;

pub use metrics::Metrics;
pub use routes::document;
