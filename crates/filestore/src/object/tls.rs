//! What the errors of a connection say of TLS.

use std::error::Error as StdError;

use rustls::CertificateError;
use statehouse_core::causes;

/// What is wrong with the server's certificate, if that is why there is no connection.
pub(super) fn untrusted<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CertificateError> {
    causes(error).find_map(|cause| match cause.downcast_ref()? {
        rustls::Error::InvalidCertificate(reason) => Some(reason),
        _ => None,
    })
}

/// Whether the server was reached and spoke something else than TLS.
pub(super) fn is_wrong_language(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
}

/// Whether the server speaks TLS: it got as far as showing a certificate, or refused in a way that only TLS has.
pub(super) fn is_spoken(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidMessage(_)) | None => false,
        Some(_) => true,
    })
}
