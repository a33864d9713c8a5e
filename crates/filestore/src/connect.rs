//! From a URL to a store.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use statehouse_core::{Namespace, Result, Scheme, ServiceUrl};

use crate::api::FileStore;
use crate::files::Files;
use crate::memory::{MemoryConfig, MemoryFileStore};

type Opening = BoxFuture<'static, Result<Arc<dyn FileStore>>>;
/// Reads the URL at once, and opens what it names when the future runs.
type Open = fn(ServiceUrl) -> Result<Opening>;

const PACKAGE: &str = "statehouse-filestore";

const SCHEMES: [Scheme<Open>; 4] = [
    Scheme::new(&["memory"], Some(memory)),
    Scheme::new(&["file"], LOCAL),
    Scheme::new(&["s3"], S3).with_features("s3", "filestore-s3"),
    Scheme::new(&["az"], AZURE).with_features("azure", "filestore-azure"),
];

#[cfg(unix)]
const LOCAL: Option<Open> = Some(local);
#[cfg(not(unix))]
const LOCAL: Option<Open> = None;

#[cfg(feature = "s3")]
const S3: Option<Open> = Some(s3);
#[cfg(not(feature = "s3"))]
const S3: Option<Open> = None;

#[cfg(feature = "azure")]
const AZURE: Option<Open> = Some(azure);
#[cfg(not(feature = "azure"))]
const AZURE: Option<Open> = None;

/// Opens the store that a URL names, and gives the files of a namespace in it.
///
/// | URL | store |
/// | --- | --- |
/// | `memory:` | [`MemoryFileStore`]; parameters as [`MemoryConfig`] says |
/// | `file:///dir` | [`LocalFileStore`](crate::LocalFileStore); parameters as [`LocalConfig`](crate::local::LocalConfig) says |
/// | `s3://bucket/prefix` | [`ObjectFileStore`](crate::object::ObjectFileStore); parameters as `S3Config` says; feature `s3` |
/// | `az://container/prefix` | [`ObjectFileStore`](crate::object::ObjectFileStore); parameters as `AzureConfig` says; feature `azure` |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use statehouse_core::{Namespace, ServiceUrl};
///
/// let url = ServiceUrl::parse("APP_FILES_URL", "memory:")?;
/// let scans = statehouse_filestore::open(url, &Namespace::new("clinic.scans")?).await?;
/// scans.put("p42/chest.dcm", "DICM…").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts; and
/// whatever opening the store may fail with.
pub async fn open(url: ServiceUrl, namespace: &Namespace) -> Result<Files> {
    prepare(url, namespace)?.await
}

/// Whether [`open`] takes this URL, as far as the URL tells: nothing is opened, and no server is asked.
///
/// ```
/// # use statehouse_core::{Namespace, ServiceUrl};
/// let misspelt = ServiceUrl::parse("APP_FILES_URL", "file:/srv/scans?durabilty=relaxed")?;
/// let error = statehouse_filestore::check(&misspelt, &Namespace::new("clinic.scans")?).unwrap_err();
/// assert_eq!(error.setting(), Some("APP_FILES_URL"));
/// # Ok::<(), statehouse_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting and what it accepts.
pub fn check(url: &ServiceUrl, namespace: &Namespace) -> Result<()> {
    prepare(url.clone(), namespace).map(drop)
}

fn prepare(url: ServiceUrl, namespace: &Namespace) -> Result<BoxFuture<'static, Result<Files>>> {
    let (opening, namespace) = (Scheme::find(&SCHEMES, &url, PACKAGE)?(url)?, namespace.clone());
    Ok(async move { Ok(Files::new(opening.await?, namespace)) }.boxed())
}

fn memory(url: ServiceUrl) -> Result<Opening> {
    let config = MemoryConfig::from_url(url)?;
    Ok(ready(Ok(Arc::new(MemoryFileStore::with_config(config)) as _)).boxed())
}

#[cfg(unix)]
fn local(url: ServiceUrl) -> Result<Opening> {
    let config = crate::local::LocalConfig::from_url(url)?;
    Ok(async { Ok(Arc::new(crate::local::LocalFileStore::open_with(config).await?) as _) }.boxed())
}

#[cfg(feature = "s3")]
fn s3(url: ServiceUrl) -> Result<Opening> {
    let config = crate::object::S3Config::from_url(url)?;
    crate::object::check_s3(&config)?;
    Ok(async { Ok(Arc::new(crate::object::ObjectFileStore::open_s3(config).await?) as _) }.boxed())
}

#[cfg(feature = "azure")]
fn azure(url: ServiceUrl) -> Result<Opening> {
    let config = crate::object::AzureConfig::from_url(url)?;
    crate::object::check_azure(&config)?;
    Ok(async { Ok(Arc::new(crate::object::ObjectFileStore::open_azure(config).await?) as _) }.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(text: &str) -> Result<Files> {
        super::open(ServiceUrl::parse("FILES", text)?, &Namespace::new("n")?).await
    }

    #[tokio::test]
    async fn a_wrong_url_names_the_setting_and_what_is_accepted() {
        assert!(open("memory:").await.is_ok());
        for text in ["redis://h", "memory:?x=1", "memory:/var/lib/x", "memory://host"] {
            assert_eq!(open(text).await.unwrap_err().setting(), Some("FILES"), "{text}");
        }
        let error = open("redis://h").await.unwrap_err().to_string();
        assert!(error.contains("memory, file, s3, az"), "{error}");
    }

    #[test]
    fn what_is_not_compiled_in_is_told_by_its_features() {
        let url = ServiceUrl::parse("FILES", "s3://b").unwrap();
        let error = SCHEMES[2].missing(&url, PACKAGE).to_string();
        for text in ["\"s3\" needs the feature", "filestore-s3", "statehouse-filestore"] {
            assert!(error.contains(text), "{error}");
        }
    }
}
