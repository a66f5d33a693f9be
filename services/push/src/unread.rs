//! The numbers on users' icons, as the message service counts them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use protocol::rpc::CountUnread;
use protocol::{ConversationId, UserId};

use crate::service::Service;

const WAIT: Duration = Duration::from_secs(2);
/// Users of one question.
const TOGETHER: usize = 256;
/// Questions under way at once.
const QUESTIONS: usize = 4;

/// The numbers for the icons of `users`, as of what `conversations` have in the log. While they cannot be had pushes go
/// without: the icon stays as it is.
pub(crate) async fn unread(
    service: &Service,
    users: HashSet<UserId>,
    conversations: HashSet<ConversationId>,
) -> HashMap<UserId, u32> {
    let users: Vec<UserId> = users.into_iter().collect();
    let conversations: Vec<ConversationId> = conversations.into_iter().collect();
    let questions: Vec<CountUnread> = users
        .chunks(TOGETHER)
        .map(|users| CountUnread {
            users: users.to_vec(),
            conversations: conversations.clone(),
        })
        .collect();
    let ask = |question| ask(service, question);
    let answers: Vec<_> = futures_util::stream::iter(questions)
        .map(ask)
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    answers.into_iter().flatten().collect()
}

async fn ask(service: &Service, question: CountUnread) -> Vec<(UserId, u32)> {
    match bus::rpc::call(&service.bus, &question, WAIT).await {
        Ok(answer) => question.users.into_iter().zip(answer.counts).collect(),
        Err(error) => {
            metrics::counter!("parley_push_badges_unknown_total").increment(question.users.len() as u64);
            tracing::debug!(%error, "pushing without the number of unread messages");
            Vec::new()
        }
    }
}
