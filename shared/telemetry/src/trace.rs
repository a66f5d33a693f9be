//! Traces: one for each sampled message, from its frame to the providers' answers, over OTLP.
//!
//! Whether a message is traced is decided once, where it enters ([`Origin::at_edge`]), by the sampler that the standard
//! `OTEL_TRACES_SAMPLER` names. Everything behind the edge follows ([`Origin::inside`]): it makes spans for what is
//! sampled and nothing at all, not even an unrecorded span, for what is not. So what is not sampled costs a comparison.
//!
//! Spans are made with [`span!`](crate::span), of `tracing`, under a target of their own: a
//! library's spans are not ours to export. Names and attributes follow OpenTelemetry's semantic conventions for
//! messaging, HTTP and databases. No attribute holds a message's text or a token.

mod context;
mod export;

pub use opentelemetry::trace::SpanContext;
use opentelemetry::trace::TraceContextExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub use context::Origin;
pub(crate) use export::{Exporting, start};

/// Of all spans that are exported. The macros below repeat it, since they need a literal.
pub const TARGET: &str = "parley::trace";

/// The header that carries a context over NATS and HTTP.
pub const HEADER: &str = "traceparent";

/// A span that belongs where an [`Origin`] says, or none where that is `None`. Kind: `"server"`, `"client"`, `"producer"`,
/// `"consumer"` or `"internal"`; then the fields as in `tracing`'s own macros.
#[macro_export]
macro_rules! span {
    ($origin:expr, $kind:literal, $name:expr $(, $($field:tt)*)?) => {
        match &$origin {
            ::core::option::Option::None => ::tracing::Span::none(),
            ::core::option::Option::Some(origin) => $crate::trace::Origin::adopt(
                origin,
                ::tracing::info_span!(target: "parley::trace", parent: ::core::option::Option::None, "span",
                    otel.name = $name, otel.kind = $kind $(, $($field)*)?),
            ),
        }
    };
}

/// The context of a span, to be linked to or carried on; `None` for a span that is none.
pub fn context_of(span: &tracing::Span) -> Option<SpanContext> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

/// The `traceparent` of a span, for whoever goes on elsewhere.
pub fn traceparent_of(span: &tracing::Span) -> Option<String> {
    context_of(span).map(|context| context::encode(&context))
}

/// The `traceparent` of the span that the caller is in.
pub fn current() -> Option<String> {
    traceparent_of(&tracing::Span::current())
}

/// Names a span as caused by others that are not its parent: those of a batch.
pub fn link(span: &tracing::Span, to: impl IntoIterator<Item = SpanContext>) {
    if !span.is_disabled() {
        to.into_iter().for_each(|context| span.add_link(context));
    }
}

/// Says that what a span stands for failed, and as what: `error.type` takes few values, never a server's words.
pub fn fail(span: &tracing::Span, error_type: &str) {
    if !span.is_disabled() {
        span.set_attribute("error.type", error_type.to_owned());
        span.set_status(opentelemetry::trace::Status::error(error_type.to_owned()));
    }
}

/// Notes something that happened within a span. The exporter keeps the first 128 of a span.
pub fn event<const N: usize>(span: &tracing::Span, name: &'static str, attributes: [(&'static str, &str); N]) {
    if !span.is_disabled() {
        let attributes = attributes.map(|(key, value)| opentelemetry::KeyValue::new(key, value.to_owned()));
        span.add_event(name, attributes.to_vec());
    }
}

/// Adds an attribute that is known only now.
pub fn set(span: &tracing::Span, key: &'static str, value: impl Into<opentelemetry::Value>) {
    if !span.is_disabled() {
        span.set_attribute(key, value);
    }
}
