//! Signing requests, each in the words of its cloud.

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
#[cfg(feature = "azure")]
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::HttpRequest;
use reqwest::header::HeaderMap;

#[cfg(feature = "azure")]
use super::azure::names;
use crate::digest::Digest;

/// Who signs requests, and as whom.
pub(super) enum Signer {
    S3(AwsCredentialProvider),
    #[cfg(feature = "azure")]
    Azure {
        credentials: AzureCredentialProvider,
        account: String,
    },
}

impl Signer {
    /// Signs everything that the request has, the precondition included.
    pub(super) async fn sign(
        &self,
        request: &mut HttpRequest,
        payload: Option<Digest>,
        region: &str,
    ) -> object_store::Result<()> {
        match self {
            Self::S3(credentials) => {
                let credential = credentials.get_credential().await?;
                let digest = payload.unwrap_or_else(|| digest_of(request));
                let authorizer = AwsAuthorizer::new(&credential, "s3", region);
                authorizer.try_authorize(request, Some(digest.as_bytes()))
            }
            #[cfg(feature = "azure")]
            Self::Azure { credentials, account } => {
                let credential = credentials.get_credential().await?;
                names::write(request.headers_mut());
                // What asks for a key to sign URLs with is signed already.
                request.headers_mut().remove(reqwest::header::AUTHORIZATION);
                AzureAuthorizer::new(&credential, account).try_authorize(request)
            }
        }
    }

    /// Gives the metadata in an answer the names that it was stored under.
    pub(super) fn read_names(&self, headers: &mut HeaderMap) {
        match self {
            // It has them by their own.
            Self::S3(_) => _ = headers,
            #[cfg(feature = "azure")]
            Self::Azure { .. } => names::read(headers),
        }
    }
}

/// The SHA-256 of a request's body.
fn digest_of(request: &HttpRequest) -> Digest {
    use sha2::Digest as _;
    let (mut hasher, mut body) = (sha2::Sha256::new(), std::pin::pin!(request.body().clone()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // A request's body is in memory: it is never pending.
    while let std::task::Poll::Ready(Some(Ok(frame))) = http_body::Body::poll_frame(body.as_mut(), &mut context) {
        hasher.update(frame.data_ref().map_or(&[][..], |data| data));
    }
    Digest::from_bytes(hasher.finalize().into())
}
