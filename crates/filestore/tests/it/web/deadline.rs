//! A deadline is one for all that an answer takes until its content begins.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Namespace, Result};
use statehouse_filestore::{
    Body, CopyOptions, DeleteOptions, DeleteOutcome, FileKey, FileStore, Files, GetOptions, HeadOptions, ListOptions,
    MemoryFileStore, Meta, Object, Page, PutOptions, PutOutcome, ReadOutcome,
};
use tokio::time::{Instant, sleep};

/// How long each read takes.
const STEP: Duration = Duration::from_millis(60);

#[derive(Debug)]
struct Slow(MemoryFileStore);

async fn step(deadline: Option<Duration>) -> Result<()> {
    let within = deadline.unwrap_or(Duration::MAX).min(STEP);
    sleep(within).await;
    if within < STEP { Err(Error::new(ErrorKind::Timeout, "not within the deadline")) } else { Ok(()) }
}

#[async_trait]
impl FileStore for Slow {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome> {
        self.0.put_with(key, body, options).await
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        step(options.deadline).await?;
        self.0.get_with(key, options).await
    }

    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>> {
        step(options.deadline).await?;
        self.0.head_with(key, options).await
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        self.0.list_with(options).await
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome> {
        self.0.delete_with(key, options).await
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome> {
        self.0.copy_with(from, to, options).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_begins_within_its_deadline_however_many_steps_it_takes() {
    let files = Files::new(Arc::new(Slow(MemoryFileStore::new())), Namespace::new("n").unwrap());
    files.put("a", "0123456789").await.unwrap();
    for (headers, millis, expected) in [
        (vec![], 70, Ok((200, 60))),
        (vec![], 50, Err(50)),
        // It is looked at, and then read.
        (vec![("if-none-match", "\"other\"")], 100, Err(100)),
        (vec![("if-none-match", "\"other\"")], 130, Ok((200, 120))),
        (vec![("range", "bytes=0-1,5-6")], 100, Err(100)),
        // What follows is read as fast as the client takes it.
        (vec![("range", "bytes=0-1,5-6")], 130, Ok((206, 180))),
    ] {
        let headers: HeaderMap =
            headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let get = files.get("a").deadline(Duration::from_millis(millis));
        let begun = Instant::now();
        let answer = match get.respond(&Method::GET, &headers).await {
            Ok(response) => {
                let status = response.status().as_u16();
                assert!(response.into_body().collect().await.is_ok(), "{headers:?}");
                Ok((status, begun.elapsed().as_millis()))
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Timeout);
                Err(begun.elapsed().as_millis())
            }
        };
        assert_eq!(answer, expected, "{headers:?} within {millis} ms");
    }
}
