//! Pages of the conversation list: most recently active first, and the token that names the place in between.

use protocol::{ConversationId, Timestamp};

/// Where a conversation stands in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) at: Timestamp,
    pub(super) id: ConversationId,
}

impl Place {
    /// The token of the page that follows this place.
    pub(super) fn token(&self) -> String {
        format!("1.{:x}.{}", self.at.as_millis().cast_unsigned(), self.id.as_str())
    }

    /// `None` for anything that [`Place::token`] cannot have written.
    pub(super) fn parse(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some("1"), Some(at), Some(id), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let at = Timestamp::from_millis(u64::from_str_radix(at, 16).ok()?.cast_signed());
        let place = Self {
            at,
            id: ConversationId::parse(id)?,
        };
        (place.token() == token).then_some(place)
    }
}

/// The page after `from`, newest first, and the place of its last where more follow.
pub(super) fn page(mut places: Vec<Place>, from: Option<&Place>, limit: usize) -> (Vec<Place>, Option<Place>) {
    places.retain(|it| from.is_none_or(|from| it < from));
    places.sort_unstable_by(|a, b| b.cmp(a));
    let more = places.len() > limit;
    places.truncate(limit);
    let next = places.last().filter(|_| more).cloned();
    (places, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: i64, digit: char) -> Place {
        let id = ConversationId::parse(&format!("g{}", digit.to_string().repeat(32))).unwrap();
        Place {
            at: Timestamp::from_millis(at),
            id,
        }
    }

    #[test]
    fn a_token_comes_back_and_anything_else_is_none() {
        for at in [0, 1_795_000_000_000, -5] {
            assert_eq!(Place::parse(&place(at, 'a').token()), Some(place(at, 'a')));
        }
        for text in [
            "",
            "1",
            "1.5",
            "2.5.g00000000000000000000000000000000",
            "1.05.g00000000000000000000000000000000",
            "1.+5.g00000000000000000000000000000000",
            "1.5.g0",
            "1.5.g00000000000000000000000000000000.x",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pages_go_from_the_newest_on_without_gap_or_repeat_also_among_equal_times() {
        let all = vec![
            place(1, 'a'),
            place(3, 'b'),
            place(3, 'c'),
            place(2, 'd'),
            place(3, 'e'),
        ];
        let (mut listed, mut from) = (Vec::new(), None);
        loop {
            let (places, next) = page(all.clone(), from.as_ref(), 2);
            listed.extend(places);
            from = next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(
            listed,
            [
                place(3, 'e'),
                place(3, 'c'),
                place(3, 'b'),
                place(2, 'd'),
                place(1, 'a')
            ]
        );
    }
}
