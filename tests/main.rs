//! Tests of the whole system: the real `parley` binary with real NATS and MongoDB, seen only from outside.
//!
//! Everything here is written from the contract with clients and operators; the client parses frames on its own, so
//! that a mistake in the shared types cannot hide itself.
#![expect(clippy::unwrap_used, reason = "a test binary has no users")]

mod harness;

mod asked_by_push;
mod bad_input;
mod catch_up;
mod chat;
mod clusters;
mod configure;
mod connect;
mod conversations;
mod crashes;
mod deadlines;
mod deliver;
mod devices;
mod devices_form;
mod drain;
mod drain_many;
mod flood;
mod history;
mod invariants;
mod list;
mod logs;
mod lost_log;
mod members;
mod members_answers;
mod members_faults;
mod members_gone;
mod members_history;
mod members_hot;
mod members_limits;
mod members_newer;
mod members_roles;
mod nats_login;
mod outages;
mod oversize;
mod partitions;
mod paths;
mod permissions;
mod poll;
mod presence;
mod presence_faults;
mod presence_http;
mod presence_status;
mod push;
mod push_answers;
mod push_devices;
mod push_faults;
mod push_settings;
mod queries;
mod receipts;
mod receipts_durable;
mod receipts_large;
mod receipts_replaced;
mod receipts_shown;
mod reconnects;
mod resume;
mod retry;
mod rolling;
mod rooms;
mod send;
mod since;
mod sse;
mod stale;
mod start;
mod timeline;
mod tokens;
mod traces;
mod transports;
mod typing;
mod user_ids;
mod verify;
