//! Which browsers' pages may open a socket: the same origin, or one of an exact list. Whatever is no browser sends no
//! `Origin` and needs a token anyway.

use http::{HeaderMap, header};

/// Whether a request with these headers may be upgraded.
pub fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|it| it == origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some((_, authority)) = origin.split_once("://") else {
        return false;
    };
    // Behind a proxy that ends TLS the scheme is not known here: host and port decide.
    host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "chat.example:8443".parse().unwrap());
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers
    }

    #[test]
    fn only_the_same_host_and_the_list_are_allowed() {
        let list = ["https://app.example".to_owned()];
        assert!(is_allowed(&headers("https://chat.example:8443"), &list));
        assert!(is_allowed(&headers("https://app.example"), &list));
        for origin in [
            "https://app.example.evil",
            "http://app.example",
            "https://chat.example",
            "null",
            "",
        ] {
            assert!(!is_allowed(&headers(origin), &list), "{origin}");
        }
        assert!(is_allowed(&HeaderMap::new(), &[]));
    }
}
