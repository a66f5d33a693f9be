//! Performs what the client decides: frames to the link, requests to HTTP, their answers and the time back to it.

use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::api::{Api, Target};
use super::client::{Answer, Client, Output, Request};
use super::link::{Link, LinkEvent};

/// Events of the link that wait for the client; then the socket waits.
pub(super) const EVENTS: usize = 256;

/// Answers that wait for the client.
const ANSWERS: usize = 16;

/// Frames that one round may bring; with less room than that, the round waits.
const ROOM: usize = 48;

/// For the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Receipts wait for more of their kind, but not longer than the session lives.
const SOON: Duration = Duration::from_secs(1);

/// A client with its connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    api: Api,
    history: u32,
    link: JoinHandle<()>,
    events: mpsc::Receiver<LinkEvent>,
    outgoing: Option<mpsc::Sender<Value>>,
    answers: mpsc::Receiver<Answer>,
    answer: mpsc::Sender<Answer>,
}

impl Session {
    /// Starts connecting. `history` is how many messages a page has.
    pub(super) fn start(client: Client, api: Api, link: Link, events: mpsc::Receiver<LinkEvent>, history: u32) -> Self {
        let (answer, answers) = mpsc::channel(ANSWERS);
        let link = tokio::spawn(link.run());
        Self {
            client,
            api,
            history,
            link,
            events,
            outgoing: None,
            answers,
            answer,
        }
    }

    /// Waits for one thing to happen and deals with it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The server refuses this client for good.
    pub(super) async fn step(&mut self) -> anyhow::Result<()> {
        let now = std::time::Instant::now();
        let (due, is_due) = match self.client.due(now) {
            Some(due) if self.has_room() => (due, true),
            Some(due) => (due.max(now + Duration::from_millis(20)), true),
            None => (now, false),
        };
        tokio::select! {
            event = self.events.recv() => match event {
                Some(event) => self.on_link(event)?,
                None => bail!("the connection has ended"),
            },
            Some(answer) = self.answers.recv() => self.client.on_answer(answer, std::time::Instant::now()),
            () = sleep_until(Instant::from_std(due)), if is_due => {}
        }
        self.perform();
        Ok(())
    }

    /// Takes a line of the user. False if it should be kept.
    pub(super) fn on_line(&mut self, line: &str) -> bool {
        let taken = self.client.on_line(line, std::time::Instant::now());
        self.perform();
        taken
    }

    /// Opens what the user chose.
    pub(super) fn open(&mut self, target: Target) {
        self.client.open_target(target);
        self.perform();
    }

    /// Does at once what the client has to do by now.
    pub(super) fn perform(&mut self) {
        let now = std::time::Instant::now();
        self.client.tick(now);
        for request in self.client.take_requests() {
            let (api, answer, history) = (self.api.clone(), self.answer.clone(), self.history);
            tokio::spawn(async move { drop(answer.send(perform(&api, request, history).await).await) });
        }
        self.write(now);
    }

    fn write(&mut self, now: std::time::Instant) {
        let Some(outgoing) = self.outgoing.as_ref().filter(|_| self.has_room()) else {
            return;
        };
        for frame in self.client.frames(now) {
            // There is room; a link that has just died says so itself, and then all is sent again.
            let _ = outgoing.try_send(frame);
        }
    }

    fn has_room(&self) -> bool {
        self.outgoing
            .as_ref()
            .is_none_or(|outgoing| outgoing.capacity() >= ROOM)
    }

    fn on_link(&mut self, event: LinkEvent) -> anyhow::Result<()> {
        let now = std::time::Instant::now();
        match event {
            LinkEvent::Online(ready, outgoing) => {
                self.outgoing = Some(outgoing);
                self.client.on_online(&ready, now);
            }
            LinkEvent::Frame(frame) => self.client.on_frame(*frame, now),
            LinkEvent::Offline(why, wait) => {
                self.outgoing = None;
                self.client.on_offline(why, now + wait);
            }
            LinkEvent::Fatal(why) => bail!(why),
        }
        Ok(())
    }

    /// Waits until all that the user wanted is done or refused, `patience` at most; gives each output to `tell`.
    ///
    /// # Errors
    /// The server refuses this client for good.
    pub(super) async fn settle(&mut self, patience: Duration, mut tell: impl FnMut(Output)) -> anyhow::Result<()> {
        let waited = timeout(patience, async {
            while !self.client.is_settled() {
                self.step().await?;
                self.client.take_outputs().into_iter().for_each(&mut tell);
            }
            Ok(())
        });
        // What is still waiting then is told by `leave`.
        waited.await.unwrap_or(Ok(()))
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// Messages are left that the server has not acked.
    pub(super) async fn leave(mut self) -> anyhow::Result<()> {
        self.write(std::time::Instant::now() + SOON);
        self.outgoing = None;
        // Closed and not dropped: the link sees it while it waits to reconnect, and says its goodbye first if it is up.
        let drained = async {
            self.events.close();
            while self.events.recv().await.is_some() {}
            let _ = (&mut self.link).await;
        };
        let _ = timeout(GOODBYE, drained).await;
        self.link.abort();
        match self.client.outbox().waiting() {
            0 => Ok(()),
            1 => bail!("1 message was not confirmed by the server"),
            many => bail!("{many} messages were not confirmed by the server"),
        }
    }
}

async fn perform(api: &Api, request: Request, history: u32) -> Answer {
    match request {
        Request::Open(target) => {
            let opened = api.open(&target).await.map(Box::new);
            Answer::Opened(target, opened)
        }
        Request::History(id, before) => {
            let page = api.history(&id, before, history).await;
            Answer::Page(id, before, page)
        }
        Request::List(is_wish) => Answer::Listed(is_wish, api.list().await),
        Request::Look(id) => {
            let target = Target::Conversation(id.clone());
            Answer::Looked(id, api.open(&target).await.map(Box::new))
        }
        Request::Presence(users) => Answer::Presence(api.presence(&users).await),
        Request::Who(id) => {
            let who = api.who(&id).await;
            Answer::Who(id, who)
        }
        Request::Change(change) => {
            let changed = api.change(&change).await;
            Answer::Changed(change, changed)
        }
    }
}
