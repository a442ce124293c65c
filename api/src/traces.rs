//! Traces by OpenTelemetry: a span for each request that is sampled, sent to a collector by OTLP over HTTP. Accounts and keys
//! are in none of them.

use crate::route::Route;
use crate::tls::choose_provider;
use clap::Args;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use reqwest::Url;
use std::sync::Arc;

/// The header by which clients and proxies say of which trace a request is a part (W3C Trace Context).
pub(crate) const TRACEPARENT: &str = "traceparent";
/// What the server is called in traces, unless OTEL_SERVICE_NAME says otherwise.
const SERVICE: &str = "cloud-dragon";

/// Where traces go.
#[derive(Clone, Debug, Args)]
pub struct TraceSettings {
    /// Send a trace of requests to this collector by OTLP over HTTP, as in http://localhost:4318. Also heeded: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS
    #[arg(long, env = "DRAGON_OTLP_ENDPOINT", value_parser = collector, value_name = "URL")]
    pub otlp_endpoint: Option<Url>,

    /// Which part of the requests is traced, 0 to 1. Where a request is part of a trace already (`traceparent`), that decides
    #[arg(long, env = "DRAGON_TRACE_RATIO", default_value_t = 1.0, value_parser = ratio, value_name = "RATIO")]
    pub trace_ratio: f64,
}

fn collector(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("say http://HOST:PORT or https://HOST:PORT".into()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "say a number from 0 to 1".into())
}

impl TraceSettings {
    /// Begins to send traces, if there is a collector. Not to be called on a runtime.
    ///
    /// # Errors
    /// When the collector can't be sent to.
    pub(crate) fn start(&self) -> Result<Option<Arc<Traces>>, ExporterBuildError> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        choose_provider();
        let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
        // What is set in the environment counts more.
        let ours = Resource::builder_empty()
            .with_service_name(SERVICE)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_detector(Box::new(EnvResourceDetector::new()));
        let resource = match std::env::var("OTEL_SERVICE_NAME") {
            Ok(name) if !name.is_empty() => ours.with_service_name(name),
            _ => ours,
        };
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(self.trace_ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource.build())
            .build();
        Ok(Some(Arc::new(Traces { tracer: provider.tracer(SERVICE), provider })))
    }
}

/// What makes spans and sends them. It never makes requests wait: when the collector is too slow, spans are lost.
#[derive(Debug)]
pub(crate) struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// The one header that is looked at.
struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

impl Traces {
    /// Begins a request's span, unless the request is not to be traced.
    pub(crate) fn begin(&self, route: Route, traceparent: Option<&[u8]>) -> Option<Span> {
        let parent = traceparent.and_then(|value| std::str::from_utf8(value).ok());
        let parent = parent.map_or_else(Context::new, |value| {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Traceparent(value))
        });
        let span = self.tracer.span_builder(route.name()).with_kind(SpanKind::Server);
        Some(span.start_with_context(&self.tracer, &parent)).filter(|span| span.is_recording())
    }

    /// Ends the span of a request that was answered. Dropping it ends it too, as one whose client hung up.
    pub(crate) fn end(span: &mut Span, route: Route, method: &str, code: u16) {
        // Whatever clients think of as a method must not become a name.
        let method = route.method().split(", ").find(|known| *known == method).unwrap_or("_OTHER");
        span.update_name(format!("{method} {}", route.name()));
        span.set_attribute(KeyValue::new("http.request.method", method));
        span.set_attribute(KeyValue::new("http.route", route.name()));
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(code)));
        if code >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Sends what was not sent yet.
    pub(crate) fn close(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
