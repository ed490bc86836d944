//! Who may use the admin API.

use axum::http::{
    HeaderMap,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use sha2::{Digest as _, Sha256};

use super::answer::Refusal;

/// Who may use it.
#[derive(Debug, Clone)]
pub(super) enum Access {
    /// Who shows the token of this digest.
    Token([u8; 32]),
    /// Programs of this machine.
    Loopback,
}

impl Access {
    pub(super) fn new(token: Option<&str>) -> Self {
        match token {
            Some(token) => Self::Token(Sha256::digest(token).into()),
            None => Self::Loopback,
        }
    }

    /// Whether a request with these headers may go on; `is_open` for what anybody may ask.
    pub(super) fn check(&self, headers: &HeaderMap, is_open: bool) -> Result<(), Refusal> {
        match self {
            Self::Token(_) if is_open => Ok(()),
            Self::Token(digest) => match shown_token(headers) {
                Some(shown) if is_equal(&Sha256::digest(shown).into(), digest) => Ok(()),
                Some(_) => Err(Refusal::unauthorized("the token is not the right one")),
                None => Err(Refusal::unauthorized("a token is required")),
            },
            Self::Loopback if is_local(headers) => Ok(()),
            Self::Loopback => Err(Refusal::forbidden()),
        }
    }
}

/// The token that a request shows: `Authorization: Bearer TOKEN`.
fn shown_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Compares in a time that does not depend on where the two differ. Digests are compared, not the
/// tokens, so that it does not depend on the length of either.
fn is_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// Whether a request comes from a program rather than from a web page. A page in a browser on this
/// machine reaches loopback too: under a name of its own that resolves to it, which shows in `Host`,
/// or across sites, which shows in `Origin`.
fn is_local(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let Some(host) = text(HOST) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    let is_loopback = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let is_same_origin = match text(ORIGIN) {
        Some(origin) => origin.strip_prefix("http://") == Some(host),
        None => true,
    };
    is_loopback && is_same_origin
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = list.iter().cloned();
        pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_token_is_required_for_all_but_what_is_open() {
        let access = Access::new(Some("secret"));
        let may = |value, is_open| {
            access
                .check(&headers(&[(AUTHORIZATION, value)]), is_open)
                .is_ok()
        };
        assert!(may("Bearer secret", false));
        assert!(may("bearer secret", false));
        for wrong in [
            "Bearer secre",
            "Bearer secret2",
            "Bearer ",
            "secret",
            "Basic secret",
            "",
        ] {
            assert!(!may(wrong, false), "{wrong}");
            assert!(may(wrong, true), "{wrong}");
        }
        assert!(access.check(&HeaderMap::new(), false).is_err());
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        let access = Access::new(None);
        let may = |list: &[(HeaderName, &'static str)]| access.check(&headers(list), false).is_ok();
        for host in [
            "127.0.0.1:9090",
            "localhost:9090",
            "localhost",
            "[::1]:9090",
            "127.8.8.8",
        ] {
            assert!(may(&[(HOST, host)]), "{host}");
        }
        for host in [
            "evil.example:9090",
            "10.0.0.1:9090",
            "localhost.evil.example",
            "",
        ] {
            assert!(!may(&[(HOST, host)]), "{host}");
        }
        assert!(!may(&[]));
        let host = (HOST, "localhost:9090");
        assert!(may(&[host.clone(), (ORIGIN, "http://localhost:9090")]));
        for origin in ["http://evil.example", "http://localhost:3000", "null"] {
            assert!(!may(&[host.clone(), (ORIGIN, origin)]), "{origin}");
        }
    }
}
