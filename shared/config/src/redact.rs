//! Server addresses without the passwords in them, for messages to people.

/// The address or addresses in `urls` with user names and passwords replaced by `…`.
///
/// ```
/// assert_eq!(config::without_passwords("nats://a:b@one:4222,nats://two"), "nats://…@one:4222,nats://two");
/// ```
pub fn without_passwords(urls: &str) -> String {
    // A password may itself hold a comma: what stands before a later "@" belongs to it, so each scheme starts a part.
    let mut shown = String::with_capacity(urls.len());
    let mut rest = urls;
    while let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + 3);
        shown.push_str(scheme);
        let next = after
            .find("://")
            .map_or(after.len(), |next| after[..next].rfind(',').unwrap_or(next));
        let (part, remaining) = after.split_at(next);
        shown.push_str(&part_without_password(part));
        rest = remaining;
    }
    shown.push_str(&part_without_password(rest));
    shown
}

fn part_without_password(part: &str) -> String {
    part.rfind('@')
        .map_or_else(|| part.to_owned(), |at| format!("…{}", &part[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_an_at_sign_is_not_shown() {
        for (url, shown) in [
            ("nats://localhost:4222", "nats://localhost:4222"),
            ("nats://me:pass@host:1,tls://host2:2", "nats://…@host:1,tls://host2:2"),
            (
                "mongodb://u:p,w@a:1,b:2/?replicaSet=rs0",
                "mongodb://…@a:1,b:2/?replicaSet=rs0",
            ),
            ("token@host", "…@host"),
            ("nats://a@x,nats://b@y", "nats://…@x,nats://…@y"),
            ("", ""),
        ] {
            assert_eq!(without_passwords(url), shown);
        }
    }
}
