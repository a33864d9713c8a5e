use crate::{Error, Result, ServiceUrl};

/// The schemes of a Redis or Valkey, for the tables of the services that are kept in one.
pub const REDIS_SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis+sentinel", "redis+cluster", "rediss+sentinel", "rediss+cluster"];

/// What a service opens for URLs of some schemes: a row of its table.
///
/// ```
/// use statehouse_core::{Scheme, ServiceUrl};
///
/// const SCHEMES: [Scheme<fn(ServiceUrl) -> u16>; 2] = [
///     Scheme::new(&["memory"], Some(|_| 7)),
///     Scheme::new(&["redis", "rediss"], None).with_features("redis", "cache-redis"),
/// ];
/// let find = |text| Scheme::find(&SCHEMES, &ServiceUrl::parse("CACHE_URL", text)?, "statehouse-cache");
/// assert!(find("memory:").is_ok());
/// assert!(find("rediss://h").unwrap_err().to_string().contains("the feature \"cache-redis\" of statehouse"));
/// let near = find("redsi://h").unwrap_err().to_string();
/// assert!(near.contains("did you mean \"redis\"?") && near.contains("\"redis\" needs the feature \"cache-redis\""));
/// assert!(find("gopher://h").unwrap_err().to_string().contains("accepted: memory, redis, rediss"));
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Scheme<O> {
    names: &'static [&'static str],
    features: Option<(&'static str, &'static str)>,
    open: Option<O>,
}

impl<O: Copy> Scheme<O> {
    /// The schemes of these names; `open` is none where it is not compiled in.
    #[must_use]
    pub const fn new(names: &'static [&'static str], open: Option<O>) -> Self {
        Self { names, features: None, open }
    }

    /// Names the features without which it is not compiled in: the package's own, and the one of `statehouse` that turns it
    /// on.
    #[must_use]
    pub const fn with_features(self, own: &'static str, whole: &'static str) -> Self {
        Self { features: Some((own, whole)), ..self }
    }

    /// What opens this URL.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for another scheme, naming the one that may have been meant and those
    /// that are accepted; and as [`missing`](Self::missing).
    pub fn find(all: &[Self], url: &ServiceUrl, package: &str) -> Result<O> {
        let Some(scheme) = Self::named(all, url.scheme()) else {
            let names: Vec<_> = all.iter().flat_map(|scheme| scheme.names).copied().collect();
            let refused = url.refuse_scheme(&names.join(", "));
            let meant = url.meant_scheme(names).and_then(|name| Some((Self::named(all, name)?, name)));
            return Err(match meant.filter(|(scheme, _)| scheme.open.is_none()) {
                Some((scheme, name)) => {
                    let message = format!("{}; {}", refused.message(), scheme.why_missing(name, package));
                    Error::invalid_config(url.setting(), message)
                }
                None => refused,
            });
        };
        scheme.open.ok_or_else(|| scheme.missing(url, package))
    }

    fn named<'a>(all: &'a [Self], name: &str) -> Option<&'a Self> {
        all.iter().find(|scheme| scheme.names.contains(&name))
    }

    /// The error where it is not compiled in, which names the features.
    #[must_use]
    pub fn missing(&self, url: &ServiceUrl, package: &str) -> Error {
        Error::invalid_config(url.setting(), self.why_missing(url.scheme(), package))
    }

    fn why_missing(&self, name: &str, package: &str) -> String {
        match self.features {
            Some((own, whole)) => format!(
                "{name:?} needs the feature {whole:?} of statehouse ({own:?} of {package}), which is not compiled in"
            ),
            None => format!("{name:?} is not there on this system"),
        }
    }
}
