mod kind;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

pub use self::kind::{ErrorKind, Retry};

/// The result of every statehouse operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The one error type of statehouse: what failed, where, on what, and whether trying again helps.
///
/// `Display` prints this level only, in lowercase without a final period; the cause is in
/// [`source`](StdError::source). The wording is not part of the interface: decide by [`kind`](Self::kind) and
/// [`retry`](Self::retry). Secrets and stored values never appear in an error.
///
/// A clone shares the cause: one failed load is reported to everybody who waited for it.
///
/// An author of a backend says all that is known:
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::{Error, ErrorKind, Retry};
///
/// let cause = std::io::Error::other("broken pipe");
/// let error = Error::new(ErrorKind::Unavailable, "the server closed the connection")
///     .within("shard 3")
///     .with_backend("etcd")
///     .with_operation("cache.get")
///     .with_key("EUR/USD")
///     .with_setting("APP_CACHE_URL")
///     .with_retry(Retry::After(Duration::from_secs(1)))
///     .with_source(cause);
/// assert_eq!(error.message(), "shard 3: the server closed the connection");
/// assert_eq!((error.kind(), error.operation(), error.key()), (ErrorKind::Unavailable, Some("cache.get"), Some("EUR/USD")));
/// assert!(error.is_retryable() && std::error::Error::source(&error).is_some());
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    backend: Option<&'static str>,
    operation: Option<&'static str>,
    key: Option<Box<str>>,
    setting: Option<Box<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The retry advice starts as [`Retry::Never`], save for [`ErrorKind::Unavailable`] and
    /// [`ErrorKind::Timeout`], which start as [`Retry::Now`].
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout => Retry::Now,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            message: message.into(),
            backend: None,
            operation: None,
            key: None,
            setting: None,
            source: None,
        }))
    }

    /// An [`ErrorKind::InvalidInput`] error.
    pub fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// An [`ErrorKind::InvalidConfig`] error about one setting.
    pub fn invalid_config(setting: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message).with_setting(setting)
    }

    /// The [`ErrorKind::Unavailable`] error of a store that is full, of whatever: the advice is [`Retry::FULL`].
    ///
    /// ```
    /// use statehouse_core::{Error, ErrorKind, Retry};
    ///
    /// let error = Error::full("the disk is full");
    /// assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL));
    /// assert!(error.is_retryable());
    /// ```
    pub fn full(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message).with_retry(Retry::FULL)
    }

    /// The [`ErrorKind::Unexpected`] error of work on another thread that panicked. It quotes nothing: what a panic says may
    /// be somebody's value, and the program's panic hook has had it.
    ///
    /// ```
    /// use statehouse_core::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::panicked().kind(), ErrorKind::Unexpected);
    /// assert!(!Error::panicked().is_retryable());
    /// ```
    #[must_use]
    pub fn panicked() -> Self {
        Self::new(ErrorKind::Unexpected, "the work panicked before it was done")
    }

    /// The [`ErrorKind::Unavailable`] error of work on another thread that the end of its runtime left undone.
    ///
    /// ```
    /// use statehouse_core::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::abandoned().kind(), ErrorKind::Unavailable);
    /// assert!(!Error::abandoned().is_retryable());
    /// ```
    #[must_use]
    pub fn abandoned() -> Self {
        Self::new(ErrorKind::Unavailable, "the runtime ended before the work was done").with_retry(Retry::Never)
    }

    /// Names the backend, for example `"redis"`. Kept if already named.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.0.backend.get_or_insert(backend);
        self
    }

    /// Names the trait method that failed, for example `"cache.get"`. Kept if already named.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Names the operation that was called, in place of one within it: `cache.get_or_load` and not the `cache.reserve` that
    /// it began with.
    ///
    /// ```
    /// use statehouse_core::Error;
    ///
    /// let inner = Error::invalid_input("the key is empty").with_operation("cache.reserve");
    /// assert_eq!(inner.with_outer_operation("cache.get_or_load").operation(), Some("cache.get_or_load"));
    /// ```
    #[must_use]
    pub fn with_outer_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Names the key, shortened to 64 characters. Never pass a session token or a stored value.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        let short = match key.char_indices().nth(64) {
            Some((end, _)) => format!("{}…", &key[..end]),
            None => key.to_owned(),
        };
        self.0.key = Some(short.escape_debug().collect::<String>().into());
        self
    }

    /// Puts the place that this is about before the message, for example `folder "/srv/data"`.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.0.message = format!("{place}: {}", self.0.message).into();
        self
    }

    /// Names the setting that decides this, for example `"STATEHOUSE_CACHE_URL"`.
    #[must_use]
    pub fn with_setting(mut self, setting: &str) -> Self {
        self.0.setting = Some(setting.into());
        self
    }

    /// Replaces the retry advice.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Keeps the cause. It must not print secrets or values.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again helps.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether trying again may help, now or later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.retry, Retry::Now | Retry::After(_))
    }

    /// This level's message, without the context that `Display` adds.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The backend that failed, if one did.
    #[must_use]
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The shortened key the operation was about.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The setting to look at.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.0.setting.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let Some(operation) = inner.operation {
            write!(f, "{operation}")?;
            if let Some(key) = &inner.key {
                write!(f, " \"{key}\"")?;
            }
            f.write_str(": ")?;
        } else if let Some(key) = &inner.key {
            write!(f, "\"{key}\": ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(setting) = &inner.setting {
            write!(f, " (setting {setting})")?;
        }
        match (inner.kind, inner.retry) {
            (ErrorKind::Unauthenticated | ErrorKind::PermissionDenied, Retry::Never) => {
                f.write_str("; retrying will not help")
            }
            _ => Ok(()),
        }
    }
}

