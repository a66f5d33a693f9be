//! Why there is no response, and what is known of the request then.

/// No response came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// There is no connection: the server has seen nothing.
    #[error("{0}")]
    Connect(ConnectError),
    /// The server did not touch the request, nor its repetitions.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The connection was lost: the server may have acted on the request.
    #[error("connection lost: {0}")]
    Lost(String),
    /// No response in time: the server may have acted on the request, and may still.
    #[error("timed out")]
    TimedOut,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name leads to an address that must not be reached. Trying again does not help.
    #[error("{0} is not a public address")]
    Forbidden(String),
    /// It could not be reached, or TLS failed.
    #[error("cannot connect to {authority}: {reason}")]
    Failed {
        /// Host and port.
        authority: String,
        /// What happened.
        reason: String,
    },
}
