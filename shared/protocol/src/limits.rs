//! The fixed limits of the protocol. Limits that an operator can set are in the `config` crate.

/// Largest WebSocket frame or HTTP request body of a send, in bytes.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Longest message text after trimming, in Unicode scalar values.
pub const TEXT_CHARS: usize = 4_000;
/// Longest user id or device id, in bytes.
pub const ID_BYTES: usize = 128;
/// Longest token of a device for push, in bytes.
pub const PUSH_TOKEN_BYTES: usize = 8_192;
/// Longest id of an app at a push provider, in bytes.
pub const APP_ID_BYTES: usize = 255;
/// Longest locale of a device, in bytes.
pub const LOCALE_BYTES: usize = 35;
/// Longest conversation name, in Unicode scalar values.
pub const NAME_CHARS: usize = 200;
/// Most members of a conversation.
pub const MEMBERS: usize = 10_000;
/// Most members that a conversation object lists; past it there is `member_count`.
pub const MEMBERS_LISTED: usize = 100;
/// Most attachments of one message.
pub const ATTACHMENTS: usize = 10;
/// Longest attachment URL, in bytes.
pub const URL_BYTES: usize = 2_048;
/// A message page of `GET …/messages`: default and most.
pub const HISTORY_DEFAULT: u32 = 50;
/// See [`HISTORY_DEFAULT`].
pub const HISTORY_MOST: u32 = 200;
/// An event page of `GET /v1/messages`: default and most.
pub const EVENTS_DEFAULT: u32 = 100;
/// See [`EVENTS_DEFAULT`].
pub const EVENTS_MOST: u32 = 500;
/// A page of `GET /v1/conversations`: default and most.
pub const CONVERSATIONS_DEFAULT: u32 = 50;
/// See [`CONVERSATIONS_DEFAULT`].
pub const CONVERSATIONS_MOST: u32 = 200;
/// Unread counts stop here: this many or more.
pub const UNREAD_MOST: u32 = 100;
/// A page of `GET …/members`: default and most.
pub const MEMBERS_DEFAULT: u32 = 100;
/// See [`MEMBERS_DEFAULT`].
pub const MEMBERS_MOST: u32 = 1_000;
/// Receipts in conversations of more members than this go only to the senders of what they cover.
pub const RECEIPTS_TO_ALL: usize = 100;
/// Most members that `subscribed` lists as present.
pub const PRESENT_LISTED: usize = 200;
/// Most rooms that one socket is subscribed to.
pub const SUBSCRIPTIONS: usize = 1_000;
/// Most users of one `GET /v1/presence`.
pub const PRESENCE_USERS: usize = 100;
/// Typing ends by itself so long after the last start.
pub const TYPING_MS: u64 = 5_000;
