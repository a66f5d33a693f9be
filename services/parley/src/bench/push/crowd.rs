//! A conversation with one sender; every other member has a registered device and is not connected.

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::push::{Platform, RegisterDevice, Token};
use protocol::{ConversationId, UserId};

use crate::bench::crew::Seat;
use crate::bench::people::People;
use crate::bench::target::Target;

/// Registrations at once.
const ABREAST: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) conversation_id: ConversationId,
    pub(super) sender: Seat,
    /// Those with a device.
    pub(super) users: Vec<UserId>,
}

impl Crowd {
    /// Makes `count` conversations of a sender and `members` more, of users from the number `first` on.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn gather(
        people: &People,
        target: &Target,
        first: usize,
        count: usize,
        members: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let mut crowds = Vec::new();
        for number in 0..count {
            let first = first + number * (members + 1);
            crowds.push(Self::one(people, target, first, members).await?);
        }
        Ok(crowds)
    }

    async fn one(people: &People, target: &Target, first: usize, members: usize) -> anyhow::Result<Self> {
        let room = people.room(target, first..=first + members).await?;
        let mut seats = room.members.into_iter();
        let sender = seats.next().context("a room without members")?;
        let users = (first + 1..=first + members).map(|number| people.user(number));
        let users = users.collect::<anyhow::Result<_>>()?;
        let register = |(number, seat): (usize, Seat)| async move {
            let device = device(people, first + 1 + number);
            people.register(&seat, &device).await
        };
        stream::iter(seats.enumerate())
            .map(register)
            .buffer_unordered(ABREAST)
            .try_collect::<()>()
            .await
            .context("cannot register a device")?;
        Ok(Self {
            conversation_id: ConversationId::parse(&room.conversation_id).context("not a conversation id")?,
            sender,
            users,
        })
    }
}

/// A phone of the user with this number.
fn device(people: &People, number: usize) -> RegisterDevice {
    let run = people.run().replace('-', "");
    RegisterDevice {
        device_id: "phone".to_owned(),
        platform: Platform::Apns,
        token: Token(format!("{run}{number:032x}")),
        app_id: None,
        environment: None,
        locale: None,
    }
}
