use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions};
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_filestore::{Files, LocalFileStore};
use statehouse_testkit::S3Server;

use crate::harness::{Bar, Case, Harness};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const FILES: usize = 64;
const LOCAL_READS: u32 = 2_000;
const LOCAL_WRITES: u32 = 64;
const S3_CALLS: u32 = 1024;
const SIZE: usize = 4096;

pub(crate) async fn run(harness: &mut Harness) -> Outcome {
    let folder = tempfile::tempdir()?;
    local(harness, folder.path()).await?;
    s3(harness).await
}

fn content() -> Vec<u8> {
    (0..=250_u8).cycle().take(SIZE).collect()
}

async fn local(harness: &mut Harness, folder: &Path) -> Outcome {
    let store = Arc::new(LocalFileStore::open(folder.join("ours")).await?);
    let ours = Files::new(store, Namespace::new("bench")?);
    let plain = folder.join("plain");
    fs::create_dir(&plain)?;
    let object = LocalFileSystem::new_with_prefix(&plain)?;
    for i in 0..FILES {
        ours.put(format!("f{i}"), content()).await?;
        fs::write(plain.join(format!("f{i}")), content())?;
    }
    let mine = async || {
        for i in 0..LOCAL_READS as usize {
            let bytes = ours.get(format!("f{}", i % FILES)).bytes().await;
            assert!(bytes.is_ok_and(|bytes| bytes.len() == SIZE));
        }
    };
    let case = |peer, bar| Case { service: "filestore", name: "local read, 4 KiB", peer, bar, ops: LOCAL_READS };
    harness
        .compare(case("std::fs::read", Bar::Ratio(0.4)), mine, async || {
            for i in 0..LOCAL_READS as usize {
                assert!(fs::read(plain.join(format!("f{}", i % FILES))).is_ok_and(|bytes| bytes.len() == SIZE));
            }
        })
        .await;
    harness
        .compare(case("object_store LocalFileSystem", Bar::Ratio(1.0)), mine, async || {
            for i in 0..LOCAL_READS as usize {
                let found = object.get(&ObjectPath::from(format!("f{}", i % FILES))).await.expect("a file");
                assert_eq!(found.bytes().await.expect("its bytes").len(), SIZE);
            }
        })
        .await;
    let name = "durable local write, 4 KiB";
    let case = Case {
        service: "filestore",
        name,
        peer: "temp, fsync, rename, dir fsync",
        bar: Bar::Ratio(0.9),
        ops: LOCAL_WRITES,
    };
    harness
        .compare(
            case,
            async || {
                for i in 0..LOCAL_WRITES {
                    ours.put(format!("w{i}"), content()).await.expect("written");
                }
            },
            // On a blocking thread, as an async application has to.
            async || {
                for i in 0..LOCAL_WRITES {
                    let (folder, content) = (plain.clone(), content());
                    let written = tokio::task::spawn_blocking(move || durable_write(&folder, i, &content)).await;
                    written.expect("no panic").expect("written");
                }
            },
        )
        .await;
    Ok(())
}

/// What one writes by hand to be safe from a crash.
fn durable_write(folder: &Path, i: u32, content: &[u8]) -> std::io::Result<()> {
    let staged = folder.join(format!("stage-{i}"));
    let mut file = fs::File::create(&staged)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&staged, folder.join(format!("w{i}")))?;
    fs::File::open(folder)?.sync_all()
}

async fn s3(harness: &mut Harness) -> Outcome {
    let server = S3Server::start().await;
    let (access_key, secret_key, bucket) = (server.access_key(), server.secret_key(), server.bucket());
    let (endpoint, region) = (server.endpoint(), server.region());
    let url = format!("s3://{access_key}:{secret_key}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true");
    let ours = statehouse_filestore::open(ServiceUrl::parse("bench", &url)?, &Namespace::new("bench")?).await?;
    let bare = AmazonS3Builder::new()
        .with_access_key_id(access_key)
        .with_secret_access_key(secret_key)
        .with_bucket_name(bucket)
        .with_endpoint(endpoint)
        .with_region(region)
        .with_allow_http(true)
        .build()?;
    // What an application that wants to check its reads would store by hand.
    let attributes = || {
        let digest = Attribute::Metadata("sha256".into());
        let kind = (Attribute::ContentType, "application/octet-stream".to_owned());
        PutOptions::from(Attributes::from_iter([kind, (digest, "0".repeat(64))]))
    };
    let peer = "object_store, same metadata";
    let case = |name| Case { service: "filestore", name, peer, bar: Bar::Ratio(0.95), ops: S3_CALLS };
    harness
        .compare(
            case("s3 put, 4 KiB"),
            async || {
                for i in 0..S3_CALLS as usize {
                    ours.put(format!("f{}", i % FILES), content()).await.expect("stored");
                }
            },
            async || {
                for i in 0..S3_CALLS as usize {
                    let path = ObjectPath::from(format!("bare/f{}", i % FILES));
                    bare.put_opts(&path, content().into(), attributes()).await.expect("stored");
                }
            },
        )
        .await;
    harness
        .compare(
            case("s3 get, 4 KiB"),
            async || {
                for i in 0..S3_CALLS as usize {
                    let bytes = ours.get(format!("f{}", i % FILES)).bytes().await;
                    assert!(bytes.is_ok_and(|bytes| bytes.len() == SIZE));
                }
            },
            async || {
                for i in 0..S3_CALLS as usize {
                    let found = bare.get(&ObjectPath::from(format!("bare/f{}", i % FILES))).await.expect("a file");
                    assert_eq!(found.bytes().await.expect("its bytes").len(), SIZE);
                }
            },
        )
        .await;
    Ok(())
}
