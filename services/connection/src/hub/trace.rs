//! What the trace of a message shows of its delivery: a span for each node, and one for each of the first sockets that it
//! is written to.

use std::sync::atomic::{AtomicU32, Ordering};

use telemetry::trace::Origin;
use tracing::Span;

use super::event::Event;
use crate::session::Session;

/// Sockets that have a span each. Of a group of ten thousand nobody reads more, and no collector wants them.
const SOCKETS_MOST: u32 = 32;

/// Of an event that is traced.
#[derive(Debug)]
pub struct Trace {
    origin: Origin,
    sockets: AtomicU32,
}

impl Trace {
    /// Deliveries belong below `origin`.
    pub fn new(origin: Origin) -> Box<Self> {
        Box::new(Self {
            origin,
            sockets: AtomicU32::new(0),
        })
    }
}

impl Event {
    /// The span of this node's dispatch of an event that was written by who says so in `traceparent`; deliveries of the
    /// event are below it from then on.
    pub(super) fn dispatch_span(&mut self, stream: &str, traceparent: Option<&str>) -> Span {
        let Some(trace) = &mut self.trace else {
            return Span::none();
        };
        let origin = Origin::inside(traceparent).unwrap_or_else(|| trace.origin.clone());
        let span = telemetry::span!(
            Some(origin),
            "consumer",
            format!("dispatch {stream}"),
            messaging.system = "nats",
            messaging.operation.name = "dispatch",
            messaging.operation.r#type = "process",
            messaging.destination.name = stream,
            parley.conversation_id = self.conversation_id.as_str(),
            parley.seq = self.seq.cast_signed()
        );
        if let Some(origin) = Origin::of(&span) {
            trace.origin = origin;
        }
        span
    }

    /// The span of handing it to one client: ended when dropped.
    pub fn delivery_span(&self, session: &Session, protocol: &'static str) -> Option<Span> {
        let trace = self.trace.as_ref()?;
        if trace.sockets.fetch_add(1, Ordering::Relaxed) >= SOCKETS_MOST {
            return None;
        }
        Some(telemetry::span!(
            Some(&trace.origin),
            "producer",
            format!("deliver {}", self.kind.frame_type()),
            network.protocol.name = protocol,
            user.id = session.user_id.as_str(),
            session.id = session.id.as_str(),
            device.id = session.device_id.as_str()
        ))
    }
}
