//! The senders' sockets: one for each conversation, written by whoever holds them all, with every message's fate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use bytes::BytesMut;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use super::crowd::Crowd;
use crate::bench::frame::{Incoming, Template};
use crate::bench::schedule::Key;
use crate::bench::socket::{self, Socket};

/// The one phase that client ids tell of.
const PHASE: u8 = 1;
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Senders {
    sockets: Vec<Sender>,
    /// In the order sent.
    pub(super) messages: Vec<Sent>,
    /// Refused messages by code.
    pub(super) refused: BTreeMap<String, u64>,
    heard: mpsc::UnboundedReceiver<Heard>,
    acked: usize,
    chunk: BytesMut,
}

struct Sender {
    conversation_id: String,
    template: Template,
    sink: SplitSink<Socket, Message>,
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Place of its conversation.
    pub(super) crowd: usize,
    /// Since 1970, just before it was written.
    pub(super) at: Duration,
    /// `None` while it is not acked.
    pub(super) seq: Option<u64>,
}

enum Heard {
    Acked { number: u64, seq: u64 },
    Refused { code: String },
    Closed,
}

impl Senders {
    /// Opens a socket for each sender.
    ///
    /// # Errors
    /// One cannot be opened.
    pub(super) async fn open(crowds: &[Crowd], text_bytes: usize) -> anyhow::Result<Self> {
        let (tell, heard) = mpsc::unbounded_channel();
        let mut sockets = Vec::new();
        for crowd in crowds {
            let socket = socket::open(&crowd.sender.server, &crowd.sender.token).await?;
            let (sink, stream) = socket.split();
            tokio::spawn(listen(stream, tell.clone()));
            let conversation_id = crowd.conversation_id.as_str().to_owned();
            sockets.push(Sender {
                template: Template::new(&conversation_id, text_bytes),
                conversation_id,
                sink,
            });
        }
        Ok(Self {
            sockets,
            messages: Vec::new(),
            refused: BTreeMap::new(),
            heard,
            acked: 0,
            chunk: BytesMut::new(),
        })
    }

    /// Writes the next message; the conversations have it in turn.
    ///
    /// # Errors
    /// The socket is closed.
    pub(super) async fn send(&mut self) -> anyhow::Result<()> {
        let number = self.messages.len();
        let crowd = number % self.sockets.len();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let unix_ms = u64::try_from(at.as_millis())?;
        let sender = &mut self.sockets[crowd];
        let key = Key::new(PHASE, number as u64);
        let frame = sender.template.fill(key, unix_ms, &mut self.chunk);
        sender.sink.send(Message::Text(frame.context("not a frame")?)).await?;
        self.messages.push(Sent { crowd, at, seq: None });
        Ok(())
    }

    /// The conversation at this place.
    pub(super) fn conversation(&self, crowd: usize) -> &str {
        &self.sockets[crowd].conversation_id
    }

    /// Takes the answers that have come.
    ///
    /// # Errors
    /// A socket was closed.
    pub(super) fn hear(&mut self) -> anyhow::Result<()> {
        while let Ok(heard) = self.heard.try_recv() {
            match heard {
                Heard::Acked { number, seq } => {
                    let sent = self.messages.get_mut(number as usize).context("an ack of nothing")?;
                    self.acked += usize::from(sent.seq.is_none());
                    sent.seq = Some(seq);
                }
                Heard::Refused { code } => *self.refused.entry(code).or_default() += 1,
                Heard::Closed => anyhow::bail!("a sender's socket was closed"),
            }
        }
        Ok(())
    }

    /// Messages that will be pushed, as far as is known by now.
    pub(super) fn standing(&self) -> u64 {
        self.messages.len() as u64 - self.refused.values().sum::<u64>()
    }

    /// Waits until every message is answered.
    ///
    /// # Errors
    /// Not in time.
    pub(super) async fn settle(&mut self, patience: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.hear()?;
            if self.acked as u64 >= self.standing() {
                return Ok(());
            }
            ensure!(start.elapsed() < patience, "messages were not answered");
            sleep(LOOK).await;
        }
    }
}

async fn listen(mut stream: SplitStream<Socket>, tell: mpsc::UnboundedSender<Heard>) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        let heard = Incoming::parse(&text).and_then(|frame| match frame.frame_type {
            "message:ack" => Some(Heard::Acked {
                number: frame.client_id.and_then(Key::parse)?.number(),
                seq: frame.seq?,
            }),
            "error" => Some(Heard::Refused {
                code: frame.code.unwrap_or_default().to_owned(),
            }),
            _ => None,
        });
        if let Some(heard) = heard
            && tell.send(heard).is_err()
        {
            return;
        }
    }
    // Nobody listens any more where the run is over.
    let _ = tell.send(Heard::Closed);
}
