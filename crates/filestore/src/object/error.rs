use std::error::Error as StdError;
use std::fmt;

use object_store::client::{HttpError, HttpErrorKind};
use rustls::CertificateError;
use statehouse_core::{Error, ErrorKind, Retry, Unreached, causes};

use super::missing::{Missing, PAUSE};
use super::server::Server;
use super::tls::{is_wrong_language, untrusted};
use super::wire::{Log, Reply};

/// The only place where an error of an object store becomes ours.
///
/// What happened on the wire decides, if it is known; the error itself otherwise, for stores that are brought along.
pub(super) fn map_error(error: object_store::Error, log: &Log) -> Error {
    let mapped = map(error, log);
    let Some(server) = &log.server else { return mapped };
    use ErrorKind::{InvalidConfig, PermissionDenied, Unauthenticated, Unavailable};
    match mapped.kind() {
        InvalidConfig | PermissionDenied | Unauthenticated | Unavailable => mapped.with_setting(&server.setting),
        _ => mapped,
    }
}

fn map(error: object_store::Error, log: &Log) -> Error {
    let server = log.server.as_deref();
    if let Some(missing) = &log.unsigned {
        return unsigned(missing, error);
    }
    if let Some(reply) = &log.reply {
        return map_reply(reply, server);
    }
    match log.broken.or_else(|| transport(&error)) {
        Some(kind) => map_transport(kind, &error, server),
        None => map_variant(error, server),
    }
}

/// Who cannot be asked for credentials now can be later; who refuses them, or has none, does so again.
fn unsigned(missing: &Missing, error: object_store::Error) -> Error {
    let (kind, retry) = match missing.is_lasting() {
        true => (ErrorKind::Unauthenticated, Retry::Never),
        false => (ErrorKind::Unavailable, Retry::After(PAUSE)),
    };
    let unsigned = Error::new(kind, format!("there are no credentials: {missing}")).with_retry(retry);
    // Otherwise it says the same once more.
    if missing.at.is_none() { unsigned.with_source(error) } else { unsigned }
}

/// What a message calls the server.
const SERVER: &str = "the server";

/// A message that begins with the server, with its name in place of that.
fn naming(message: &str, server: Option<&Server>) -> String {
    match (message.strip_prefix(SERVER), server) {
        (Some(rest), Some(server)) => format!("{server}{rest}"),
        _ => message.to_owned(),
    }
}

/// What servers answer whose bucket is elsewhere.
const REGION: [&str; 4] =
    ["AuthorizationHeaderMalformed", "IncorrectRegion", "IllegalLocationConstraintException", "PermanentRedirect"];

/// What servers answer whose disk is full, or a quota of theirs: Ceph and VersityGW, and MinIO.
const FULL: [&str; 4] = ["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"];

