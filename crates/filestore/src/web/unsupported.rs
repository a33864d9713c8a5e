use std::fmt;

use statehouse_core::{Error, causes};

/// What stands behind the error of an upload whose type is not taken, or whose content is not what its type says: 415 and not 400.
///
/// ```
/// # use std::sync::Arc;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic")?);
/// let page = futures_util::stream::iter([Ok::<_, std::io::Error>("<html>")]);
/// let photos = UploadLimits::new(10 << 20).with_types(["image/png"]);
/// let error = files.upload("photo", Some("image/png"), page, &photos).await.unwrap_err();
/// assert!(UnsupportedType::of(&error).is_some());
/// assert_eq!(error_response(&error).status(), 415);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsupportedType;

impl UnsupportedType {
    /// What stands behind this error, if it is that.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        causes(error).find_map(|cause| cause.downcast_ref()).copied()
    }
}

impl fmt::Display for UnsupportedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type is not supported")
    }
}

impl std::error::Error for UnsupportedType {}

pub(super) fn refused(message: &'static str) -> Error {
    Error::invalid_input(message).with_source(UnsupportedType)
}
