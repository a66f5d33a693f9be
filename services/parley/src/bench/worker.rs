//! One thread of the load generator: its rooms with all their sockets, on a runtime of its own.
//!
//! Nothing here is shared with another thread but one counter, so no frame costs a lock. One task reads each socket; one
//! task, the phase, writes them all.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use futures_util::{Sink, Stream, StreamExt, TryStreamExt, stream};
use tokio::task::{spawn_local, yield_now};
use tokio_tungstenite::tungstenite::Message;

use super::book::Book;
use super::checker::Checker;
use super::confirm::Confirm;
use super::crew::{Load, Phase, RoomPlan, Verdict};
use super::frame::{Incoming, Template};
use super::member::{Member, flush};
use super::pacer::Pacer;
use super::schedule::{Key, place};
use super::socket;
use super::tally::Tally;

/// Sockets that one worker opens at once.
const OPENING: usize = 32;
/// A sender that is behind its schedule lets the readers in after so many messages.
const BURST: u32 = 64;
/// Longer than any request of the deployment may take.
const SILENCE: Duration = Duration::from_secs(4);
/// Between two looks at whether everything has come.
const LOOK: Duration = Duration::from_millis(5);

struct Room {
    conversation_id: String,
    template: Template,
    confirm: Confirm,
    /// Indexes of the members' sockets.
    members: Vec<usize>,
}

pub(super) struct Worker {
    rooms: Vec<Room>,
    members: Vec<Rc<Member>>,
    senders: usize,
    book: RefCell<Book>,
    acked: Arc<AtomicU64>,
}

impl Worker {
    /// Opens all sockets and starts to read them. Must run inside a `LocalSet`.
    pub(super) async fn start(plans: Vec<RoomPlan>, load: Load, acked: Arc<AtomicU64>) -> anyhow::Result<Rc<Self>> {
        let mut rooms = Vec::with_capacity(plans.len());
        let mut seats = Vec::new();
        let book = Book::new(plans.iter().map(|it| it.members.len()))?;
        for (room, plan) in plans.into_iter().enumerate() {
            rooms.push(Room {
                template: Template::new(&plan.conversation_id, load.text_bytes),
                confirm: Confirm::new(&plan.conversation_id),
                conversation_id: plan.conversation_id,
                members: (seats.len()..seats.len() + plan.members.len()).collect(),
            });
            seats.extend(
                plan.members
                    .into_iter()
                    .enumerate()
                    .map(|(place, seat)| (room, place, seat)),
            );
        }
        let opened = stream::iter(seats).map(|(room, place, seat)| async move {
            let socket = RefCell::new(socket::open(&seat.server, &seat.token).await?);
            anyhow::Ok(Rc::new(Member {
                socket,
                room,
                place,
                flushing: Cell::new(false),
                confirmed: Cell::new(0),
            }))
        });
        let members = opened.buffered(OPENING).try_collect().await?;
        let worker = Rc::new(Self {
            rooms,
            members,
            senders: load.senders,
            book: RefCell::new(book),
            acked,
        });
        for member in &worker.members {
            spawn_local(worker.clone().read(member.clone()));
        }
        Ok(worker)
    }

    /// Sends the phase's messages, each at its time, and waits until all that they must lead to has come, or nothing
    /// has come for the phase's patience.
    pub(super) async fn run(&self, phase: Phase) -> anyhow::Result<Tally> {
        {
            let mut book = self.book.borrow_mut();
            book.tally = Tally::new(phase.start)?;
            book.phase = phase;
        }
        let pacer = Pacer::new()?;
        let mut chunk = BytesMut::new();
        let mut burst = 0;
        for number in 0.. {
            let due = phase.schedule.due(number);
            if due >= phase.schedule.length() {
                break;
            }
            let due = phase.start + due;
            if Instant::now() < due {
                pacer.until(due).await?;
                burst = 0;
            }
            self.send(number, due, &mut chunk)?;
            burst += 1;
            if burst == BURST {
                yield_now().await;
                burst = 0;
            }
        }
        self.settle(phase).await;
        Ok(self.book.borrow().tally.clone())
    }

    /// A refused message may be logged nevertheless: after a refusal only silence says that nothing more will come.
    async fn settle(&self, phase: Phase) {
        let (patience, quiet) = (phase.patience, phase.quiet);
        let progress = || {
            let tally = &self.book.borrow().tally;
            (tally.acked, tally.refusals(), tally.delivered, tally.told_measured)
        };
        let (mut last, mut since) = (progress(), Instant::now());
        loop {
            let is_settled = self.book.borrow().tally.is_settled();
            let silence = match (is_settled, last.1) {
                (true, 0) => quiet,
                (true, _) => patience.min(SILENCE),
                (false, _) => patience,
            };
            if since.elapsed() >= silence {
                return;
            }
            tokio::time::sleep(LOOK).await;
            if progress() != last {
                (last, since) = (progress(), Instant::now());
            }
        }
    }