fn map_reply(reply: &Reply, server: Option<&Server>) -> Error {
    let code = reply.code.as_str();
    #[cfg(feature = "azure")]
    if let Some(error) = super::azure::codes::error(reply.status, code, server) {
        return error.with_source(reply.clone());
    }
    let redirected = (300..400).contains(&reply.status) && reply.status != 304 && !reply.stranger;
    // An answer to a HEAD has no code.
    let silently = reply.status == 400 && code.is_empty() && reply.region.is_some();
    if redirected || silently || REGION.contains(&code) {
        let message = wrong_region(reply, server);
        return Error::new(ErrorKind::InvalidConfig, message).with_source(reply.clone());
    }
    if reply.is_nested() {
        return nested().with_source(reply.clone());
    }
    if reply.status == 507 || FULL.contains(&code) {
        return Error::full("the server has no room for it").with_source(reply.clone());
    }
    if code == "NoSuchBucket" {
        return Error::new(ErrorKind::InvalidConfig, no_bucket(server)).with_source(reply.clone());
    }
    let strange = strange(server);
    let (kind, message, retry) = match (reply.status, reply.code.as_str()) {
        (_, "SignatureDoesNotMatch") => (ErrorKind::Unauthenticated, WRONG_SECRET, Retry::Never),
        // VersityGW's answer is the second.
        (_, "InvalidAccessKeyId") | (404, "XAdminUserNotFound") => {
            (ErrorKind::Unauthenticated, WRONG_KEY, Retry::Never)
        }
        (_, "ExpiredToken" | "InvalidToken") => (ErrorKind::Unauthenticated, WRONG_TOKEN, Retry::Never),
        (401, _) => (ErrorKind::Unauthenticated, "the server refused the credentials", Retry::Never),
        (_, "RequestTimeTooSkewed") => (ErrorKind::Unauthenticated, WRONG_CLOCK, Retry::Never),
        (403, _) => (ErrorKind::PermissionDenied, NOT_ALLOWED, Retry::Never),
        (300..400 | 404, "") if reply.stranger => (ErrorKind::Unavailable, &*strange, Retry::Exhausted),
        (404, "" | "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion") => {
            (ErrorKind::NotFound, "there is no such file", Retry::Never)
        }
        (409, _) => (ErrorKind::Conflict, "another write of the file is under way", Retry::Now),
        (304 | 412, _) => (ErrorKind::Conflict, "the file does not have the expected etag", Retry::Never),
        (413, _) | (400, "EntityTooLarge") => {
            (ErrorKind::TooLarge, "the file is too large for the server", Retry::Never)
        }
        (400, "KeyTooLongError") => (ErrorKind::InvalidInput, "the key is too long for the server", Retry::Never),
        (416, _) => (ErrorKind::InvalidInput, "the range begins behind the file's last byte", Retry::Never),
        // What became of the request on its way.
        (400, "BadRequest" | "IncompleteBody" | "RequestTimeout") => {
            (ErrorKind::Unavailable, "the server did not get the whole request", Retry::Exhausted)
        }
        (400, "InvalidBucketName") => {
            (ErrorKind::InvalidConfig, "the server takes no bucket of this name", Retry::Never)
        }
        (429, _) | (_, "SlowDown") => (ErrorKind::RateLimited, "the server asks for fewer requests", Retry::Exhausted),
        (501, _) => (ErrorKind::Unsupported, "the server does not implement this operation", Retry::Never),
        (500.., _) => (ErrorKind::Unavailable, "the server failed", Retry::Exhausted),
        _ => (ErrorKind::Unexpected, "the server refused the request", Retry::Never),
    };
    Error::new(kind, naming(message, server)).with_retry(retry).with_source(reply.clone())
}

const WRONG_SECRET: &str = "the server refused the signature: the secret key is not that of the access key";
const WRONG_KEY: &str = "the server does not know the access key: look at it, and whether it is one of this server";
const WRONG_TOKEN: &str = "the server refused the session token: it has expired or belongs to another access key";
const WRONG_CLOCK: &str = "the server's clock is too far from this host's: set this host's clock";
const NOT_ALLOWED: &str = "the server does not allow this operation to these credentials";

/// What answers is a gateway or another program, in the server's place.
fn strange(server: Option<&Server>) -> String {
    let kind = server.map_or("S3", |server| server.kind);
    format!("the server gave an answer that no {kind} server gives: look at the endpoint, and at what is before it")
}

fn wrong_region(reply: &Reply, server: Option<&Server>) -> String {
    let expected = reply.region.as_deref().filter(|region| region.len() <= 40);
    let expected = expected.map_or_else(|| "another region".to_owned(), |region| format!("the region {region:?}"));
    match server {
        Some(server) => format!("{server} expects {expected} and not {:?}: change the region", server.region),
        None => format!("the server expects {expected}"),
    }
}

fn no_bucket(server: Option<&Server>) -> String {
    match server {
        Some(server) => {
            let bucket = &server.bucket;
            format!("{server} has no bucket {bucket:?}: look at its name, or create it")
        }
        None => "the bucket does not exist".to_owned(),
    }
}

/// What answers is no such server: a gateway or another program that stands in its place.
pub(super) fn not_a_server(server: &Server) -> Error {
    let error = Error::new(ErrorKind::Unavailable, naming(&strange(Some(server)), Some(server)));
    error.with_retry(Retry::Exhausted).with_setting(&server.setting)
}

/// A file below another file's name, where the server has no place for it.
pub(super) fn nested() -> Error {
    let message = "the server keeps no file below another file's name, and there is one here or below";
    Error::new(ErrorKind::Unsupported, message)
}

