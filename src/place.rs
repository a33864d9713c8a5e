//! Where a service is, and what an operator is told of it.

use std::path::Path;

use statehouse_core::{Error, ErrorKind, Result, ServiceUrl};

use crate::ServiceConfig;

/// A service before it is opened: the application's own, or where it is.
pub(crate) enum Wanted<T> {
    Brought(T),
    At(Box<(ServiceUrl, Place)>),
}

impl<T> Wanted<T> {
    /// Checks the text and the folder, and opens nothing.
    pub(crate) fn new(brought: Option<T>, config: &ServiceConfig, service: &str) -> Result<Self> {
        let Some(brought) = brought else {
            let url = config.resolve(service)?;
            let place = Place::of(&url, config.assumed);
            place.check()?;
            return Ok(Self::At(Box::new((url, place))));
        };
        Ok(Self::Brought(brought))
    }

    /// Opens it with `open`; `instead` stands in for what nobody has asked for and cannot be had.
    pub(crate) async fn open<F: Future<Output = Result<T>>>(
        self,
        open: impl FnOnce(ServiceUrl) -> F,
        instead: impl FnOnce(Error) -> Result<T>,
    ) -> Result<T> {
        let (url, place) = match self {
            Self::Brought(brought) => return Ok(brought),
            Self::At(at) => *at,
        };
        let error = match open(url).await {
            Ok(opened) => return Ok(opened),
            Err(error) => place.name(error),
        };
        if place.may_be_missing(&error) { instead(error) } else { Err(error) }
    }
}

/// What errors say of where a service is.
pub(crate) struct Place {
    setting: String,
    folder: Option<String>,
    assumed: bool,
}

impl Place {
    /// `assumed` if nobody has chosen it.
    fn of(url: &ServiceUrl, assumed: bool) -> Self {
        let folder = matches!(url.scheme(), "file" | "tantivy").then(|| url.path().to_owned());
        Self { setting: url.setting().to_owned(), folder, assumed }
    }

    /// Refuses a folder that is a file, or lies below one.
    fn check(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        match Path::new(folder).ancestors().find(|path| path.exists()) {
            Some(path) if !path.is_dir() => {
                let message = format!("{} is a file, and a folder is needed there", path.display());
                Err(Error::invalid_config(&self.setting, message))
            }
            _ => Ok(()),
        }
    }

    /// The error of opening it, with the setting and the folder.
    fn name(&self, error: Error) -> Error {
        let error = match &self.folder {
            Some(folder) if !error.message().contains(folder.as_str()) => error.within(&format!("folder {folder:?}")),
            _ => error,
        };
        if error.setting().is_some() { error } else { error.with_setting(&self.setting) }
    }

    /// Whether it may be missing until somebody needs it: nobody has asked for it, and it cannot be had.
    fn may_be_missing(&self, error: &Error) -> bool {
        self.assumed && error.kind() == ErrorKind::PermissionDenied
    }
}
