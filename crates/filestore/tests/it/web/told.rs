//! What operators are told of requests for files.

use statehouse_core::conformance::Warnings;
use statehouse_core::{Error, ErrorKind};
use statehouse_filestore::error_response;

#[test]
fn an_outage_is_not_a_line_for_each_request() {
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let away = Error::new(ErrorKind::Unavailable, "the server is away");
    for _ in 0..100 {
        assert_eq!(error_response(&away).status(), 503);
    }
    // Another test may have been told already.
    assert!(log.lines().len() <= 2, "{:#?}", log.lines());
    let before = log.lines().len();
    for _ in 0..3 {
        assert_eq!(error_response(&Error::new(ErrorKind::Corrupt, "it is damaged")).status(), 500);
    }
    assert_eq!(log.lines().len(), before + 3, "each damaged file: {:#?}", log.lines());
}
