//! Shared access signatures of one blob: <https://learn.microsoft.com/en-us/rest/api/storageservices/create-service-sas>.
//!
//! `object_store` has them, too, and signs a name as it is in a URL. Azure signs it as it is.

use std::fmt;

use hmac::{Hmac, Mac as _};
use object_store::azure::MicrosoftAzure;
use percent_encoding::utf8_percent_encode;
use sha2::Sha256;

use super::super::encoding::{QUERY, base64};

/// The version that the signature is of.
const VERSION: &str = "2023-11-03";

/// What requests are signed with in advance.
#[derive(Clone)]
pub(in super::super) enum Signs {
    /// With the account's key.
    Key { account: String, key: Vec<u8> },
    /// With a key that Azure gives to who has a token of Entra ID.
    Delegated(Box<MicrosoftAzure>),
    /// A shared access signature signs no others.
    Nothing,
}

impl fmt::Debug for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key { .. } => "Key",
            Self::Delegated(_) => "Delegated",
            Self::Nothing => "Nothing",
        })
    }
}

/// What somebody may do.
pub(super) struct Grant<'a> {
    /// `r` to read, `w` to write, `c` to write what is not there yet.
    pub(super) may: &'static str,
    /// Until when, as Azure writes times.
    pub(super) until: &'a str,
    /// `https`, or also without TLS.
    pub(super) protocol: &'static str,
    /// The disposition that answers have.
    pub(super) disposition: Option<&'a str>,
}

/// The query that allows this on a blob: `/account/container/name`, not percent-encoded.
pub(super) fn sign(key: &[u8], blob: &str, grant: &Grant<'_>) -> String {
    let Grant { may, until, protocol, disposition } = *grant;
    let named = disposition.unwrap_or_default();
    // With nothing for: from when, the policy, addresses, the snapshot, the scope of encryption; and what else an answer may have.
    let text = format!("{may}\n\n{until}\n/blob{blob}\n\n\n{protocol}\n{VERSION}\nb\n\n\n\n{named}\n\n\n");
    // A key may have any length.
    let code = Hmac::<Sha256>::new_from_slice(key).map(|code| code.chain_update(text).finalize().into_bytes());
    let signature = code.map(|code| base64(&code)).unwrap_or_default();
    let mut query = format!("sv={VERSION}&sr=b&sp={may}");
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            query.push_str(&format!("&{name}={}", utf8_percent_encode(value, QUERY)));
        }
    };
    add("se", until);
    add("spr", protocol);
    add("rscd", named);
    add("sig", &signature);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'r\n\n2026-03-01T00:00:00Z\n…' | openssl dgst -sha256 -hmac hunter2 -binary | base64`
    #[test]
    fn a_signature_is_of_the_name_as_it_is() {
        let grant = Grant { may: "r", until: "2026-03-01T00:00:00Z", protocol: "https", disposition: Some("inline") };
        let query = sign(b"hunter2", "/clinicfiles/scans/p 42/é.png", &grant);
        let begin = "sv=2023-11-03&sr=b&sp=r&se=2026-03-01T00%3A00%3A00Z&spr=https&rscd=inline&sig=";
        assert_eq!(query, format!("{begin}w1cLdBQcr3ezwJmXCFTL479fGEVhZAq2FFLqpYA4r7s%3D"));
    }

    #[test]
    fn a_key_is_not_shown() {
        let signs = Signs::Key { account: "clinicfiles".to_owned(), key: b"hunter2".to_vec() };
        assert_eq!(format!("{signs:?}"), "Key");
    }
}
