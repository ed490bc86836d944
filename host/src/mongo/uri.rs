//! Connection strings: read, and shown without their passwords.

use mongodb::options::{ConnectionString, HostInfo, ServerAddress};

use super::{Error, describe};

/// Reads a connection string without opening anything.
///
/// # Errors
/// [`Error::Uri`].
pub fn parse_uri(uri: &str) -> Result<ConnectionString, Error> {
    ConnectionString::parse(uri).map_err(|error| Error::Uri {
        uri: redact(uri),
        reason: describe(&error),
    })
}

/// Where the deployment is looked for, as people read it.
pub(super) fn hosts(uri: &ConnectionString) -> String {
    match &uri.host_info {
        HostInfo::HostIdentifiers(hosts) => hosts
            .iter()
            .map(ServerAddress::to_string)
            .collect::<Vec<_>>()
            .join(","),
        HostInfo::DnsRecord(name) => name.clone(),
        _ => "an unknown host".into(),
    }
}

/// The connection string without what stands between `:` and `@`.
fn redact(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return match uri.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => uri.to_owned(),
        };
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => match rest[..at].find(':') {
            Some(colon) => format!("{scheme}://{}:***{}", &rest[..colon], &rest[at..]),
            None => uri.to_owned(),
        },
        // An unescaped slash or at sign in the password confuses the split: show no part of it.
        None if rest.contains('@') => format!("{scheme}://***"),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (uri, shown) in [
            ("mongodb://a:secret@h:1/x", "mongodb://a:***@h:1/x"),
            ("mongodb://a:se/cret@h:1/x", "mongodb://***"),
            ("mongodb://a:se@cret@h:1/x", "mongodb://a:***@h:1/x"),
            ("mongodb://h:1", "mongodb://h:1"),
            ("localhost:27017", "localhost:27017"),
            ("a:secret@h:1", "***@h:1"),
        ] {
            assert_eq!(redact(uri), shown);
        }
    }
}
