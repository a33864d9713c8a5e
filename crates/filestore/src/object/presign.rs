//! Requests that are signed in advance, for the server to answer itself.

use std::str::FromStr as _;

use object_store::signer::{HeaderMap, HeaderName, HeaderValue, Method, SignedUrlOptions, Signer as _};
use statehouse_core::{Error, ErrorKind, Result};

use super::ObjectFileStore;
use super::connection::Cloud;
use super::encoding::base64;
use super::metadata::{self, Sums};
use super::wire::Answer;
use crate::capability;
use crate::digest::{hex, nonce};
use crate::key::FileKey;
use crate::options::{PresignOptions, Presigned, PutOptions, Verb};

impl ObjectFileStore {
    pub(super) async fn presign(&self, key: &FileKey, options: &PresignOptions) -> Result<Presigned> {
        self.capabilities.require(capability::PRESIGNED)?;
        options.check()?;
        let Some(native) = &self.remote.native else { return Err(Presigned::unsupported()) };
        if options.create {
            self.capabilities.require(capability::CREATE_IF_ABSENT)?;
        }
        let signer = match &native.cloud {
            Cloud::S3 { signer, .. } => signer,
            #[cfg(feature = "azure")]
            Cloud::Azure { signs } => return self.presign_azure(native, signs, key, options).await,
        };
        // The signer leaves the length to whoever sends; a digest is of one length only.
        if options.len.is_some() && options.sha256.is_none() {
            let message = "an upload to S3 is not signed for a length without a digest";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let headers = if options.verb == Verb::Put { headers(options)? } else { Vec::new() };
        let mut extras = SignedUrlOptions::new();
        extras.signed_headers = header_map(&headers)?;
        if let Some(disposition) = options.disposition.as_ref().filter(|_| options.verb == Verb::Get) {
            extras = extras.with_query([("response-content-disposition", disposition)]);
        }
        let method = if options.verb == Verb::Put { Method::PUT } else { Method::GET };
        if options.verb == Verb::Put {
            self.remote.check_name(key)?;
        }
        let path = self.remote.path(key)?;
        let sign = signer.signed_url_opts(method, &path, options.valid_for, &extras);
        let url = self.remote.plain(Answer::Nothing, sign).await?;
        Ok(Presigned::new(url.to_string(), headers))
    }
}

/// What a put must have: the metadata that the file is then known by, and what the server checks.
fn headers(options: &PresignOptions) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    let put = PutOptions { content_type: options.content_type.clone(), ..PutOptions::default() };
    if let Some(digest) = options.sha256 {
        let known = metadata::describe(&put, &hex(&nonce()?), Some(Sums { digest, crc: None }));
        for (attribute, value) in &known {
            if let object_store::Attribute::Metadata(name) = attribute {
                add(&format!("x-amz-meta-{name}"), value.to_string());
            }
        }
        add("x-amz-checksum-sha256", base64(digest.as_bytes()));
    }
    if let Some(content_type) = put.content_type {
        add("content-type", content_type);
    }
    if options.create {
        add("if-none-match", "*".to_owned());
    }
    Ok(headers)
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap> {
    let wrong = |_| Error::invalid_input("a value of a signed header is none");
    let pair = |(name, value): &(String, String)| {
        let value = HeaderValue::from_str(value).map_err(wrong)?;
        let name = HeaderName::from_str(name).map_err(|_| Error::invalid_input("a signed header's name is none"))?;
        Ok((name, value))
    };
    headers.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_digest_is_written_as_s3_writes_it() {
        let mut options = PresignOptions::new(Verb::Put, std::time::Duration::from_secs(60));
        options.sha256 = Some(Digest::of(b"abc"));
        // `printf abc | openssl dgst -sha256 -binary | base64`
        let expected = ("x-amz-checksum-sha256".to_owned(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=".to_owned());
        assert!(headers(&options).unwrap().contains(&expected));
    }
}
