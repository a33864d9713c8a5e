//! An upload in parts of which it is known what the server calls it and its parts, so that another process can end it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload, PutResult, UploadPart};

/// What it is called, and what has been sent.
#[derive(Clone, Debug)]
pub(super) struct Known {
    s3: AmazonS3,
    path: Path,
    id: Arc<str>,
    count: usize,
    sent: Arc<Mutex<BTreeMap<usize, String>>>,
}

impl Known {
    pub(super) async fn begin(s3: AmazonS3, path: Path, request: PutMultipartOptions) -> object_store::Result<Self> {
        let id = s3.create_multipart_opts(&path, request).await?;
        Ok(Self { s3, path, id: id.into(), count: 0, sent: Arc::default() })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn path(&self) -> &str {
        self.path.as_ref()
    }

    /// Takes down what the server calls a part that it has.
    pub(super) fn took(&self, at: usize, part: String) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(at, part);
    }

    /// What the server calls the parts that it has, in their order.
    pub(super) fn parts(&self) -> Vec<String> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[async_trait]
impl MultipartUpload for Known {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (upload, at) = (self.clone(), self.count);
        self.count += 1;
        Box::pin(async move {
            let part = upload.s3.put_part(&upload.path, &upload.id.to_string(), at, data).await?;
            upload.took(at, part.content_id);
            Ok(())
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let parts = self.parts().into_iter().map(|content_id| PartId { content_id }).collect();
        self.s3.complete_multipart(&self.path, &self.id.to_string(), parts).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.s3.abort_multipart(&self.path, &self.id.to_string()).await
    }
}