fn map_transport(broken: HttpErrorKind, error: &object_store::Error, server: Option<&Server>) -> Error {
    let late = |error: &reqwest::Error| error.is_timeout() && error.is_connect();
    let late = causes(error).find_map(|cause| cause.downcast_ref()).is_some_and(late);
    let why = if late { Some(Unreached::TimedOut) } else { Unreached::of(error) };
    if let Some(reason) = untrusted(error) {
        let message = format!("the server has a certificate that is not trusted: {}", remedy(reason));
        return Error::new(ErrorKind::InvalidConfig, naming(&message, server));
    }
    let (kind, message) = match broken {
        _ if is_wrong_language(error) => {
            (ErrorKind::Unavailable, "the server cannot be reached: it does not speak TLS".to_owned())
        }
        HttpErrorKind::Connect => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            (ErrorKind::Unavailable, format!("the server cannot be reached{why}"))
        }
        HttpErrorKind::Timeout => (ErrorKind::Timeout, "the server did not answer in time".to_owned()),
        _ => (ErrorKind::Unavailable, "the server broke the connection".to_owned()),
    };
    let error = causes(error).last().map(ToString::to_string).unwrap_or_default();
    // The layers around it say only that a request failed, and where to.
    Error::new(kind, naming(&message, server)).with_retry(Retry::Exhausted).with_source(error)
}

/// What is wrong with a certificate, and what to do about it.
fn remedy(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            format!("{reason}; add its authority to this host's certificates, or name their file by SSL_CERT_FILE")
        }
        reason => reason.to_string(),
    }
}

fn map_variant(error: object_store::Error, server: Option<&Server>) -> Error {
    use object_store::Error as E;
    let strange = strange(server);
    let (kind, message) = match &error {
        // A file system's: what is looked for below a file is not there.
        _ if io_kind(&error) == Some(std::io::ErrorKind::NotADirectory) => {
            (ErrorKind::NotFound, "there is no such file")
        }
        _ if io_kind(&error) == Some(std::io::ErrorKind::InvalidFilename) => {
            (ErrorKind::InvalidInput, "the store does not take this key")
        }
        E::NotFound { .. } => (ErrorKind::NotFound, "there is no such file"),
        E::AlreadyExists { .. } => (ErrorKind::AlreadyExists, "there is such a file already"),
        E::Precondition { .. } | E::NotModified { .. } => {
            (ErrorKind::Conflict, "the file does not have the expected etag")
        }
        E::PermissionDenied { .. } => (ErrorKind::PermissionDenied, "the credentials do not allow this operation"),
        E::Unauthenticated { .. } => (ErrorKind::Unauthenticated, "the server refused the credentials"),
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the store does not implement this operation")
        }
        E::InvalidPath { .. } => (ErrorKind::InvalidInput, "the store does not take this key"),
        E::UnknownConfigurationKey { .. } => (ErrorKind::InvalidConfig, "the store does not know a setting"),
        _ if server.is_some() => (ErrorKind::Unexpected, &*strange),
        _ => (ErrorKind::Unexpected, "the store failed"),
    };
    Error::new(kind, naming(message, server)).with_source(error)
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<std::io::ErrorKind> {
    let found = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    found.or_else(|| io_kind(error.source()?))
}

fn transport(error: &(dyn StdError + 'static)) -> Option<HttpErrorKind> {
    let found = error.downcast_ref::<HttpError>().map(HttpError::kind);
    found.or_else(|| transport(error.source()?))
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {} {}", self.status, self.code)
    }
}

