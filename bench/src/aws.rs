//! The store in a bucket beside Amazon's own client, with the same part size and number of parts under way.

use std::pin::pin;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::Builder as HttpClient;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_filestore::{Body, Files};
use statehouse_testkit::S3Server;

use crate::filestore::{LARGE, Outcome, PART, PIECE, UNDER_WAY, content};
use crate::harness::{Bar, Case, Harness};

const fn case(name: &'static str) -> Case {
    Case { service: "filestore", name, peer: "aws-sdk-s3", bar: Bar::Ratio(1.3), ops: 1 }
}

pub(crate) async fn run(harness: &mut Harness, ours: &Files, server: &S3Server) -> Outcome {
    let (theirs, bucket) = (client(server), server.bucket().to_owned());
    let content = content(LARGE);
    let mine = async || {
        let pieces = (0..LARGE).step_by(PIECE).map(|at| Ok::<_, std::io::Error>(content.slice(at..at + PIECE)));
        let body = Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
        drop(ours.put("large", body).await.expect("stored"));
    };
    harness.compare(case("s3 put, 128 MiB"), mine, async || upload(&theirs, &bucket, &content).await).await;
    let mine = async || {
        let mut stream = pin!(ours.get("large").stream().await.expect("a file"));
        let mut all = 0;
        while let Some(piece) = stream.next().await {
            all += piece.expect("a piece").len();
        }
        assert_eq!(all, LARGE);
    };
    let download = async || {
        let found = theirs.get_object().bucket(&bucket).key("aws/large").send().await.expect("a file");
        let (mut body, mut all) = (found.body, 0);
        while let Some(piece) = body.next().await {
            all += piece.expect("a piece").len();
        }
        assert_eq!(all, LARGE);
    };
    harness.compare(case("s3 get, 128 MiB"), mine, download).await;
    Ok(())
}

fn client(server: &S3Server) -> Client {
    let credentials = Credentials::new(server.access_key(), server.secret_key(), None, None, "bench");
    let config = Builder::new()
        .behavior_version_latest()
        .http_client(HttpClient::new().build_http())
        .credentials_provider(credentials)
        .region(Region::new(server.region().to_owned()))
        .endpoint_url(server.endpoint())
        .force_path_style(true)
        // Parts with checksums that the upload has not announced are not put together. It is work that the peer is spared.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    Client::from_conf(config.build())
}

async fn upload(client: &Client, bucket: &str, content: &Bytes) {
    let key = "aws/large";
    let begun = client.create_multipart_upload().bucket(bucket).key(key).send().await.expect("begun");
    let id = begun.upload_id().expect("its id");
    let parts = (0..LARGE).step_by(PART).zip(1..).map(|(at, number)| {
        let part = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
        let sent = part.body(ByteStream::from(content.slice(at..at + PART))).send();
        async move {
            let part = sent.await?;
            Ok::<_, aws_sdk_s3::error::SdkError<_>>(
                CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build(),
            )
        }
    });
    let parts: Vec<_> = futures_util::stream::iter(parts).buffered(UNDER_WAY).try_collect().await.expect("stored");
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id).multipart_upload(parts);
    complete.send().await.expect("complete");
}
