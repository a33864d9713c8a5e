//! Files over HTTP.

mod body;
mod conditions;
mod disposition;
mod failures;
mod headers;
mod multipart;
mod range;
mod reader;
mod respond;
mod server;
mod signed;
mod sniff;
mod status;
mod store;
mod unsupported;
mod upload;

pub use self::body::FileBody;
pub use self::disposition::Disposition;
pub use self::respond::Respond;
pub use self::server::FileServer;
pub use self::signed::{SignGet, SignPut, SignedUrls};
pub use self::status::error_response;
pub use self::unsupported::UnsupportedType;
pub use self::upload::UploadLimits;
