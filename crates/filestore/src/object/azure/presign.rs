//! Requests that are signed in advance by a shared access signature.

use std::time::SystemTime;

use object_store::path::Path;
use object_store::signer::{Method, Signer as _};
use percent_encoding::utf8_percent_encode;
use statehouse_core::{Error, ErrorKind, Result};

use super::super::ObjectFileStore;
use super::super::connection::Native;
use super::super::encoding::PATH;
use super::super::time::write_time;
use super::super::wire::Answer;
use super::sas::{self, Grant, Signs};
use crate::key::FileKey;
use crate::options::{PresignOptions, Presigned, Verb};

impl ObjectFileStore {
    /// Such a signature is of the object, the verb and the time, whether it may replace, and what answers say. What else is asked
    /// for it could not hold anybody to.
    pub(in super::super) async fn presign_azure(
        &self,
        native: &Native,
        signs: &Signs,
        key: &FileKey,
        options: &PresignOptions,
    ) -> Result<Presigned> {
        let PresignOptions { content_type, len, sha256, .. } = options;
        if options.verb == Verb::Put && (content_type.is_some() || len.is_some() || sha256.is_some()) {
            return Err(unsigned("Azure signs an upload neither for a type nor for a length or a digest"));
        }
        let path = self.remote.path(key)?;
        let headers = match options.verb {
            Verb::Get => Vec::new(),
            Verb::Put => {
                self.remote.check_name(key)?;
                vec![("x-ms-blob-type".to_owned(), "BlockBlob".to_owned())]
            }
        };
        let url = match signs {
            Signs::Key { account, key } => with_key(native, (account, key), &path, options),
            Signs::Delegated(azure) => {
                if options.create || options.disposition.is_some() || encode(&path) != path.as_ref() {
                    let message = "with a token of Entra ID only names of plain letters are signed, and neither a \
                                   condition nor a disposition: that takes the account's key";
                    return Err(unsigned(message));
                }
                let method = if options.verb == Verb::Put { Method::PUT } else { Method::GET };
                let sign = azure.signed_url(method, &path, options.valid_for);
                self.remote.plain(Answer::Nothing, sign).await?.to_string()
            }
            Signs::Nothing => return Err(Presigned::unsupported()),
        };
        Ok(Presigned::new(url, headers))
    }
}

fn with_key(native: &Native, (account, key): (&str, &[u8]), path: &Path, options: &PresignOptions) -> String {
    let grant = Grant {
        may: match options.verb {
            Verb::Get => "r",
            Verb::Put if options.create => "c",
            Verb::Put => "w",
        },
        until: &write_time(SystemTime::now() + options.valid_for),
        protocol: if native.server.is_plain() { "https,http" } else { "https" },
        disposition: options.disposition.as_deref().filter(|_| options.verb == Verb::Get),
    };
    let query = sas::sign(key, &format!("/{account}/{}/{path}", native.server.bucket), &grant);
    format!("{}/{}?{query}", native.url, encode(path))
}

fn encode(path: &Path) -> String {
    utf8_percent_encode(path.as_ref(), PATH).to_string()
}

fn unsigned(message: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}
