use std::sync::Arc;

use statehouse_core::{Result, ServiceUrl};

use crate::{FileStore, MemoryFileStore};

/// Opens the store that a URL names.
///
/// | URL | store |
/// | --- | --- |
/// | `memory:` | [`MemoryFileStore`] |
/// | `file:///dir` | [`LocalFileStore`](crate::LocalFileStore); parameters as [`LocalConfig`](crate::local::LocalConfig) says |
/// | `s3://bucket/prefix` | [`ObjectFileStore`](crate::object::ObjectFileStore); parameters as `S3Config` says; feature `s3` |
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts; and
/// whatever opening the store may fail with.
pub async fn open(url: ServiceUrl) -> Result<Arc<dyn FileStore>> {
    match url.scheme() {
        "memory" => {
            url.finish()?;
            Ok(Arc::new(MemoryFileStore::new()))
        }
        #[cfg(unix)]
        "file" => {
            let config = crate::local::LocalConfig::from_url(url)?;
            Ok(Arc::new(crate::LocalFileStore::open_with(config).await?))
        }
        #[cfg(feature = "s3")]
        "s3" => Ok(Arc::new(crate::ObjectFileStore::open_s3(crate::S3Config::from_url(url)?).await?)),
        #[cfg(not(feature = "s3"))]
        "s3" => Err(statehouse_core::Error::invalid_config(url.setting(), "s3: needs the feature \"s3\"")),
        _ => Err(url.refuse_scheme("memory, file, s3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_names_the_setting_and_what_is_accepted() {
        let open = async |text| open(ServiceUrl::parse("FILES", text).unwrap()).await;
        assert!(open("memory:").await.is_ok());
        for text in ["redis://h", "memory:?x=1"] {
            assert_eq!(open(text).await.unwrap_err().setting(), Some("FILES"), "{text}");
        }
    }
}
