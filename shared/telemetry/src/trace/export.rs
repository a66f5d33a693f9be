//! Sending spans to a collector, as the standard `OTEL_*` variables say.

use std::time::Duration;

use config::ConfigError;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Config, Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::Runtime;

/// For what waits when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// What exports, until it is dropped: then it sends what it still has, for at most two seconds.
pub(crate) struct Exporting {
    provider: SdkTracerProvider,
    /// gRPC's own; the spans' thread hands over to it.
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Exporting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporting")
    }
}

impl Exporting {
    /// Where the spans of this process go.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("parley")
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans were not exported");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Begins to export the spans of `service`; `None` where no collector is named, or `OTEL_SDK_DISABLED`,
/// `OTEL_TRACES_EXPORTER=none` say so. Not within a runtime: the HTTP exporter brings one of its own.
///
/// # Errors
/// A [`ConfigError`]: the endpoint or another of the `OTEL_EXPORTER_OTLP_*` variables cannot be used. A collector that is away is no error.
pub(crate) fn start(service: &str) -> anyhow::Result<Option<Exporting>> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let is = |name: &str, value: &str| set(name).is_some_and(|it| it.trim().eq_ignore_ascii_case(value));
    let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    if endpoint.is_none() || is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    // For gRPC's TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
    let bad = |error: ExporterBuildError| {
        ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", format!("it names no collector: {error}"))
    };
    let (exporter, runtime) = match protocol.as_deref().map(str::trim) {
        Some("grpc") => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("otlp")
                .enable_all()
                .build()?;
            let _inside = runtime.enter();
            let exporter = SpanExporter::builder().with_tonic().build().map_err(bad)?;
            (exporter, Some(runtime))
        }
        None | Some("http/protobuf") if endpoint.as_ref().is_some_and(|it| it.trim().starts_with("https:")) => {
            let problem = "TLS is spoken by gRPC only: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or name a collector on this \
                           machine with http";
            return Err(ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", problem).into());
        }
        None | Some("http/protobuf") => {
            let builder = SpanExporter::builder().with_http();
            let exporter = builder
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .build()
                .map_err(bad)?;
            (exporter, None)
        }
        Some(other) => {
            let problem = format!("expected grpc or http/protobuf, got {other:?}");
            return Err(ConfigError::new("OTEL_EXPORTER_OTLP_PROTOCOL", problem).into());
        }
    };
    let mut resource = Resource::builder();
    if set("OTEL_SERVICE_NAME").is_none()
        && !set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|it| it.contains("service.name="))
    {
        resource = resource.with_service_name(service.to_owned());
    }
    let provider = SdkTracerProvider::builder()
        // Decided at the edge, before there is a span; see `Origin`.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    super::context::switch_on(Config::default().sampler);
    Ok(Some(Exporting { provider, runtime }))
}
