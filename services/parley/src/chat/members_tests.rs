//! Who counts as a member when, and what that does to the marks.

use serde_json::{Value, json};

use super::*;

const ID: &str = "g00000000000000000000000000000000";
const TIME: &str = "2026-11-22T01:02:03.456Z";

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn conversation(seq: u64, members: &[(&str, u64, u64)]) -> Conversation {
    let members: Vec<_> = members
        .iter()
        .map(|(name, delivered, read)| {
            json!({"user_id": name, "role": "member", "delivered_seq": delivered, "read_seq": read})
        })
        .collect();
    let value = json!({"conversation_id": ID, "type": "group", "members": members, "seq": seq, "created_at": TIME,
        "read_seq": 0, "unread": 0});
    serde_json::from_value(value).unwrap()
}

/// Ann's, with the others and their watermarks.
fn members(seq: u64, others: &[(&str, u64, u64)]) -> Members {
    let mut members = Members::new(user("ann"));
    members.learn(&conversation(seq, &[&[("ann", 9, 9)], others].concat()));
    members
}

fn receipt(name: &str, seq: u64) -> Receipt {
    serde_json::from_value(json!({"conversation_id": ID, "user_id": name, "seq": seq, "timestamp": TIME})).unwrap()
}

fn change(seq: u64, users: &[&str]) -> Value {
    json!({"conversation_id": ID, "seq": seq, "user_ids": users, "by": "ann", "timestamp": TIME})
}

fn added(seq: u64, users: &[&str]) -> MemberAdded {
    serde_json::from_value(change(seq, users)).unwrap()
}

fn removed(seq: u64, users: &[&str]) -> MemberRemoved {
    serde_json::from_value(change(seq, users)).unwrap()
}

#[test]
fn marks_only_rise() {
    let mut members = members(1, &[("bob", 0, 0)]);
    assert_eq!(members.mark(2), Mark::Sent);
    assert!(members.receipt(ReceiptKind::Delivered, &receipt("bob", 2)));
    assert_eq!((members.mark(2), members.mark(3)), (Mark::Delivered, Mark::Sent));
    assert!(members.receipt(ReceiptKind::Read, &receipt("bob", 3)));
    assert!(!members.receipt(ReceiptKind::Read, &receipt("bob", 2)));
    assert_eq!(members.mark(3), Mark::Read);
    members.learn(&conversation(3, &[("ann", 0, 0), ("bob", 1, 1)]));
    assert_eq!(members.mark(3), Mark::Read);
}

#[test]
fn who_has_read_has_received() {
    let mut members = members(1, &[("bob", 0, 5), ("carl", 5, 0)]);
    assert_eq!(members.mark(5), Mark::Delivered);
    assert!(members.receipt(ReceiptKind::Read, &receipt("carl", 5)));
    assert_eq!(members.mark(5), Mark::Read);
}

#[test]
fn own_receipts_and_those_of_some_members_mark_nothing() {
    let mut members = members(1, &[("bob", 0, 0), ("carl", 0, 0)]);
    assert!(!members.receipt(ReceiptKind::Read, &receipt("ann", 9)));
    assert!(members.receipt(ReceiptKind::Read, &receipt("bob", 9)));
    assert_eq!(members.mark(9), Mark::Sent);
}

#[test]
fn a_large_group_is_read_when_all_have_read_and_not_all_that_are_listed() {
    let mut large = conversation(1, &[("ann", 0, 0), ("bob", 4, 4)]);
    large.member_count = Some(3);
    let mut members = Members::new(user("ann"));
    members.learn(&large);
    assert_eq!((members.mark(4), members.count()), (Mark::Sent, 3));
    assert!(members.receipt(ReceiptKind::Read, &receipt("unlisted", 4)));
    assert_eq!(members.mark(4), Mark::Read);
}

#[test]
fn alone_in_a_group_nothing_is_ever_delivered() {
    assert_eq!(members(1, &[]).mark(2), Mark::Sent);
}

#[test]
fn what_was_read_by_all_stays_read_when_somebody_is_added() {
    let mut members = members(4, &[("bob", 4, 4)]);
    members.add(&added(5, &["carl"]));
    assert_eq!((members.mark(4), members.mark(5)), (Mark::Read, Mark::Sent));
    members.receipt(ReceiptKind::Read, &receipt("bob", 6));
    members.receipt(ReceiptKind::Read, &receipt("carl", 6));
    assert_eq!((members.mark(6), members.count()), (Mark::Read, 3));
}

#[test]
fn nobody_waits_for_those_who_left_and_their_late_receipts_bring_nobody_back() {
    let mut members = members(4, &[("bob", 4, 4), ("carl", 0, 0)]);
    assert_eq!(members.mark(4), Mark::Sent);
    members.remove(&removed(5, &["carl"]));
    assert_eq!(members.mark(4), Mark::Read);
    assert!(!members.receipt(ReceiptKind::Read, &receipt("carl", 4)));
    assert_eq!((members.mark(4), members.count()), (Mark::Read, 2));
}

#[test]
fn a_change_that_comes_by_socket_and_by_http_counts_once() {
    let mut small = members(5, &[("bob", 0, 0)]);
    small.add(&added(5, &["bob"]));
    small.remove(&removed(6, &["nobody"]));
    assert_eq!(small.count(), 2);
    let mut large = conversation(5, &[("ann", 0, 0), ("bob", 0, 0)]);
    large.member_count = Some(300);
    let mut members = Members::new(user("ann"));
    members.learn(&large);
    members.add(&added(5, &["carl"]));
    members.remove(&removed(4, &["dora"]));
    assert_eq!(members.count(), 300);
    members.remove(&removed(6, &["unlisted", "unlisted"]));
    assert_eq!(members.count(), 299);
}

#[test]
fn roles_change_and_an_owner_who_leaves_has_an_heir() {
    let mut members = members(1, &[("bob", 0, 0), ("carl", 0, 0)]);
    let roles: Vec<RoleChange> = serde_json::from_value(json!([{"user_id": "bob", "role": "admin"}])).unwrap();
    members.set_roles(&roles);
    let bob = user("bob");
    assert_eq!(members.role(&bob), Some(Role::Admin));
    let mut leaving = removed(3, &["carl"]);
    leaving.owner = Some(bob.clone());
    members.remove(&leaving);
    assert_eq!((members.role(&bob), members.count()), (Some(Role::Owner), 2));
}
