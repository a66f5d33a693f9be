//! A request that can be sent more than once, and its response.

use std::fmt::{self, Debug};

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// As much of a response's body is kept. Providers' answers take some hundred bytes.
const BODY_BYTES_MOST: usize = 64 * 1024;

/// What is to be sent, without the authority. Path and headers hold tokens, so that `Debug` shows none of them.
pub(crate) struct Outgoing {
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

/// A response.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Cut where it is longer than is kept or breaks off: the status is the answer.
    pub(crate) body: Bytes,
}

impl Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) async fn read(response: http::Response<Incoming>) -> Self {
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while bytes.len() < BODY_BYTES_MOST {
            let Some(Ok(frame)) = body.frame().await else {
                break;
            };
            if let Some(data) = frame.data_ref() {
                let room = BODY_BYTES_MOST - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        Self {
            status: head.status,
            headers: head.headers,
            body: bytes.freeze(),
        }
    }
}
