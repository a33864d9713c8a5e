//! From a URL to indexes.

use statehouse_core::{Namespace, Result, Scheme, ServiceUrl};

use crate::Indexes;
use crate::indexes::Place;

#[cfg(feature = "tantivy")]
use crate::TantivyConfig;
#[cfg(feature = "opensearch")]
use crate::{OpenSearchConfig, OpenSearchIndex};

/// Reads the URL at once, and opens nothing.
type Open = fn(ServiceUrl) -> Result<Place>;

const PACKAGE: &str = "statehouse-search";

const SCHEMES: [Scheme<Open>; 2] = [
    Scheme::new(&["memory", "tantivy"], TANTIVY).with_features("tantivy", "search-tantivy"),
    Scheme::new(&["opensearch+https", "opensearch+http"], OPENSEARCH).with_features("opensearch", "search-opensearch"),
];

#[cfg(feature = "tantivy")]
const TANTIVY: Option<Open> = Some(|url| Ok(Place::Tantivy(TantivyConfig::from_url(url)?)));
#[cfg(not(feature = "tantivy"))]
const TANTIVY: Option<Open> = None;

#[cfg(feature = "opensearch")]
const OPENSEARCH: Option<Open> =
    Some(|url| Ok(Place::OpenSearch(Box::new(OpenSearchConfig::from_url(url)?.checked()?))));
#[cfg(not(feature = "opensearch"))]
const OPENSEARCH: Option<Open> = None;

impl Indexes {
    /// Indexes where the URL says, with names below the namespace. A server is asked whether it is there; no index is opened
    /// yet.
    ///
    /// | URL | indexes |
    /// | --- | --- |
    /// | `memory:`, `tantivy:///folder` | tantivy in this process; feature `tantivy`, parameters as `TantivyConfig` says |
    /// | `opensearch+http://host`, `opensearch+https:` | OpenSearch; feature `opensearch`, parameters as `OpenSearchConfig` says |
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) for another scheme, one whose feature is not compiled
    /// in, or a wrong parameter; else what the server says.
    #[cfg_attr(not(feature = "opensearch"), expect(clippy::unused_async, reason = "only a server is asked"))]
    pub async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Self> {
        let indexes = prepare(url, namespace)?;
        match indexes.place() {
            #[cfg(feature = "tantivy")]
            Place::Tantivy(_) => {}
            #[cfg(feature = "opensearch")]
            Place::OpenSearch(config) => OpenSearchIndex::check(config).await?,
        }
        Ok(indexes)
    }

    /// Whether [`open`](Self::open) takes this URL, as far as the URL tells: nothing is opened, and no server is asked.
    ///
    /// ```
    /// # use statehouse_core::{Namespace, ServiceUrl};
    /// # use statehouse_search::Indexes;
    /// let misspelt = ServiceUrl::parse("STATEHOUSE_SEARCH_URL", "memory:?thraeds=2")?;
    /// let error = Indexes::check(&misspelt, &Namespace::new("clinic")?).unwrap_err();
    /// assert_eq!(error.setting(), Some("STATEHOUSE_SEARCH_URL"));
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
    pub fn check(url: &ServiceUrl, namespace: &Namespace) -> Result<()> {
        prepare(url.clone(), namespace).map(drop)
    }
}

fn prepare(url: ServiceUrl, namespace: &Namespace) -> Result<Indexes> {
    let place = Scheme::find(&SCHEMES, &url, PACKAGE)?(url)?;
    Ok(Indexes::new(place, namespace))
}

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;

    fn url(text: &str) -> ServiceUrl {
        ServiceUrl::parse("STATEHOUSE_SEARCH_URL", text).unwrap()
    }

    #[tokio::test]
    async fn what_a_url_cannot_be_opened_for_names_the_setting_and_what_is_accepted() {
        let namespace = Namespace::new("clinic").unwrap();
        let error = Indexes::open(url("redis://h"), &namespace).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_SEARCH_URL")));
        assert!(error.to_string().contains("memory, tantivy, opensearch+https, opensearch+http"), "{error}");
        for text in ["memory:/var/lib/x", "memory://host"] {
            let error = Indexes::open(url(text), &namespace).await.unwrap_err();
            assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("STATEHOUSE_SEARCH_URL")));
        }
        let error = Indexes::open(url("opensearch://h"), &namespace).await.unwrap_err();
        assert!(error.to_string().contains("did you mean \"opensearch+https\"?"), "{error}");
        for (scheme, feature) in SCHEMES.iter().zip(["tantivy", "opensearch"]) {
            let error = scheme.missing(&url("opensearch+http://h"), PACKAGE);
            assert!(error.to_string().contains(&format!("\"search-{feature}\" of statehouse ")), "{error}");
        }
    }
}
