//! How full the bounded queues of this process are: looked at when somebody asks, so that filling them costs nothing.

use parking_lot::Mutex;

/// How many wait in a queue, and how many may; `None` when the queue is gone.
type Look = Box<dyn Fn() -> Option<(usize, usize)> + Send>;

static QUEUES: Mutex<Vec<(String, Look)>> = Mutex::new(Vec::new());

/// Shows a queue as `parley_queue_depth` and `parley_queue_capacity` until `look` returns `None`. Of several queues of
/// one name in a process the fullest is shown.
pub fn watch_queue(name: impl Into<String>, look: impl Fn() -> Option<(usize, usize)> + Send + 'static) {
    let mut queues = QUEUES.lock();
    // Also where nobody ever asks.
    queues.retain(|(_, look)| look().is_some());
    queues.push((name.into(), Box::new(look)));
}

pub(super) fn measure() {
    for (name, (depth, capacity)) in fullest(&mut QUEUES.lock()) {
        metrics::gauge!("parley_queue_depth", "queue" => name.clone()).set(depth as f64);
        metrics::gauge!("parley_queue_capacity", "queue" => name).set(capacity as f64);
    }
}

/// Forgets what is gone; of each name the fullest.
fn fullest(queues: &mut Vec<(String, Look)>) -> Vec<(String, (usize, usize))> {
    let mut shown: Vec<(String, (usize, usize))> = Vec::new();
    queues.retain(|(name, look)| {
        let Some(now) = look() else { return false };
        match shown.iter_mut().find(|it| it.0 == *name) {
            None => shown.push((name.clone(), now)),
            Some((_, most)) if is_fuller(now, *most) => *most = now,
            Some(_) => {}
        }
        true
    });
    shown
}

fn is_fuller(one: (usize, usize), other: (usize, usize)) -> bool {
    one.0.saturating_mul(other.1) > other.0.saturating_mul(one.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_queues_with_one_name_the_fullest_is_shown_and_those_that_are_gone_are_forgotten() {
        let look = |it: Option<(usize, usize)>| -> Look { Box::new(move || it) };
        let mut queues = vec![
            ("planner".to_owned(), look(Some((3, 100)))),
            ("planner".to_owned(), look(Some((2, 10)))),
            ("planner".to_owned(), look(None)),
            ("marks".to_owned(), look(Some((0, 5)))),
        ];
        let shown = fullest(&mut queues);
        let shown: Vec<_> = shown.iter().map(|(name, now)| (name.as_str(), *now)).collect();
        assert_eq!(shown, [("planner", (2, 10)), ("marks", (0, 5))]);
        assert_eq!(queues.len(), 3);
    }
}
