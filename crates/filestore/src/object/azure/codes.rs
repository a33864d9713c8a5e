//! What Azure calls what went wrong:
//! <https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes>.

use statehouse_core::{Error, ErrorKind, Retry};

use super::super::server::Server;

/// The error of a code that only Azure has. What it has in common with S3 is not here.
pub(in super::super) fn error(status: u16, code: &str, server: Option<&Server>) -> Option<Error> {
    let server = server.filter(|server| server.kind == super::KIND)?;
    let (kind, message, retry) = match code {
        "ContainerNotFound" => (ErrorKind::InvalidConfig, no_container(server), Retry::Never),
        "ContainerBeingDeleted" | "ContainerDisabled" | "AccountIsDisabled" | "AccountBeingCreated" => {
            (ErrorKind::Unavailable, "does not serve this container now".to_owned(), Retry::Exhausted)
        }
        "AuthenticationFailed" | "NoAuthenticationInformation" | "InvalidAuthenticationInfo" => {
            (ErrorKind::Unauthenticated, WRONG_KEY.to_owned(), Retry::Never)
        }
        // With If-None-Match: *.
        "BlobAlreadyExists" => (ErrorKind::Conflict, "has such a file already".to_owned(), Retry::Never),
        // Another upload of the same name has been completed, and its parts are all that is left.
        "InvalidBlockList" => (ErrorKind::Conflict, "has no such parts any more".to_owned(), Retry::Now),
        // Blocks of one name must have names of one length.
        "InvalidBlobOrBlock" => (ErrorKind::Unavailable, FOREIGN_BLOCKS.to_owned(), Retry::Exhausted),
        "LeaseIdMissing" | "LeaseLost" => {
            (ErrorKind::PermissionDenied, "keeps the file for who has a lease of it".to_owned(), Retry::Never)
        }
        "SnapshotsPresent" | "BlobImmutableDueToPolicy" => {
            (ErrorKind::PermissionDenied, "does not let this file be replaced or deleted".to_owned(), Retry::Never)
        }
        "ServerBusy" if status == 503 => {
            (ErrorKind::RateLimited, "asks for fewer requests".to_owned(), Retry::Exhausted)
        }
        "InvalidResourceName" | "InvalidUri" | "OutOfRangeInput" => {
            (ErrorKind::InvalidInput, "does not take this name".to_owned(), Retry::Never)
        }
        "InvalidMetadata" | "EmptyMetadataKey" | "MetadataTooLarge" => {
            (ErrorKind::InvalidInput, "does not take this metadata".to_owned(), Retry::Never)
        }
        "RequestBodyTooLarge" | "BlockCountExceedsLimit" | "BlockListTooLong" => {
            (ErrorKind::TooLarge, "does not take a file that is so large".to_owned(), Retry::Never)
        }
        "ResourceTypeMismatch" | "HierarchicalNamespacePathIsDirectory" | "ParentPathNotFound" | "PathConflict" => {
            let message = "keeps no file below another file's name, and there is one here or below".to_owned();
            (ErrorKind::Unsupported, message, Retry::Never)
        }
        // It names whatever it refuses. This is of what has not come as it was sent.
        "" if status == 400 => (ErrorKind::Unavailable, "did not get the whole request".to_owned(), Retry::Exhausted),
        "BlobNotFound" | "ResourceNotFound" => (ErrorKind::NotFound, "has no such file".to_owned(), Retry::Never),
        _ => return None,
    };
    Some(Error::new(kind, format!("{server} {message}")).with_retry(retry))
}

const WRONG_KEY: &str =
    "refused the credentials: look at the account and its key, at the end of a signature, and at this host's clock";

const FOREIGN_BLOCKS: &str = "keeps blocks that another program has sent under this name: they go when a file is stored under it in one \
                              piece, or after a week";

fn no_container(server: &Server) -> String {
    format!("has no container {:?}: look at its name, or create it", server.bucket)
}

#[cfg(test)]
mod tests {
    use super::super::super::config::S3Config;
    use super::*;

    #[test]
    fn each_answer_of_azure_has_its_kind_and_advice() {
        let config = S3Config::new("scans");
        let server = |kind| Server::new(kind, &config, "https://clinicfiles.blob.core.windows.net/scans", "");
        let table = [
            (404, "ContainerNotFound", ErrorKind::InvalidConfig, Retry::Never),
            (409, "ContainerBeingDeleted", ErrorKind::Unavailable, Retry::Exhausted),
            (403, "AuthenticationFailed", ErrorKind::Unauthenticated, Retry::Never),
            (409, "BlobAlreadyExists", ErrorKind::Conflict, Retry::Never),
            (400, "InvalidBlockList", ErrorKind::Conflict, Retry::Now),
            (400, "InvalidBlobOrBlock", ErrorKind::Unavailable, Retry::Exhausted),
            (412, "LeaseIdMissing", ErrorKind::PermissionDenied, Retry::Never),
            (409, "BlobImmutableDueToPolicy", ErrorKind::PermissionDenied, Retry::Never),
            (503, "ServerBusy", ErrorKind::RateLimited, Retry::Exhausted),
            (400, "OutOfRangeInput", ErrorKind::InvalidInput, Retry::Never),
            (400, "MetadataTooLarge", ErrorKind::InvalidInput, Retry::Never),
            (413, "RequestBodyTooLarge", ErrorKind::TooLarge, Retry::Never),
            (409, "PathConflict", ErrorKind::Unsupported, Retry::Never),
            (404, "BlobNotFound", ErrorKind::NotFound, Retry::Never),
            (400, "", ErrorKind::Unavailable, Retry::Exhausted),
        ];
        for (status, code, kind, retry) in table {
            let error = error(status, code, Some(&server(super::super::KIND))).unwrap();
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code}");
        }
        // What both have in common is told elsewhere, and what only Azure says is nothing of S3's.
        assert!(error(412, "ConditionNotMet", Some(&server(super::super::KIND))).is_none());
        assert!(error(404, "ContainerNotFound", Some(&server("S3"))).is_none());
        assert!(error(404, "ContainerNotFound", None).is_none());
    }
}
