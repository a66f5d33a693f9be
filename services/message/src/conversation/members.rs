//! The members of a conversation, in the order in which they joined.

use std::collections::HashMap;

use protocol::UserId;
use protocol::http::Role;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    /// `seq` of the event that made him one.
    pub(crate) since: u64,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    list: Vec<Member>,
    index: HashMap<UserId, usize>,
}

impl FromIterator<Member> for Members {
    fn from_iter<T: IntoIterator<Item = Member>>(members: T) -> Self {
        let mut all = Self::default();
        members.into_iter().for_each(|it| all.join(it));
        all
    }
}

impl Members {
    pub(crate) fn contains(&self, user: &UserId) -> bool {
        self.index.contains_key(user)
    }

    pub(crate) fn get(&self, user: &UserId) -> Option<&Member> {
        self.list.get(*self.index.get(user)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Takes a member in, as the last one; whoever is one already comes anew.
    pub(crate) fn join(&mut self, member: Member) {
        self.leave(&member.user_id);
        self.index.insert(member.user_id.clone(), self.list.len());
        self.list.push(member);
    }

    /// Takes a member out, if he is one.
    pub(crate) fn leave(&mut self, user: &UserId) {
        let Some(at) = self.index.remove(user) else { return };
        self.list.remove(at);
        for (at, member) in self.list.iter().enumerate().skip(at) {
            if let Some(place) = self.index.get_mut(&member.user_id) {
                *place = at;
            }
        }
    }

    /// Gives a member another role; somebody who is none gets nothing.
    pub(crate) fn set_role(&mut self, user: &UserId, role: Role) {
        let at = self.index.get(user).copied();
        if let Some(member) = at.and_then(|at| self.list.get_mut(at)) {
            member.role = role;
        }
    }

    /// Who owns the conversation when its owner goes: the longest-standing admin, else member.
    pub(crate) fn successor(&self, owner: &UserId) -> Option<&Member> {
        let others = || self.list.iter().filter(|it| it.user_id != *owner);
        others().find(|it| it.role == Role::Admin).or_else(|| others().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::state::tests::user;

    fn members(names: &[(&str, Role)]) -> Members {
        let member = |(n, (name, role)): (usize, &(&str, Role))| Member {
            user_id: user(name),
            role: *role,
            since: n as u64 + 1,
        };
        names.iter().enumerate().map(member).collect()
    }

    fn names(members: &Members) -> Vec<&str> {
        members.iter().map(|it| it.user_id.as_str()).collect()
    }

    #[test]
    fn who_leaves_is_gone_and_the_others_are_still_found() {
        let mut all = members(&[("ann", Role::Owner), ("bob", Role::Member), ("eve", Role::Admin)]);
        all.leave(&user("ann"));
        all.leave(&user("nobody"));
        assert_eq!(names(&all), ["bob", "eve"]);
        assert!(!all.contains(&user("ann")));
        assert_eq!(all.get(&user("eve")).map(|it| it.role), Some(Role::Admin));
    }

    #[test]
    fn who_comes_back_stands_last() {
        let mut all = members(&[("ann", Role::Owner), ("bob", Role::Admin), ("eve", Role::Member)]);
        let back = Member {
            user_id: user("bob"),
            role: Role::Member,
            since: 9,
        };
        all.join(back.clone());
        assert_eq!(names(&all), ["ann", "eve", "bob"]);
        assert_eq!(all.get(&user("bob")), Some(&back));
    }

    #[test]
    fn the_longest_standing_admin_comes_before_every_member() {
        let owner = ("ann", Role::Owner);
        let heir = |others: &[(&str, Role)]| {
            let all = members(&[&[owner], others].concat());
            all.successor(&user("ann")).map(|it| it.user_id.clone())
        };
        let (bob, eve, joe) = (("bob", Role::Member), ("eve", Role::Admin), ("joe", Role::Admin));
        assert_eq!(heir(&[bob, eve, joe]), Some(user("eve")));
        assert_eq!(heir(&[bob]), Some(user("bob")));
        assert_eq!(heir(&[]), None);
    }
}
