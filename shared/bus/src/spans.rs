//! How requests between services look in traces, and how their context travels: in NATS headers, and of requests that share a
//! message in themselves.

use async_nats::{HeaderMap, Message};
use protocol::rpc::Request;
use telemetry::trace::{self, Origin};
use tracing::Span;

use crate::subjects;

/// What a request looks like from the side that makes it.
pub(crate) fn request_span(origin: Option<&Origin>, service: &str, endpoint: &str) -> Span {
    telemetry::span!(
        origin,
        "client",
        format!("request {service}.{endpoint}"),
        messaging.system = "nats",
        messaging.operation.name = "request",
        messaging.operation.r#type = "send",
        messaging.destination.name = subjects::endpoint(service, endpoint)
    )
}

/// The headers that carry a span's context; `None` where there is nothing to carry.
pub(crate) fn headers_of(span: &Span) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(trace::HEADER, trace::traceparent_of(span)?);
    Some(headers)
}

/// What a request travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Travels {
    /// A message of its own, whose header is its context.
    Alone,
    /// A message with others. Its header is the context of them all: a link, and nobody's parent, or all would be traced
    /// because one is.
    Together,
}

/// The context that an answer belongs below.
fn parent<'a>(own: Option<&'a str>, header: Option<&'a str>, travels: Travels) -> Option<&'a str> {
    match travels {
        Travels::Alone => own.or(header),
        Travels::Together => own,
    }
}

/// What the side that answers does, below whoever asked.
pub(crate) fn answer_span<R: Request>(request: &R, message: &Message, travels: Travels) -> Span {
    let header = traceparent(message);
    let origin = Origin::inside(parent(request.traceparent(), header, travels));
    let span = telemetry::span!(
        origin,
        "server",
        format!("{}.{}", R::SERVICE, R::ENDPOINT),
        messaging.system = "nats",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = message.subject.as_str()
    );
    if origin.is_some() && travels == Travels::Together {
        trace::link(&span, Origin::inside(header).and_then(|it| it.context()));
    }
    span
}

/// The trace context in a message's headers.
pub fn traceparent(message: &Message) -> Option<&str> {
    Some(message.headers.as_ref()?.get(trace::HEADER)?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_not_traced_because_one_that_came_with_it_is() {
        assert_eq!(parent(None, Some("of all"), Travels::Together), None);
        assert_eq!(parent(Some("own"), Some("of all"), Travels::Together), Some("own"));
        assert_eq!(parent(None, Some("own"), Travels::Alone), Some("own"));
    }
}
