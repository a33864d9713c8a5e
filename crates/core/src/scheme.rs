use crate::{Error, Result, ServiceUrl};

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
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for another scheme, naming those that are accepted; and as
    /// [`missing`](Self::missing).
    pub fn find(all: &[Self], url: &ServiceUrl, package: &str) -> Result<O> {
        let Some(scheme) = all.iter().find(|scheme| scheme.names.contains(&url.scheme())) else {
            let names: Vec<_> = all.iter().flat_map(|scheme| scheme.names).copied().collect();
            return Err(url.refuse_scheme(&names.join(", ")));
        };
        scheme.open.ok_or_else(|| scheme.missing(url, package))
    }

    /// The error where it is not compiled in, which names the features.
    #[must_use]
    pub fn missing(&self, url: &ServiceUrl, package: &str) -> Error {
        let scheme = url.scheme();
        let message = match self.features {
            Some((own, whole)) => format!(
                "{scheme:?} needs the feature {whole:?} of statehouse ({own:?} of {package}), which is not compiled in"
            ),
            None => format!("{scheme:?} is not there on this system"),
        };
        Error::invalid_config(url.setting(), message)
    }
}
