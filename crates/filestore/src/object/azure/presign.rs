//! Requests that are signed in advance by a shared access signature.

use object_store::azure::MicrosoftAzure;
use object_store::signer::{Method, Signer as _};
use statehouse_core::{Error, ErrorKind, Result};

use super::super::ObjectFileStore;
use super::super::wire::Answer;
use crate::key::FileKey;
use crate::options::{PresignOptions, Presigned, Verb};

impl ObjectFileStore {
    /// Such a signature is of the object, the verb and the time. What else is asked for it could not hold anybody to.
    pub(in super::super) async fn presign_azure(
        &self,
        signer: &MicrosoftAzure,
        key: &FileKey,
        options: &PresignOptions,
    ) -> Result<Presigned> {
        let PresignOptions { content_type, len, sha256, create, disposition, .. } = options;
        let of_a_put = content_type.is_some() || len.is_some() || sha256.is_some() || *create;
        let (method, asked, headers) = match options.verb {
            Verb::Get => (Method::GET, disposition.is_some(), Vec::new()),
            Verb::Put => (Method::PUT, of_a_put, vec![("x-ms-blob-type".to_owned(), "BlockBlob".to_owned())]),
        };
        if asked {
            let message = "Azure signs neither a type, a length, a digest, a condition nor a disposition";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let path = self.remote.path(key)?;
        let sign = signer.signed_url(method, &path, options.valid_for);
        let url = self.remote.plain(Answer::Nothing, sign).await?;
        Ok(Presigned::new(url.to_string(), headers))
    }
}
