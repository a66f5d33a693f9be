//! Requests to the push service, and what that asks of the others.

use serde::{Deserialize, Serialize};

use super::{PRESENCE, Request};
use crate::client_frame::AppState;
use crate::push::{
    ConversationNotifications, Device, Devices, Notifications, PushInfo, RegisterDevice as Registration,
    UpdateConversationNotifications, UpdateNotifications,
};
use crate::server_frame::ConversationType;
use crate::{ConversationId, UserId};

/// The push service, in the subjects of its endpoints.
pub const PUSH: &str = "push";

/// Registers a device, or registers it anew. A token that another device had moves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegisterDevice {
    /// Whose.
    pub user_id: UserId,
    /// What.
    pub device: Registration,
}

/// A registration, and whether the device was not registered before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// As listed.
    pub device: Device,
    /// False where it replaced one.
    pub created: bool,
}

impl Request for RegisterDevice {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "register";
    const MAY_OVERLAP: bool = false;
    type Value = Registered;
}

/// Lists a user's devices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListDevices {
    /// Whose.
    pub user_id: UserId,
}

impl Request for ListDevices {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "devices";
    type Value = Devices;
}

/// Forgets a device: nothing more is pushed to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveDevice {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub device_id: String,
}

impl Request for RemoveDevice {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "remove";
    const MAY_OVERLAP: bool = false;
    type Value = ();
}

/// Asks what the deployment can push to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadPushInfo {}

impl Request for ReadPushInfo {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "info";
    type Value = PushInfo;
}

/// Reads, and changes where there is an update, what a user wants to be notified of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetNotifications {
    /// Who.
    pub user_id: UserId,
    /// Nothing is changed where it is absent.
    pub update: Option<UpdateNotifications>,
}

impl Request for SetNotifications {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "notifications";
    const MAY_OVERLAP: bool = false;
    type Value = Notifications;
}

/// The same of one conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetConversationNotifications {
    /// Who: a member, or it is `not_found`.
    pub user_id: UserId,
    /// Which, unchecked.
    pub conversation_id: String,
    /// Nothing is changed where it is absent.
    pub update: Option<UpdateConversationNotifications>,
}

impl Request for SetConversationNotifications {
    const SERVICE: &'static str = PUSH;
    const ENDPOINT: &'static str = "conversation_notifications";
    const MAY_OVERLAP: bool = false;
    type Value = ConversationNotifications;
}

/// Asks the message service who is in a conversation. Only other services ask this: it checks no membership.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadAudience {
    /// Which.
    pub conversation_id: ConversationId,
}

/// A conversation as of its last entry that changed members or settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Stream sequence of that entry: the `state_at` of the messages after it.
    pub state_at: u64,
    /// Direct or group.
    pub conversation_type: ConversationType,
    /// A group's name.
    pub name: Option<String>,
    /// All of them.
    pub members: Vec<UserId>,
}

impl Request for ReadAudience {
    const ENDPOINT: &'static str = "audience";
    type Value = Audience;
}

/// Asks the message service for the numbers on users' icons.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CountUnread {
    /// Whose.
    pub users: Vec<UserId>,
    /// The answer takes in what these conversations have in the log, and all receipts.
    pub conversations: Vec<ConversationId>,
}

/// Unread messages over all conversations, each counted as in a list of conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// In the order asked for.
    pub counts: Vec<u32>,
}

impl Request for CountUnread {
    const ENDPOINT: &'static str = "unread";
    type Value = Unread;
}

/// Asks the presence service which devices of users are connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadSessions {
    /// Whose.
    pub users: Vec<UserId>,
}

/// A user's connected devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserConnections {
    /// Who.
    pub user_id: UserId,
    /// Whether he chose not to be disturbed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dnd: bool,
    /// A device with several sessions is in the foreground where one of them is.
    pub devices: Vec<(String, AppState)>,
    /// Whether he has no session, but had one a moment ago: he may be on his way to another node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lately: bool,
}

/// Who is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Of those asked for, who is connected, was so lately, or does not want to be disturbed.
    pub users: Vec<UserConnections>,
}

impl Request for ReadSessions {
    const SERVICE: &'static str = PRESENCE;
    const ENDPOINT: &'static str = "sessions";
    const ATTEMPT_MS: u64 = 900;
    type Value = Connections;
}