impl StdError for Reply {}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic() -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: "x".into() }
    }

    #[test]
    fn each_answer_has_its_kind_and_advice() {
        let table = [
            (301, "", ErrorKind::InvalidConfig, Retry::Never),
            (400, "AuthorizationHeaderMalformed", ErrorKind::InvalidConfig, Retry::Never),
            (403, "IncorrectRegion", ErrorKind::InvalidConfig, Retry::Never),
            (409, "ObjectParentIsFile", ErrorKind::Unsupported, Retry::Never),
            (409, "ExistingObjectIsDirectory", ErrorKind::Unsupported, Retry::Never),
            (301, "PermanentRedirect", ErrorKind::InvalidConfig, Retry::Never),
            (304, "", ErrorKind::Conflict, Retry::Never),
            (400, "KeyTooLongError", ErrorKind::InvalidInput, Retry::Never),
            (400, "EntityTooLarge", ErrorKind::TooLarge, Retry::Never),
            (400, "ExpiredToken", ErrorKind::Unauthenticated, Retry::Never),
            (400, "MalformedXML", ErrorKind::Unexpected, Retry::Never),
            (401, "", ErrorKind::Unauthenticated, Retry::Never),
            (403, "InvalidAccessKeyId", ErrorKind::Unauthenticated, Retry::Never),
            (403, "SignatureDoesNotMatch", ErrorKind::Unauthenticated, Retry::Never),
            (403, "RequestTimeTooSkewed", ErrorKind::Unauthenticated, Retry::Never),
            (403, "AccessDenied", ErrorKind::PermissionDenied, Retry::Never),
            (403, "", ErrorKind::PermissionDenied, Retry::Never),
            (404, "NoSuchKey", ErrorKind::NotFound, Retry::Never),
            (404, "", ErrorKind::NotFound, Retry::Never),
            (404, "NoSuchBucket", ErrorKind::InvalidConfig, Retry::Never),
            (404, "XAdminUserNotFound", ErrorKind::Unauthenticated, Retry::Never),
            (404, "NoSuchWebsiteConfiguration", ErrorKind::Unexpected, Retry::Never),
            (409, "ConditionalRequestConflict", ErrorKind::Conflict, Retry::Now),
            (400, "XMinioAdminBucketQuotaExceeded", ErrorKind::Unavailable, Retry::FULL),
            (403, "QuotaExceeded", ErrorKind::Unavailable, Retry::FULL),
            (507, "InsufficientStorage", ErrorKind::Unavailable, Retry::FULL),
            (507, "", ErrorKind::Unavailable, Retry::FULL),
            (412, "PreconditionFailed", ErrorKind::Conflict, Retry::Never),
            (416, "InvalidRange", ErrorKind::InvalidInput, Retry::Never),
            (429, "", ErrorKind::RateLimited, Retry::Exhausted),
            (500, "InternalError", ErrorKind::Unavailable, Retry::Exhausted),
            (501, "NotImplemented", ErrorKind::Unsupported, Retry::Never),
            (503, "SlowDown", ErrorKind::RateLimited, Retry::Exhausted),
            (503, "ServiceUnavailable", ErrorKind::Unavailable, Retry::Exhausted),
        ];
        for (status, code, kind, retry) in table {
            let log = Log { reply: Some(Reply { status, code: code.into(), ..Reply::default() }), ..Log::default() };
            let error = map_error(generic(), &log);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{status} {code}");
        }
    }

    #[test]
    fn an_outage_is_never_an_absent_file() {
        let table = [
            (HttpErrorKind::Connect, ErrorKind::Unavailable),
            (HttpErrorKind::Timeout, ErrorKind::Timeout),
            (HttpErrorKind::Interrupted, ErrorKind::Unavailable),
            (HttpErrorKind::Decode, ErrorKind::Unavailable),
            (HttpErrorKind::Unknown, ErrorKind::Unavailable),
        ];
        for (broken, kind) in table {
            let log = Log { broken: Some(broken), ..Log::default() };
            let error = map_error(generic(), &log);
            assert_eq!((error.kind(), error.retry()), (kind, Retry::Exhausted), "{broken:?}");
            // A body that breaks while it is read is outside any operation: the error itself must tell.
            let source = Box::new(HttpError::new(broken, std::io::Error::other("x")));
            let error = map_error(object_store::Error::Generic { store: "S3", source }, &Log::default());
            assert_eq!(error.kind(), kind, "{broken:?}");
        }
    }

    #[test]
    fn errors_of_a_store_that_is_brought_along_keep_their_meaning() {
        use object_store::Error as E;
        let (path, source) = (String::new, || "x".into());
        let table = [
            (E::NotFound { path: path(), source: source() }, ErrorKind::NotFound),
            (E::AlreadyExists { path: path(), source: source() }, ErrorKind::AlreadyExists),
            (E::Precondition { path: path(), source: source() }, ErrorKind::Conflict),
            (E::PermissionDenied { path: path(), source: source() }, ErrorKind::PermissionDenied),
            (E::Unauthenticated { path: path(), source: source() }, ErrorKind::Unauthenticated),
            (E::NotSupported { source: source() }, ErrorKind::Unsupported),
            (generic(), ErrorKind::Unexpected),
        ];
        for (error, kind) in table {
            assert_eq!(map_error(error, &Log::default()).kind(), kind);
        }
    }
}
