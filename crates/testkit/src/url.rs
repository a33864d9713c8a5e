//! The few parts of a URL that the testkit reads and writes.

/// `user`, `password` and `host:port` of a URL; what follows the authority is ignored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) hosts: String,
}

impl Authority {
    pub(crate) fn of(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        Self { user: decode(user), password: decode(password), hosts: hosts.to_owned() }
    }
}

/// `user:password@`, percent-encoded, or nothing.
pub(crate) fn credentials(user: &str, password: &str) -> String {
    if user.is_empty() && password.is_empty() {
        return String::new();
    }
    format!("{}:{}@", encode(user, ""), encode(password, ""))
}

/// Percent-encodes everything but RFC 3986's unreserved characters and those in `keep`.
pub(crate) fn encode(text: &str, keep: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || keep.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let escaped = (first == b'%').then(|| more.get(..2)).flatten();
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_a_round_trip() {
        let url = format!("redis://{}127.0.0.1:1/0?x=y", credentials("app", "p@s:s/% ü"));
        let authority = Authority::of(&url);
        assert_eq!(
            (authority.user.as_str(), authority.password.as_str(), authority.hosts.as_str()),
            ("app", "p@s:s/% ü", "127.0.0.1:1")
        );
        assert_eq!(Authority::of("http://h:1,g:2").hosts, "h:1,g:2");
    }
}
