//! Rebuilding the directory from MongoDB, where NATS has lost it. Without it nobody would be sent anything: whoever
//! connects is asked for by his directory entries.

use bus::directory::{self, Membership};
use bus::{Log, LogError};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::store::{MemberDocument, Standing, Store, StoreError};

/// Memberships read at once, and of those written at once.
const BATCH: i64 = 1_000;
const WRITES_AT_ONCE: usize = 64;

/// Why a rebuild stopped. It can be begun again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error("MongoDB: {0}")]
    Store(#[from] StoreError),
    #[error("NATS: {0}")]
    Log(#[from] LogError),
}

/// Makes the directory whole if it is not known to be: on the first start of a deployment, and after its stream was
/// lost. Any number of replicas may do it at once; entries that are there already stay.
///
/// # Errors
/// MongoDB or NATS did not answer: begin again.
pub(crate) async fn ensure_directory(log: &Log, store: &Store) -> Result<(), RebuildError> {
    let Some(identity) = directory::incomplete(log.bus()).await? else {
        return Ok(());
    };
    let (mut after, mut count) = (None, 0u64);
    loop {
        let members = store.all_members(after.take(), BATCH).await?;
        let Some(last) = members.last() else { break };
        after = Some((last.key.user_id.clone(), last.key.conversation_id.clone()));
        count += members.len() as u64;
        stream::iter(members.into_iter().filter_map(entry))
            .map(Ok::<_, LogError>)
            .try_for_each_concurrent(WRITES_AT_ONCE, |(user, membership)| async move {
                directory::store(log, &user, &membership).await
            })
            .await?;
    }
    directory::mark_complete(log.bus(), identity).await?;
    if count > 0 {
        tracing::warn!(
            memberships = count,
            "the directory was lost and has been rebuilt from MongoDB"
        );
        metrics::counter!("parley_directory_rebuilds_total").increment(1);
    }
    Ok(())
}

fn entry(member: MemberDocument) -> Option<(protocol::UserId, Membership)> {
    let (since, until) = match member.standing() {
        Standing::Present { since, .. } => (since, None),
        Standing::Gone { since, until } => (since, Some(until)),
        Standing::Unknown => return None,
    };
    let membership = Membership {
        conversation_id: member.key.conversation_id,
        since,
        until,
    };
    Some((member.key.user_id, membership))
}
