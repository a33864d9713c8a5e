//! What somebody sends is stored within its limits, or not at all.

use bytes::Bytes;
use futures_util::stream;
use statehouse_core::ErrorKind;
use statehouse_filestore::{UnsupportedType, UploadLimits, error_response};

use super::kit::Backends;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and more";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_within_its_limits_or_leaves_nothing() {
    let backends = Backends::open().await;
    let photos = UploadLimits::new(20).with_types(["image/*", "application/pdf"]);
    for (backend, files) in &backends.all {
        for (content_type, content, status) in [
            (Some("image/png"), PNG, 200),
            (Some("Image/PNG; x=y"), PNG, 200),
            (Some("image/png"), b"<script>alert(1)", 415),
            (Some("image/png"), b"", 415),
            (Some("application/pdf"), b"%PDF-1.7", 200),
            (Some("application/pdf"), PNG, 415),
            (Some("text/html"), b"<script>", 415),
            (Some("image/"), PNG, 415),
            (Some("image"), PNG, 415),
            (Some("image/png;a, text/html"), PNG, 415),
            (Some("image/tiff, text/html"), b"<script>", 415),
            (None, PNG, 415),
            (Some("image/png"), b"\x89PNG\r\n\x1a\n and much too much of it", 413),
            (Some("image/tiff"), b"whatever it is", 200),
        ] {
            let cell = format!("{backend}: {content_type:?} {content:?}");
            // It may borrow, as the field of a form does.
            let pieces =
                stream::iter(content.chunks(3).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))));
            match files.upload("a", content_type, pieces, &photos).await {
                Ok(stored) => assert_eq!((stored.len, status), (content.len() as u64, 200), "{cell}"),
                Err(error) => {
                    assert_eq!(error_response(&error).status().as_u16(), status, "{cell}: {error:?}");
                    assert_eq!(UnsupportedType::of(&error).is_some(), status == 415, "{cell}");
                    assert!(!files.exists("a").await.unwrap(), "{cell}");
                }
            }
            files.delete("a").await.unwrap();
        }
        let broken = stream::iter([Ok(Bytes::from_static(PNG)), Err(std::io::Error::other("the client left"))]);
        let error = files.upload("a", Some("image/png"), broken, &photos).await.unwrap_err();
        assert_eq!((error.kind(), UnsupportedType::of(&error)), (ErrorKind::InvalidInput, None), "{backend}");
        assert!(!files.exists("a").await.unwrap(), "{backend}");
        // Any type, where none is said.
        let pieces = stream::iter([Ok::<_, std::io::Error>("x")]);
        assert!(files.upload("a", None, pieces, &UploadLimits::new(1)).if_absent().await.unwrap().stored().is_some());
    }
    backends.clear().await;
}
