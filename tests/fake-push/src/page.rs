//! The page for people, and the same as JSON.

use std::sync::Arc;

use http::StatusCode;

use crate::answer::{self, Arrived, Response};
use crate::world::World;

/// Answers a request to the page's listener.
pub(crate) async fn answer(_world: &Arc<World>, _request: &Arrived) -> Response {
    answer::empty(StatusCode::NOT_FOUND)
}
