//! The checker must find what it is there for.

use super::*;

fn key(number: u64) -> Key {
    Key::new(1, number)
}

/// Three members; member 0 sends messages 0 to 3, which get `seq` 2 to 5; `deliver` says who gets what and when.
fn run(deliver: impl Fn(&mut Checker)) -> Faults {
    let mut checker = Checker::new(3);
    for number in 0..4 {
        checker.acked(0, number + 2, key(number));
    }
    deliver(&mut checker);
    assert_eq!(checker.head(), 5);
    checker.finish()
}

fn all(checker: &mut Checker, member: usize) {
    (0..4).for_each(|number| assert!(checker.delivered(member, number + 2, key(number))));
}

#[test]
fn what_is_right_is_right_whatever_comes_first() {
    let faults = run(|checker| {
        all(checker, 2);
        all(checker, 1);
    });
    assert!(faults.is_none());
    let mut early = Checker::new(2);
    early.delivered(1, 2, key(0));
    early.acked(0, 2, key(0));
    early.acked(1, 3, key(1));
    early.delivered(0, 3, key(1));
    assert!(early.finish().is_none());
    assert_eq!(early.messages().collect::<Vec<_>>(), [(2, key(0)), (3, key(1))]);
}

#[test]
fn a_lost_delivery_is_found() {
    let faults = run(|checker| {
        all(checker, 1);
        for number in [0, 1, 3] {
            checker.delivered(2, number + 2, key(number));
        }
    });
    assert_eq!(
        faults,
        Faults {
            lost: 1,
            ..Faults::default()
        }
    );
}

#[test]
fn a_doubled_delivery_is_found() {
    let faults = run(|checker| {
        all(checker, 1);
        all(checker, 2);
        assert!(!checker.delivered(2, 4, key(2)));
    });
    assert_eq!(
        faults,
        Faults {
            doubled: 1,
            ..Faults::default()
        }
    );
}

#[test]
fn a_message_logged_twice_acked_twice_or_echoed_is_doubled() {
    let mut logged = Checker::new(2);
    for seq in [2, 3] {
        logged.acked(0, seq, key(0));
        logged.delivered(1, seq, key(0));
    }
    assert_eq!(
        logged.finish(),
        Faults {
            doubled: 1,
            ..Faults::default()
        }
    );
    let faults = run(|checker| {
        all(checker, 1);
        all(checker, 2);
        assert!(!checker.acked(0, 2, key(0)));
        checker.delivered(0, 3, key(1));
    });
    assert_eq!(
        faults,
        Faults {
            doubled: 2,
            ..Faults::default()
        }
    );
}

#[test]
fn another_order_is_found() {
    let faults = run(|checker| {
        all(checker, 1);
        for number in [0, 2, 1, 3] {
            checker.delivered(2, number + 2, key(number));
        }
    });
    assert_eq!(
        faults,
        Faults {
            reordered: 1,
            ..Faults::default()
        }
    );
    let mut logged = Checker::new(2);
    for (seq, number) in [(2, 1), (3, 0)] {
        logged.acked(0, seq, key(number));
        logged.delivered(1, seq, key(number));
    }
    assert_eq!(
        logged.finish(),
        Faults {
            reordered: 1,
            ..Faults::default()
        }
    );
}

#[test]
fn holes_and_nonsense_are_found() {
    let mut checker = Checker::new(2);
    checker.acked(0, 4, key(0));
    checker.delivered(1, 4, key(9));
    checker.delivered(1, 0, key(1));
    checker.delivered(1, u64::MAX, key(1));
    assert_eq!(
        checker.finish(),
        Faults {
            gaps: 2,
            mismatched: 3,
            ..Faults::default()
        }
    );
}

#[test]
fn what_was_refused_as_unknown_may_be_logged_late() {
    let mut checker = Checker::new(2);
    checker.refused(key(0));
    for (seq, number) in [(2, 1), (3, 0), (4, 2)] {
        checker.acked(0, seq, key(number));
        checker.delivered(1, seq, key(number));
    }
    let faults = checker.finish();
    assert_eq!((faults.overtaken, faults.is_none()), (1, true));
}
