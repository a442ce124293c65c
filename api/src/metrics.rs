//! What is counted, and the registry that shows it.

use dragon_embedded::EmbeddedMetrics;
use dragon_lanes::LaneMetrics;
use dragon_waiters::WaiterMetrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Which route and which status: both of a small, fixed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram>,
    pub(crate) connections: Gauge,
    pub(crate) lanes: LaneMetrics,
    pub(crate) waiters: WaiterMetrics,
    pub(crate) embedded: EmbeddedMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let request_seconds = Family::new_with_constructor(latencies as fn() -> Histogram);
        let connections = Gauge::default();
        registry.register("dragon_requests", "Requests answered, by route and HTTP status", requests.clone());
        registry.register(
            "dragon_request_seconds",
            "Time from a request's head to its answer, waiting included, by route",
            request_seconds.clone(),
        );
        registry.register("dragon_connections", "Open client connections", connections.clone());
        let (lanes, waiters) = (LaneMetrics::default(), WaiterMetrics::default());
        let embedded = EmbeddedMetrics::default();
        lanes.register(&mut registry);
        waiters.register(&mut registry);
        embedded.register(&mut registry);
        Self { registry, requests, request_seconds, connections, lanes, waiters, embedded }
    }

    pub(crate) fn answered(&self, route: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route, code }).inc();
        self.request_seconds.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }

    /// The text form.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }
}

/// 128 µs to about 270 s: long-polls last up to 300 s.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.000_128, 2.0, 22))
}

/// The route of a path: one of a fixed set, so that no client can make labels.
pub(crate) fn route_of(path: &str) -> &'static str {
    match path {
        _ if path.starts_with("/db/") => "/db",
        _ if path.starts_with("/watch/") => "/watch",
        _ if path.starts_with("/list/") => "/list",
        "/health/live" => "/health/live",
        "/health/ready" => "/health/ready",
        "/metrics" => "/metrics",
        "/openapi.json" => "/openapi.json",
        "/docs" => "/docs",
        _ => "other",
    }
}
