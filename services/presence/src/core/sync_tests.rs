use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use protocol::UserId;
use protocol::client_frame::AppState;
use protocol::signal::{SessionState, UserSessions};

use super::*;

/// How many sessions each user has.
type Table = BTreeMap<UserId, usize>;

fn user(n: u8) -> UserId {
    UserId::parse(&n.to_string()).unwrap()
}

fn sessions(user_id: UserId, count: usize) -> UserSessions {
    let session = SessionState {
        device_id: String::new(),
        state: AppState::Foreground,
        idle: false,
    };
    let sessions = vec![session; count];
    UserSessions { user_id, sessions }
}

fn report(number: u64, users: Vec<UserSessions>) -> Report {
    Report {
        number,
        users,
        ..Report::default()
    }
}

/// Two parts, whatever there is.
fn snapshot(number: u64, table: &Table) -> Vec<Snapshot> {
    let users: Vec<_> = table
        .iter()
        .map(|(user, count)| sessions(user.clone(), *count))
        .collect();
    let (first, second) = users.split_at(users.len() / 2);
    let parts = [(0, true, first), (1, false, second)];
    parts
        .map(|(part, more, users)| Snapshot {
            report: report(number, users.to_vec()),
            part,
            more,
        })
        .to_vec()
}

fn perform(steps: Vec<Step>, table: &mut Table) {
    for step in steps {
        let reports = match step {
            Step::Apply(report) => vec![report],
            Step::Replace(parts) => {
                table.clear();
                parts
            }
            Step::End => Vec::new(),
        };
        for user in reports.into_iter().flat_map(|it| it.users) {
            table.insert(user.user_id, user.sessions.len());
        }
        table.retain(|_, count| *count > 0);
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// The node's user has so many sessions now; the report is lost, doubled, kept back, or none of it.
    Change { user: u8, count: usize, fate: u8 },
    /// What was kept back comes.
    Late,
    /// The node answers; what was on its way is dropped.
    Ask,
    /// The next part of the answer comes.
    Part,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let change = (0..4_u8, 0..3_usize, 0..6_u8).prop_map(|(user, count, fate)| Event::Change { user, count, fate });
    let event = prop_oneof![5 => change, 1 => Just(Event::Late), 1 => Just(Event::Ask), 2 => Just(Event::Part)];
    prop::collection::vec(event, 1..80)
}

/// The node's history, and what is on its way.
#[derive(Default)]
struct Wire {
    history: Vec<Table>,
    late: Vec<Report>,
    parts: VecDeque<Snapshot>,
}

impl Wire {
    fn number(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    fn event(&mut self, event: Event, sync: &mut Sync, table: &mut Table) {
        match event {
            Event::Change { user: n, count, fate } => {
                let mut next = self.history[self.history.len() - 1].clone();
                next.insert(user(n), count);
                next.retain(|_, count| *count > 0);
                self.history.push(next);
                let report = report(self.number(), vec![sessions(user(n), count)]);
                match fate {
                    0 => {}
                    1 => self.late.push(report),
                    2 => {
                        perform(sync.on_report(report.clone()), table);
                        perform(sync.on_report(report), table);
                    }
                    _ => perform(sync.on_report(report), table),
                }
            }
            Event::Late => {
                while let Some(report) = self.late.pop() {
                    perform(sync.on_report(report), table);
                }
            }
            Event::Ask => {
                sync.begin_snapshot();
                self.parts = snapshot(self.number(), &self.history[self.history.len() - 1]).into();
            }
            Event::Part => {
                if let Some(part) = self.parts.pop_front()
                    && let Taken::Whole(steps) = sync.on_part(part)
                {
                    perform(steps, table);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn the_table_only_moves_forward_and_is_always_as_it_was_after_some_report(events in events()) {
        let (mut sync, mut table) = (Sync::default(), Table::new());
        let mut wire = Wire { history: vec![Table::new()], ..Wire::default() };
        for event in events {
            let before = sync.applied();
            wire.event(event, &mut sync, &mut table);
            prop_assert!(sync.applied() >= before);
            if let Some(applied) = sync.applied() {
                prop_assert_eq!(&table, &wire.history[usize::try_from(applied).unwrap()]);
            }
        }
        for event in [Event::Late, Event::Ask, Event::Part, Event::Part] {
            wire.event(event, &mut sync, &mut table);
        }
        prop_assert!(sync.is_whole());
        prop_assert_eq!(Some(wire.number()), sync.applied());
    }
}

#[test]
fn reports_that_came_during_a_snapshot_need_no_other_one() {
    let mut sync = Sync::default();
    let [first, second] = snapshot(3, &Table::new()).try_into().unwrap();
    assert!(matches!(sync.on_part(first), Taken::More));
    for number in [3, 4, 5] {
        assert!(sync.on_report(report(number, vec![sessions(user(1), 1)])).is_empty());
    }
    let Taken::Whole(steps) = sync.on_part(second) else {
        panic!("not whole");
    };
    assert_eq!((steps.len(), sync.applied(), sync.is_whole()), (3, Some(5), true));
}

#[test]
fn doubled_reports_do_not_fill_the_room_for_those_that_wait() {
    let mut sync = Sync::default();
    for part in snapshot(5_000, &Table::new()) {
        sync.on_part(part);
    }
    for number in 1..=5_000 {
        sync.on_report(report(number, vec![sessions(user(1), 1)]));
    }
    assert_eq!(sync.take_dropped(), 0);
}

#[test]
fn what_finds_no_room_to_wait_is_missing_until_the_next_snapshot() {
    let mut sync = Sync::default();
    for number in 1..=2_000 {
        sync.on_report(report(number, vec![sessions(user(1), 1)]));
    }
    assert_eq!(sync.take_dropped(), 2_000 - WAITING_MOST as u64);
    for part in snapshot(0, &Table::new()) {
        sync.on_part(part);
    }
    assert!(!sync.is_whole());
    for part in snapshot(2_000, &Table::new()) {
        sync.on_part(part);
    }
    assert!(sync.is_whole());
}
