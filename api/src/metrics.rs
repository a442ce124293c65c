//! What is counted, and the registry that shows it.

use crate::route::Route;
use dragon_backups::BackupMetrics;
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

/// The metrics of one route that an answer with the status 200 counts.
#[derive(Debug)]
struct Usual {
    requests: Counter,
    seconds: Histogram,
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// What most answers count, by the number of their route: no look-up by labels for each of them.
    usual: Vec<Usual>,
    pub(crate) connections: Gauge,
    pub(crate) lanes: LaneMetrics,
    pub(crate) waiters: WaiterMetrics,
    pub(crate) embedded: EmbeddedMetrics,
    pub(crate) backups: BackupMetrics,
    pub(crate) reloads: ReloadMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(latencies);
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
        let backups = BackupMetrics::default();
        backups.register(&mut registry);
        let reloads = ReloadMetrics::default();
        reloads.register(&mut registry);
        let usual = Route::ALL.map(|route| {
            let route = route.name();
            let requests = requests.get_or_create_owned(&RequestLabels { route, code: 200 });
            Usual { requests, seconds: request_seconds.get_or_create_owned(&RouteLabels { route }) }
        });
        let usual = usual.into();
        Self { registry, requests, usual, connections, lanes, waiters, embedded, backups, reloads }
    }

    /// Where a store registers what it counts itself.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    pub(crate) fn answered(&self, route: Route, code: u16, took: Duration) {
        let usual = &self.usual[route as usize];
        if code == 200 {
            usual.requests.inc();
        } else {
            self.requests.get_or_create(&RequestLabels { route: route.name(), code }).inc();
        }
        usual.seconds.observe(took.as_secs_f64());
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: &'static str,
}

/// What is counted of files that are read again when they change.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReloadMetrics {
    failures: Family<FileLabels, Counter>,
    is_current: Family<FileLabels, Gauge>,
}

impl ReloadMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "dragon_reload_failures",
            "Changed files that could not be used, by what they hold",
            self.failures.clone(),
        );
        registry.register(
            "dragon_reload_is_current",
            "1 where what is in use is what the file holds, 0 where the file can't be used",
            self.is_current.clone(),
        );
    }

    pub(crate) fn succeeded(&self, file: &'static str) {
        self.is_current.get_or_create(&FileLabels { file }).set(1);
    }

    pub(crate) fn failed(&self, file: &'static str) {
        self.failures.get_or_create(&FileLabels { file }).inc();
        self.is_current.get_or_create(&FileLabels { file }).set(0);
    }
}
