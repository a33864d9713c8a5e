use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Capabilities;
use statehouse_core::conformance::Backend;
use statehouse_search::{Schema, SearchIndex};

use super::Scratch;

#[derive(Debug)]
struct OnServer {
    scratch: Scratch,
    index: Arc<dyn SearchIndex>,
}

impl Backend for OnServer {
    type Service = dyn SearchIndex;

    async fn service(&self) -> Arc<dyn SearchIndex> {
        Arc::clone(&self.index)
    }

    async fn capabilities(&self) -> Capabilities {
        self.index.capabilities()
    }

    async fn pass_time(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn reopen(&mut self) {
        self.index.close().await.unwrap();
        self.index = Arc::new(self.scratch.open(Schema::clone(self.index.schema())).await.unwrap());
    }

    async fn another(&self) -> Self {
        backend(Schema::clone(self.index.schema())).await
    }
}

async fn backend(schema: Schema) -> OnServer {
    let scratch = Scratch::new().await;
    let index = Arc::new(scratch.open(schema).await.unwrap());
    OnServer { scratch, index }
}

statehouse_search::search_conformance!(backend(statehouse_search::conformance::schema()));
