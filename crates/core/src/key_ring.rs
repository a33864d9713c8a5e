use std::fmt;
use std::sync::Arc;

use crate::{Error, Result, Secret};

/// The shortest secret, in bytes: what is shorter is easier to guess than what is made with it.
const SHORTEST: usize = 32;
/// Shorter than a secret, so that none is told as an id where the two were exchanged.
const LONGEST_ID: usize = 24;

/// Secrets with an id each: the newest is used for what is made, and all of them for what was made before.
///
/// To change a key, put the new one in front on all replicas, and take the old one away when nothing that was made with it is
/// of use any more. While some replicas do not know the new one yet, add it behind first: then they know what is made with it
/// before anybody makes any.
///
/// ```
/// use statehouse_core::{KeyRing, Secret};
///
/// # fn main() -> statehouse_core::Result<()> {
/// # let (new, old) = ("n".repeat(32), "o".repeat(32));
/// let ring = KeyRing::new("2026-11", Secret::new(&new))?.and_former("2026-05", Secret::new(&old))?;
/// assert_eq!(ring.ids().collect::<Vec<_>>(), ["2026-11", "2026-05"]);
/// assert!(KeyRing::new("2026-12", Secret::from("too short")).is_err());
///
/// // As one text, of a variable or a file that only the program may read:
/// let text = Secret::new(format!("2026-11:{new} 2026-05:{old}"));
/// assert_eq!(KeyRing::parse(&text)?.ids().collect::<Vec<_>>(), ["2026-11", "2026-05"]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct KeyRing {
    newest: (String, Secret),
    former: Arc<[(String, Secret)]>,
}

impl KeyRing {
    /// One key. Its id, 1 to 24 of `A-Z`, `a-z`, `0-9`, `-` and `_`, stands in what is made with it; the secret is at least 32
    /// bytes, of random ones if possible: `openssl rand -hex 32`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) for another id, a shorter secret, and one that begins or ends with a
    /// space or the end of a line: read from a file by another replica, it may be without.
    pub fn new(id: impl Into<String>, secret: Secret) -> Result<Self> {
        Ok(Self { newest: checked(id.into(), secret)?, former: Arc::new([]) })
    }

    /// Also knows what was made with this key, and makes nothing with it.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for an id or a secret that is there already.
    pub fn and_former(self, id: impl Into<String>, secret: Secret) -> Result<Self> {
        let key = checked(id.into(), secret)?;
        if self.secret(&key.0).is_some() {
            return Err(Error::invalid_config(&setting(&key.0), "there are two keys of this id"));
        }
        if self.keys().any(|(_, secret)| *secret == key.1) {
            return Err(Error::invalid_config(&setting(&key.0), "another key has the same secret"));
        }
        Ok(Self { former: self.former.iter().cloned().chain([key]).collect(), ..self })
    }

    /// Reads keys, each `id:secret`, the newest first, with spaces or line ends between them.
    ///
    /// # Errors
    /// As [`and_former`](Self::and_former), for a text without a key, and for a secret with `:`, `,` or `;` in it, which is several keys.
    pub fn parse(text: &Secret) -> Result<Self> {
        let mut ring: Option<Self> = None;
        for word in text.expose().split_whitespace() {
            let (id, secret) = word.split_once(':').ok_or_else(no_pair)?;
            if secret.contains([':', ',', ';']) {
                return Err(Error::invalid_config("the keys", "keys stand apart by spaces or line ends"));
            }
            let secret = Secret::new(secret);
            ring = Some(match ring {
                None => Self::new(id, secret)?,
                Some(ring) => ring.and_former(id, secret)?,
            });
        }
        ring.ok_or_else(no_pair)
    }

    /// The ids, that of the newest key first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys().map(|(id, _)| id.as_str())
    }

    /// The id and the secret of the newest key.
    #[must_use]
    pub fn newest(&self) -> (&str, &Secret) {
        (&self.newest.0, &self.newest.1)
    }

    /// The secret of the key of this id, if there is one.
    #[must_use]
    pub fn secret(&self, id: &str) -> Option<&Secret> {
        self.keys().find(|(known, _)| known == id).map(|(_, secret)| secret)
    }

    fn keys(&self) -> impl Iterator<Item = &(String, Secret)> {
        [&self.newest].into_iter().chain(self.former.iter())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

fn setting(id: &str) -> String {
    format!("the key {id:?}")
}

/// Without a part of it: it may be a secret.
fn no_pair() -> Error {
    Error::invalid_config("the keys", "a key is written as its id, a colon and its secret: 2026-11:9f3c…")
}

fn checked(id: String, secret: Secret) -> Result<(String, Secret)> {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(is_id) {
        let message = "an id is 1 to 24 letters of A-Z and a-z, digits, - and _";
        return Err(Error::invalid_config("the id of a key", message));
    }
    if secret.expose().len() < SHORTEST {
        return Err(Error::invalid_config(&setting(&id), "a secret has at least 32 bytes"));
    }
    if secret.expose().trim() != secret.expose() {
        let message = "its secret begins or ends with a space or the end of a line, which other replicas may not have";
        return Err(Error::invalid_config(&setting(&id), message));
    }
    Ok((id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn secret(letter: &str) -> Secret {
        Secret::new(letter.repeat(SHORTEST))
    }

    #[test]
    fn every_key_is_found_and_the_newest_is_the_first() {
        let ring = KeyRing::new("b", secret("b")).unwrap().and_former("a", secret("a")).unwrap();
        assert_eq!((ring.newest().0, ring.newest().1.expose()), ("b", secret("b").expose()));
        assert_eq!(ring.secret("a").unwrap().expose(), secret("a").expose());
        assert!(ring.secret("c").is_none());
        assert_eq!(format!("{ring:?}"), r#"KeyRing(["b", "a"])"#);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let (long, good) = ("i".repeat(25), "s".repeat(32));
        let (line, blank) = (format!("{good}\n"), format!(" {good}"));
        let ids = ["", "a b", "a:b", &long].map(|id| (id, &*good));
        for (id, secret) in ids.into_iter().chain([("a", &good[1..]), ("a", &line), ("a", &blank)]) {
            let error = KeyRing::new(id, Secret::new(secret)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{id:?}");
            assert!(!format!("{error} {error:?}").contains(&good[1..]), "{error:?}");
        }
        let (twice, same) = (format!("a:{good} a:{good}x"), format!("a:{good} b:{good}"));
        let exchanged = format!("{good}:2026-11");
        let [commas, semicolons, colons] = [",b:", ";", ":"].map(|between| format!("a:{good}{between}{good}"));
        let of_no_id = format!("a:{good}\n:{good}");
        for text in ["", " \n", &good, &twice, &same, &exchanged, &commas, &semicolons, &colons, &of_no_id] {
            let error = KeyRing::parse(&Secret::new(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text:?}");
            assert!(!format!("{error} {error:?}").contains(&good), "{error:?}");
        }
    }
}