/// What a program prints whose `main` returns the error: this level and its causes, each once, on one line. `{:#?}` has
/// the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { self.fmt_fields(f) } else { self.fmt_chain(f) }
    }
}

impl Error {
    fn fmt_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.to_string();
        f.write_str(&said)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors quote their cause.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said.push_str(&text);
            }
            cause = error.source();
        }
        write!(f, " [{}]", self.0.kind)
    }

    fn fmt_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("message", &inner.message)
            .field("backend", &inner.backend)
            .field("operation", &inner.operation)
            .field("key", &inner.key)
            .field("setting", &inner.setting)
            .field("retry", &inner.retry)
            .field("source", &inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_and_can_cross_threads() {
        fn send_sync<T: Send + Sync + 'static>() {}
        send_sync::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn display_reads_aloud_and_leaves_the_cause_to_source() {
        let error = Error::new(ErrorKind::Unauthenticated, "Redis at redis.internal:6379 refused the password")
            .with_operation("cache.get")
            .with_key("EUR/USD")
            .with_setting("STATEHOUSE_CACHE_URL")
            .with_source("WRONGPASS");
        assert_eq!(
            error.to_string(),
            "cache.get \"EUR/USD\": Redis at redis.internal:6379 refused the password \
             (setting STATEHOUSE_CACHE_URL); retrying will not help"
        );
        assert_eq!(error.source().unwrap().to_string(), "WRONGPASS");
        assert!(!error.is_retryable());
    }

    #[test]
    fn debug_reads_as_one_line_with_each_cause_once() {
        let io = std::io::Error::other("connection refused");
        let inner = Error::new(ErrorKind::Unavailable, "no server at h:1 (connection refused)").with_source(io);
        let error = Error::new(ErrorKind::Unavailable, "the cache cannot be opened").with_source(inner);
        assert_eq!(
            format!("{error:?}"),
            "the cache cannot be opened: no server at h:1 (connection refused) [unavailable]"
        );
        assert!(format!("{error:#?}").contains("retry: Now"));
    }

    #[test]
    fn no_error_says_that_retrying_is_vain_and_advises_it() {
        let error = Error::new(ErrorKind::PermissionDenied, "not now").with_retry(Retry::Now);
        assert_eq!(error.to_string(), "not now");
    }

    #[test]
    fn clones_share_the_cause_and_give_it_back_typed() {
        let error = Error::new(ErrorKind::LoadFailed, "the loader failed").with_source(std::io::Error::other("bank"));
        let clone = error.clone();
        let cause =
            |error: &Error| std::ptr::from_ref(error.source().unwrap().downcast_ref::<std::io::Error>().unwrap());
        assert_eq!(cause(&error), cause(&clone));
    }

    #[test]
    fn keys_in_errors_are_short_and_escaped() {
        let error = Error::invalid_input("no").with_key(&format!("a\n{}", "é".repeat(500)));
        let key = error.key().unwrap();
        assert!(key.starts_with("a\\n"));
        assert!(key.chars().count() <= 66);
    }
}
