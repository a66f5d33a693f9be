//! The receipts that a member sends for a message: written often, so ready but for the `seq`.

/// `message:delivered` and `message:read` of one conversation.
#[derive(Debug)]
pub(super) struct Confirm([String; 2]);

impl Confirm {
    pub(super) fn new(conversation_id: &str) -> Self {
        Self(
            ["delivered", "read"]
                .map(|kind| format!(r#"{{"type":"message:{kind}","conversation_id":"{conversation_id}","seq":"#)),
        )
    }

    /// Everything up to `seq` has come, and was read.
    pub(super) fn frames(&self, seq: u64) -> [String; 2] {
        self.0.each_ref().map(|begin| format!("{begin}{seq}}}"))
    }
}

#[cfg(test)]
mod tests {
    use protocol::client_frame::{ClientFrame, decode};

    use super::*;

    #[test]
    fn both_are_receipts_that_the_server_understands() {
        let [delivered, read] = Confirm::new("g00000000000000000000000000000000").frames(42);
        let (delivered, read) = (decode(&delivered).unwrap().frame, decode(&read).unwrap().frame);
        let (ClientFrame::MessageDelivered(delivered), ClientFrame::MessageRead(read)) = (delivered, read) else {
            panic!("not receipts");
        };
        assert_eq!((delivered.seq, read.seq), (Some(42), Some(42)));
    }
}
