//! Signature Version 4, with which S3 requests are signed:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// What is signed, besides the time and the key.
#[derive(Debug)]
pub(crate) struct Signable<'a> {
    pub(crate) method: &'a str,
    /// The percent-encoded path, and the query without its `?`.
    pub(crate) target: &'a str,
    /// Lowercase names and trimmed values of the headers to sign, in order of their names.
    pub(crate) headers: &'a [(String, String)],
    /// The value of `x-amz-content-sha256`.
    pub(crate) payload: &'a str,
}

impl Signable<'_> {
    /// The value of the `Authorization` header. `time` is that of `x-amz-date`; `scope` is `date/region/s3/aws4_request`.
    pub(crate) fn authorization(&self, access_key: &str, secret_key: &str, time: &str, scope: &str) -> String {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let request = hex(&Sha256::digest(self.canonical(&names)));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{request}");
        let key =
            scope.split('/').fold(format!("AWS4{secret_key}").into_bytes(), |key, part| hmac(&key, part).to_vec());
        let signature = hex(&hmac(&key, &text));
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn canonical(&self, names: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let pair = |pair: &str| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") };
        let mut query: Vec<_> = query.split('&').filter(|text| !text.is_empty()).map(pair).collect();
        query.sort();
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (method, query, payload) = (self.method, query.join("&"), self.payload);
        format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{payload}")
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// RFC 2104 over SHA-256.
pub(crate) fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The time now as `20260131T235959Z`.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format_time(seconds)
}

/// The proleptic Gregorian date by Howard Hinnant's `civil_from_days`, for days since 1970.
fn format_time(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Example: GET Object" of <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    #[test]
    fn the_example_of_the_s3_documentation_has_its_signature() {
        let empty = sha256(b"");
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", empty.as_str()),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = Signable { method: "GET", target: "/test.txt", headers: &headers, payload: &empty };
        let authorization = request.authorization(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "20130524T000000Z",
            "20130524/us-east-1/s3/aws4_request",
        );
        let signature = authorization.rsplit('=').next();
        assert_eq!(signature, Some("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
    }

    /// Test case 6 of RFC 4231: a key longer than a block.
    #[test]
    fn a_long_key_is_hashed_first() {
        let mac = hmac(&[0xaa; 131], "Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn times_are_formatted_as_dates() {
        assert_eq!(format_time(0), "19700101T000000Z");
        assert_eq!(format_time(951_782_399), "20000228T235959Z");
        assert_eq!(format_time(951_782_400), "20000229T000000Z");
        assert_eq!(format_time(1_772_323_199), "20260228T235959Z");
    }
}
