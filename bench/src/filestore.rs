//! The store in a bucket beside bare `object_store`, with the same metadata, part size and number of parts under way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{
    Attribute, Attributes, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, WriteMultipart,
};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_filestore::{Body, Digest, Files};
use statehouse_testkit::S3Server;

use crate::harness::{Bar, Case, Harness, Processor};
use crate::memory;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

const FILES: usize = 64;
const CALLS: u32 = 1024;
const SMALL: usize = 4096;
pub(crate) const LARGE: usize = 128 << 20;
pub(crate) const PART: usize = 8 << 20;
pub(crate) const PIECE: usize = 1 << 20;
pub(crate) const UNDER_WAY: usize = 2;

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let server = S3Server::start().await;
    let url = url(&server);
    let bucket = Bucket::open(&server, &url).await?;
    small(harness, &bucket).await;
    large(harness, &bucket).await;
    #[cfg(feature = "aws")]
    crate::aws::run(harness, &bucket.ours, &server).await?;
    memory::run(harness, &url)
}

fn url(server: &S3Server) -> String {
    let (access_key, secret_key, bucket) = (server.access_key(), server.secret_key(), server.bucket());
    let (endpoint, region) = (server.endpoint(), server.region());
    format!("s3://{access_key}:{secret_key}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true")
}

/// Ours and the bare store, in one bucket.
struct Bucket {
    ours: Files,
    bare: Arc<AmazonS3>,
}

impl Bucket {
    async fn open(server: &S3Server, url: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let ours = statehouse_filestore::open(ServiceUrl::parse("bench", url)?, &Namespace::new("bench")?).await?;
        let bare = AmazonS3Builder::new()
            .with_access_key_id(server.access_key())
            .with_secret_access_key(server.secret_key())
            .with_bucket_name(server.bucket())
            .with_endpoint(server.endpoint())
            .with_region(server.region())
            .with_allow_http(true)
            .build()?;
        Ok(Self { ours, bare: Arc::new(bare) })
    }
}

pub(crate) fn content(len: usize) -> Bytes {
    (0..=250_u8).cycle().take(len).collect()
}

/// What an application that wants to check its reads would store by hand.
fn attributes() -> Attributes {
    let digest = Attribute::Metadata("sha256".into());
    let kind = (Attribute::ContentType, "application/octet-stream".to_owned());
    Attributes::from_iter([kind, (digest, "0".repeat(64))])
}

const fn case(name: &'static str, bar: f64, ops: u32) -> Case {
    Case { service: "filestore", name, peer: "object_store, same metadata", bar: Bar::Ratio(bar), ops }
}

async fn small(harness: &mut Harness, Bucket { ours, bare }: &Bucket) {
    let (name, peer, bar) = ("s3 put, 4 KiB, client's processor", "object_store, same metadata", 1.0 / 1.1);
    harness
        .compare_both(
            case("s3 put, 4 KiB", 0.97, CALLS),
            Processor { name, peer, bar: Bar::Ratio(bar) },
            async || {
                for i in 0..CALLS as usize {
                    ours.put(format!("f{}", i % FILES), content(SMALL)).await.expect("stored");
                }
            },
            async || {
                for i in 0..CALLS as usize {
                    let path = ObjectPath::from(format!("bare/f{}", i % FILES));
                    let options = PutOptions::from(attributes());
                    bare.put_opts(&path, content(SMALL).into(), options).await.expect("stored");
                }
            },
            || {},
        )
        .await;
    harness
        .compare_both(
            case("s3 get, 4 KiB", 0.97, CALLS),
            Processor { name: "s3 get, 4 KiB, client's processor", peer, bar: Bar::Ratio(bar) },
            async || {
                for i in 0..CALLS as usize {
                    let bytes = ours.get(format!("f{}", i % FILES)).bytes().await;
                    assert!(bytes.is_ok_and(|bytes| bytes.len() == SMALL));
                }
            },
            async || {
                for i in 0..CALLS as usize {
                    let found = bare.get(&ObjectPath::from(format!("bare/f{}", i % FILES))).await.expect("a file");
                    assert_eq!(found.bytes().await.expect("its bytes").len(), SMALL);
                }
            },
            || {},
        )
        .await;
}

async fn large(harness: &mut Harness, Bucket { ours, bare }: &Bucket) {
    let content = content(LARGE);
    let pieces = || {
        let content = content.clone();
        (0..LARGE).step_by(PIECE).map(move |at| content.slice(at..at + PIECE))
    };
    let (name, peer) = ("s3 put, 128 MiB, client's processor", "object_store and one SHA-256");
    harness
        .compare_both(
            case("s3 put, 128 MiB", 0.9, 1),
            Processor { name, peer, bar: Bar::Ratio(1.0 / 1.1) },
            async || {
                let body = futures_util::stream::iter(pieces().map(Ok::<_, std::io::Error>));
                ours.put("large", Body::from_stream(body)).await.expect("stored");
            },
            async || {
                let options = PutMultipartOptions::from(attributes());
                let upload = bare.put_multipart_opts(&ObjectPath::from("bare/large"), options).await.expect("begun");
                let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
                for piece in pieces() {
                    upload.wait_for_capacity(UNDER_WAY).await.expect("a part is stored");
                    upload.put(piece);
                }
                upload.finish().await.expect("stored");
            },
            || {
                std::hint::black_box(Digest::of(&content));
            },
        )
        .await;
    let name = "s3 get, 128 MiB, client's processor";
    let peer = "object_store, same metadata";
    harness
        .compare_both(
            case("s3 get, 128 MiB", 0.9, 1),
            Processor { name, peer, bar: Bar::Ratio(1.0 / 1.4) },
            async || {
                let mut stream = ours.get("large").stream().await.expect("a file");
                let mut all = 0;
                while let Some(piece) = stream.next().await {
                    all += piece.expect("a piece").len();
                }
                assert_eq!(all, LARGE);
            },
            async || {
                let found = bare.get(&ObjectPath::from("bare/large")).await.expect("a file");
                let (mut stream, mut all) = (found.into_stream(), 0);
                while let Some(piece) = stream.next().await {
                    all += piece.expect("a piece").len();
                }
                assert_eq!(all, LARGE);
            },
            || {},
        )
        .await;
}
