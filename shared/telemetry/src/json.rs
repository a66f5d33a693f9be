//! Log lines as JSON, one object a line, with the ids of the trace that a line belongs to.
//!
//! The ids are those of OpenTelemetry, taken from the span that is open where the line is written. Where nothing makes
//! traces there are none.

use std::fmt;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanContext, TraceContextExt};
use tracing::dispatcher::WeakDispatch;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::{Layer, fmt as lines};

/// Lines of OpenTelemetry itself may be written while it holds the lock on the very span that is asked for here.
const MAKERS_OF_SPANS: &str = "opentelemetry";

/// The layers together, the registry under them: what knows all spans, also those that the log's filter hides.
type Whole = Arc<OnceLock<WeakDispatch>>;

/// A layer that writes each event as a line of JSON to stderr. Filter it as a layer of its own.
pub(crate) fn layer<S>(writer: fn() -> std::io::Stderr) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let (format, remember) = correlated();
    let lines = lines::layer().json().event_format(format).with_writer(writer);
    remember.and_then(lines)
}

/// The format, and the layer by which it gets to know the whole.
fn correlated() -> (Correlated, Remember) {
    let whole = Whole::default();
    let lines = lines::format().json().flatten_event(true).with_current_span(false);
    (
        Correlated {
            lines,
            whole: whole.clone(),
        },
        Remember(whole),
    )
}

/// The JSON lines of `tracing-subscriber`, with `trace_id` and `span_id` at their end.
struct Correlated {
    lines: Format<Json>,
    whole: Whole,
}

impl<S, N> FormatEvent<S, N> for Correlated
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(span) = self.span(event) else {
            return self.lines.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        // An object with a time at least: what is added is never its first field.
        let open = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        let (trace, span) = (span.trace_id(), span.span_id());
        writeln!(writer, r#"{open},"trace_id":"{trace}","span_id":"{span}"}}"#)
    }
}

impl Correlated {
    /// The innermost span around an event that is one of a trace. Looked for in the registry: the formatter's own context
    /// shows only the spans that the log's filter lets through.
    fn span(&self, event: &Event<'_>) -> Option<SpanContext> {
        if event.metadata().target().starts_with(MAKERS_OF_SPANS) {
            return None;
        }
        let whole: Dispatch = self.whole.get()?.upgrade()?;
        let registry = whole.downcast_ref::<Registry>()?;
        let id = match event.parent() {
            Some(parent) => parent.clone(),
            None if event.is_contextual() => whole.current_span().id()?.clone(),
            None => return None,
        };
        let mut around = registry.span(&id)?.scope();
        let traced = around.find_map(|span| tracing_opentelemetry::get_otel_context(&span.id(), &whole))?;
        let span = traced.span().span_context().clone();
        span.is_valid().then_some(span)
    }
}

/// Tells the format of the whole that it is a part of.
struct Remember(Whole);

impl<S: Subscriber> Layer<S> for Remember {
    fn on_register_dispatch(&self, whole: &Dispatch) {
        // Once: a layer is part of one whole.
        let _ = self.0.set(whole.downgrade());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use parking_lot::Mutex;
    use serde_json::Value;
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What `work` writes while lines pass `filter`, and traces are made of all spans.
    fn written(filter: &str, work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let (format, remember) = correlated();
        let lines = lines::layer().json().event_format(format).with_writer(written.clone());
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let whole = tracing_subscriber::registry()
            .with(remember.and_then(lines).with_filter(EnvFilter::new(filter)))
            .with(spans);
        tracing::subscriber::with_default(whole, work);
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_within_a_span_has_the_ids_of_its_trace() {
        let lines = written("info", || {
            tracing::info_span!("outer").in_scope(|| {
                tracing::info!(count = 1, "in the outer one");
                tracing::info_span!("inner").in_scope(|| tracing::info!("in the inner one"));
            });
        });
        let [outer, inner] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(
            (&outer["message"], &outer["count"]),
            (&"in the outer one".into(), &1.into())
        );
        assert_eq!(outer["trace_id"].as_str().map(str::len), Some(32), "{outer}");
        assert_eq!(outer["span_id"].as_str().map(str::len), Some(16), "{outer}");
        assert_eq!(outer["trace_id"], inner["trace_id"]);
        assert_ne!(outer["span_id"], inner["span_id"]);
    }

    #[test]
    fn a_span_that_the_logs_filter_hides_still_gives_its_lines_their_ids() {
        let lines = written("warn", || {
            tracing::info_span!("quiet").in_scope(|| tracing::warn!("loud"));
        });
        assert_eq!(lines[0]["trace_id"].as_str().map(str::len), Some(32), "{lines:?}");
        assert_eq!(lines[0].get("spans"), None, "the span itself is not shown");
    }

    #[test]
    fn a_line_outside_of_all_spans_is_whole_and_has_no_ids() {
        let lines = written("info", || tracing::info!(text = "a \"quoted\"\nline }", "alone"));
        assert_eq!((lines[0].get("trace_id"), lines.len()), (None, 1));
        assert_eq!(lines[0]["text"], "a \"quoted\"\nline }");
    }
}