    fn send(&self, number: u64, due: Instant, chunk: &mut BytesMut) -> anyhow::Result<()> {
        let (room, sender) = place(number, self.rooms.len(), self.senders);
        let room = &self.rooms[room];
        let member = &self.members[room.members[sender]];
        let mut book = self.book.borrow_mut();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let key = Key::new(book.phase.number, number);
        let frame = room.template.fill(key, u64::try_from(unix_ms)?, chunk);
        book.tally.sent += 1;
        if book.phase.schedule.is_measured(number) {
            book.tally.late.record(due.elapsed());
        }
        drop(book);
        let (Some(frame), Ok(mut socket)) = (frame, member.socket.try_borrow_mut()) else {
            return Ok(());
        };
        // On a socket that is gone the message stays unanswered, and is counted so.
        let written = Pin::new(&mut *socket).start_send(Message::Text(frame));
        drop(socket);
        if written.is_ok() && !member.flushing.get() {
            flush(member);
        }
        Ok(())
    }

    /// The member says at once that a message has come and was read.
    fn confirm(&self, member: &Rc<Member>, seq: u64) {
        let Ok(mut socket) = member.socket.try_borrow_mut() else {
            return;
        };
        let confirm = &self.rooms[member.room].confirm;
        let is_written = confirm
            .frames(seq)
            .into_iter()
            .all(|frame| Pin::new(&mut *socket).start_send(Message::text(frame)).is_ok());
        drop(socket);
        if is_written {
            member.confirmed.set(seq);
            self.book.borrow_mut().count_receipts(2, false, Instant::now());
            if !member.flushing.get() {
                flush(member);
            }
        }
    }

    /// Reads one socket until it ends.
    async fn read(self: Rc<Self>, member: Rc<Member>) {
        loop {
            let next = poll_fn(|context| Pin::new(&mut *member.socket.borrow_mut()).poll_next(context)).await;
            match next {
                Some(Ok(Message::Text(text))) => self.on_frame(&member, &text),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        self.book.borrow_mut().closed += 1;
    }

    fn on_frame(&self, member: &Rc<Member>, text: &str) {
        let now = Instant::now();
        let mut book = self.book.borrow_mut();
        let Some(frame) = Incoming::parse(text) else {
            book.faults.mismatched += 1;
            return;
        };
        let is_ack = match frame.frame_type {
            "message:incoming" => false,
            "message:ack" => true,
            "message:delivered" | "message:read" => return book.count_receipts(1, true, now),
            "error" => {
                let code = frame.code.unwrap_or("without a code").to_owned();
                *book.tally.refused.entry(code).or_default() += 1;
                if let Some(key) = frame.client_id.and_then(Key::parse) {
                    book.checkers[member.room].refused(key);
                }
                return;
            }
            _ => return,
        };
        let room = &self.rooms[member.room];
        let key = frame.client_id.and_then(Key::parse);
        let (Some(seq), Some(key)) = (frame.seq, key) else {
            book.faults.mismatched += 1;
            return;
        };
        if frame.conversation_id != Some(&room.conversation_id) {
            book.faults.mismatched += 1;
            return;
        }
        let is_new = match is_ack {
            true => book.checkers[member.room].acked(member.place, seq, key),
            false => book.checkers[member.room].delivered(member.place, seq, key),
        };
        if !is_new {
            return;
        }
        self.acked.fetch_add(u64::from(is_ack), Ordering::Relaxed);
        book.count(key, is_ack, now, room.members.len() as u64 - 1);
        let confirms = book.phase.confirms && !is_ack;
        drop(book);
        if confirms {
            self.confirm(member, seq);
        }
    }

    /// The verdict over all phases.
    pub(super) fn verdict(&self) -> Verdict {
        let book = self.book.borrow();
        let mut faults = book.faults;
        book.checkers.iter().for_each(|it| faults.add(it.finish()));
        let ids = self.rooms.iter().map(|room| room.conversation_id.clone());
        let heads = ids.zip(book.checkers.iter().map(Checker::head)).collect();
        let sample = self.rooms.first().zip(book.checkers.first()).map(|(room, checker)| {
            let messages = checker.messages().collect();
            (room.conversation_id.clone(), messages)
        });
        let confirmed = |room: &Room| {
            room.members
                .iter()
                .map(|it| self.members[*it].confirmed.get())
                .collect()
        };
        Verdict {
            confirmed: self.rooms.iter().map(confirmed).collect(),
            faults,
            closed: book.closed,
            heads,
            samples: sample.into_iter().collect(),
        }
    }
}
