//! Where a span belongs: W3C trace context, and the decision whether anything is recorded.

use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What decides at the edge. Empty: nothing is traced.
static SAMPLER: OnceLock<Box<dyn ShouldSample>> = OnceLock::new();

/// Switches traces on, for the rest of the process's life.
pub(super) fn switch_on(sampler: Box<dyn ShouldSample>) {
    // The first stays: telemetry is started once.
    let _ = SAMPLER.set(sampler);
}

/// Something that is sampled: what spans of it are below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Option<SpanContext>);

impl Origin {
    /// Decides whether to trace what comes from outside with this `traceparent`, or with none. `None`: not sampled, or
    /// traces are off.
    pub fn at_edge(traceparent: Option<&str>) -> Option<Self> {
        let sampler = SAMPLER.get()?;
        let remote = traceparent.and_then(decode);
        let context = remote
            .as_ref()
            .map(|it| Context::new().with_remote_span_context(it.clone()));
        let trace_id = remote.as_ref().map_or_else(random_trace_id, SpanContext::trace_id);
        let result = sampler.should_sample(context.as_ref(), trace_id, "", &SpanKind::Server, &[], &[]);
        (result.decision == SamplingDecision::RecordAndSample).then_some(Self(remote))
    }

    /// What was decided at the edge for what comes from within.
    pub fn inside(traceparent: Option<&str>) -> Option<Self> {
        SAMPLER.get()?;
        let context = decode(traceparent?)?;
        context.is_sampled().then_some(Self(Some(context)))
    }

    /// Of work that many have caused together: a trace of its own, with links to theirs. `None` where none of them is
    /// traced.
    pub fn of_batch(is_any_traced: bool) -> Option<Self> {
        (is_any_traced && SAMPLER.get().is_some()).then_some(Self(None))
    }

    /// Of what is done within a span; `None` where that is none.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        super::context_of(span).map(|context| Self(Some(context)))
    }

    /// Of what is done within the span that the caller is in.
    pub fn here() -> Option<Self> {
        SAMPLER.get()?;
        Self::of(&tracing::Span::current())
    }

    /// The context to link to, where there is one.
    pub fn context(&self) -> Option<SpanContext> {
        self.0.clone()
    }

    /// Puts a new span where it belongs.
    pub fn adopt(&self, span: tracing::Span) -> tracing::Span {
        if let Some(remote) = &self.0 {
            // Fails only where the layer is not there, and then nothing is exported.
            let _ = span.set_parent(Context::new().with_remote_span_context(remote.clone()));
        }
        span
    }
}

fn random_trace_id() -> TraceId {
    TraceId::from_bytes(rand::random())
}

/// A context in the form of the header.
pub(super) fn encode(context: &SpanContext) -> String {
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags)
}

/// Reads the header's form; later versions are read as far as this one goes, as W3C wants it.
fn decode(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower = |it: &str| {
        it.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let whole = [(version, 2), (trace, 32), (span, 16), (flags, 2)];
    if !whole.iter().all(|(part, digits)| part.len() == *digits && lower(part)) || version == "ff" {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_comes_back_from_its_header() {
        let context = decode(SAMPLED).unwrap();
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(encode(&context), SAMPLED);
    }

    #[test]
    fn what_is_no_header_is_no_context() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert!(decode("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
    }

    #[test]
    fn while_traces_are_off_nothing_is_sampled() {
        assert_eq!(Origin::at_edge(None), None);
        assert_eq!(Origin::at_edge(Some(SAMPLED)), None);
        assert_eq!(Origin::inside(Some(SAMPLED)), None);
        assert_eq!(Origin::of_batch(true), None);
    }
}
