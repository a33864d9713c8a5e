use std::sync::Arc;

use async_trait::async_trait;
use statehouse_search::conformance::Backend;
use statehouse_search::{Schema, SearchIndex};

use super::Scratch;

#[derive(Debug)]
struct OnServer {
    scratch: Scratch,
    index: Arc<dyn SearchIndex>,
}

#[async_trait]
impl Backend for OnServer {
    fn index(&self) -> Arc<dyn SearchIndex> {
        Arc::clone(&self.index)
    }

    async fn reopen(&mut self) {
        self.index.close().await.unwrap();
        self.index = Arc::new(self.scratch.open(Schema::clone(self.index.schema())).await.unwrap());
    }

    async fn another(&self) -> Box<dyn Backend> {
        Box::new(backend(Schema::clone(self.index.schema())).await)
    }
}

async fn backend(schema: Schema) -> OnServer {
    let scratch = Scratch::new().await;
    let index = Arc::new(scratch.open(schema).await.unwrap());
    OnServer { scratch, index }
}

statehouse_search::search_conformance!(backend);
