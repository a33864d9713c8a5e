use std::error::Error as StdError;
use std::fmt;
use std::io;

type Cause<'a> = &'a (dyn StdError + 'static);

/// Why there is no connection to a server, as far as the system says, and where to look: what every backend's errors
/// say of it in the same words.
///
/// ```
/// use std::io;
/// use statehouse_core::Unreached;
///
/// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
/// let why = Unreached::of(&refused).map(|why| why.to_string());
/// assert_eq!(why.as_deref(), Some("nothing listens there; look at the port, and whether the server runs"));
/// assert_eq!(Unreached::of(&io::Error::other("something else")), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreached {
    /// The host answers, and nothing listens at the port.
    Refused,
    /// No address is known of the name.
    UnknownName,
    /// Nothing answered in time.
    TimedOut,
    /// No way leads to the address.
    NoRoute,
}

impl Unreached {
    /// What a failed connection's error says, or one of its causes.
    #[must_use]
    pub fn of(error: Cause<'_>) -> Option<Self> {
        causes(error).find_map(|cause| match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Some(Self::Refused),
            Some(io::ErrorKind::TimedOut) => Some(Self::TimedOut),
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => Some(Self::NoRoute),
            // What HTTP clients call it: the system's own error has no kind.
            _ => cause.to_string().starts_with("dns error").then_some(Self::UnknownName),
        })
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "nothing listens there; look at the port, and whether the server runs",
            Self::UnknownName => "its name is not known; look at the name of the host",
            Self::TimedOut => {
                "it did not accept a connection in time; look at the address, and at firewalls on the way"
            }
            Self::NoRoute => "no way leads there; look at the address, and at this host's network",
        })
    }
}

/// An error and its causes from the outside in, with those that I/O errors hold and their `source` leaves out.
///
/// ```
/// use std::io;
/// use statehouse_core::causes;
///
/// let error = io::Error::other(io::Error::other("the innermost"));
/// assert_eq!(causes(&error).last().map(ToString::to_string).as_deref(), Some("the innermost"));
/// assert!(causes(&error).count() > 1);
/// ```
pub fn causes(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(Some(error), |cause| within(*cause))
}

fn within(error: Cause<'_>) -> Option<Cause<'_>> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as Cause<'_>),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a request failed")
        }
    }

    impl StdError for Outer {
        fn source(&self) -> Option<Cause<'_>> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_cause_is_found_however_deep_it_lies() {
        for (cause, why) in [
            (io::ErrorKind::ConnectionRefused.into(), Some(Unreached::Refused)),
            (io::ErrorKind::TimedOut.into(), Some(Unreached::TimedOut)),
            (io::ErrorKind::HostUnreachable.into(), Some(Unreached::NoRoute)),
            (io::Error::other("dns error: no such host"), Some(Unreached::UnknownName)),
            (io::Error::other("something else"), None),
        ] {
            let text = format!("{cause:?}");
            let error = Outer(io::Error::other(Outer(cause)));
            assert_eq!(Unreached::of(&error), why, "{text}");
        }
    }
}
