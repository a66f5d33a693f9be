//! A collector of traces, played: it takes OTLP by gRPC and by HTTP, and remembers every span.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::wait::until;

/// Exports come every 200 ms as tests set it; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A span as it was exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent: String,
    pub kind: SpanKind,
    pub attributes: BTreeMap<String, String>,
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    /// Nanoseconds since the epoch.
    pub start: u64,
    pub end: u64,
    pub failed: bool,
}

impl Span {
    /// An attribute's value as text, or nothing.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// See the module. Ends when dropped.
pub struct Collector {
    spans: Spans,
    grpc: SocketAddr,
    http: SocketAddr,
    servers: [JoinHandle<()>; 2],
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Collector {
    /// Listens on free ports of this machine.
    pub async fn start() -> Self {
        let spans = Spans::default();
        let (grpc, http) = (free().await, free().await);
        let addresses = (grpc.local_addr().unwrap(), http.local_addr().unwrap());
        let service = TraceServiceServer::new(Grpc(spans.clone()));
        let incoming = futures_util::stream::unfold(grpc, |listener| async {
            let accepted = listener.accept().await.map(|it| it.0);
            Some((accepted, listener))
        });
        let by_grpc = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming);
        let routes = axum::Router::new()
            .route("/v1/traces", post(take))
            .with_state(spans.clone());
        Self {
            spans,
            grpc: addresses.0,
            http: addresses.1,
            servers: [
                tokio::spawn(async move { by_grpc.await.expect("the collector serves") }),
                tokio::spawn(async move { axum::serve(http, routes).await.expect("the collector serves") }),
            ],
        }
    }

    /// Settings of services that export to it by gRPC.
    pub fn by_grpc(&self) -> [(&'static str, String); 3] {
        settings("grpc", self.grpc)
    }

    /// Settings of services that export to it by HTTP.
    pub fn by_http(&self) -> [(&'static str, String); 3] {
        settings("http/protobuf", self.http)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().clone()
    }

    /// Waits for a trace until it has what is looked for, and returns that.
    pub async fn wait<T>(&self, what: &str, trace_id: &str, mut look: impl FnMut(&[Span]) -> Option<T>) -> T {
        let mut last = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            until(what, PATIENCE * 2, async || {
                last = self.spans();
                last.retain(|it| it.trace_id == trace_id);
                look(&last)
            })
            .await
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("{what} should have been exported; of the trace there are {last:#?}"),
        }
    }
}

async fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

fn settings(protocol: &str, address: SocketAddr) -> [(&'static str, String); 3] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
    ]
}

struct Grpc(Spans);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        note(&self.0, request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> Vec<u8> {
    note(&spans, ExportTraceServiceRequest::decode(body).expect("OTLP"));
    ExportTraceServiceResponse::default().encode_to_vec()
}

fn note(spans: &Spans, request: ExportTraceServiceRequest) {
    for of_service in request.resource_spans {
        let resource = attributes(of_service.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let all = of_service.scope_spans.into_iter().flat_map(|it| it.spans);
        spans.lock().extend(all.map(|it| {
            Span {
                service: service.clone(),
                kind: it.kind(),
                name: it.name,
                trace_id: hex(&it.trace_id),
                span_id: hex(&it.span_id),
                parent: hex(&it.parent_span_id),
                attributes: attributes(it.attributes),
                events: it
                    .events
                    .into_iter()
                    .map(|it| (it.name, attributes(it.attributes)))
                    .collect(),
                links: it
                    .links
                    .iter()
                    .map(|it| (hex(&it.trace_id), hex(&it.span_id)))
                    .collect(),
                start: it.start_time_unix_nano,
                end: it.end_time_unix_nano,
                failed: it.status.is_some_and(|it| it.code == 2),
            }
        }));
    }
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter().map(|it| (it.key, text(it.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|it| it.value) {
        Some(Value::StringValue(it)) => it,
        Some(Value::IntValue(it)) => it.to_string(),
        Some(Value::BoolValue(it)) => it.to_string(),
        Some(Value::DoubleValue(it)) => it.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
