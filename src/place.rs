//! Where a service is, and what an operator is told of it.

use std::path::Path;

use statehouse_core::{Error, Result, ServiceUrl};

/// What errors say of where a service is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    setting: String,
    folder: Option<String>,
}

impl Place {
    /// Refuses a folder that is a file, or lies below one.
    pub(crate) fn of(url: &ServiceUrl) -> Result<Self> {
        let folder = matches!(url.scheme(), "file" | "tantivy").then(|| url.path().to_owned());
        let place = Self { setting: url.setting().to_owned(), folder };
        let Some(folder) = &place.folder else { return Ok(place) };
        match Path::new(folder).ancestors().find(|path| path.exists()) {
            Some(path) if !path.is_dir() => {
                let message = format!("{} is a file, and a folder is needed there", path.display());
                Err(Error::invalid_config(&place.setting, message))
            }
            _ => Ok(place),
        }
    }

    /// The setting that says where it is.
    pub(crate) fn setting(&self) -> &str {
        &self.setting
    }

    /// The error of opening it, with the setting and the folder.
    pub(crate) fn name(&self, error: Error) -> Error {
        let error = match &self.folder {
            Some(folder) if !error.message().contains(folder.as_str()) => error.within(&format!("folder {folder:?}")),
            _ => error,
        };
        error.with_setting(&self.setting)
    }
}
