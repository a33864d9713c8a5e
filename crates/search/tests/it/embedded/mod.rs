//! What is particular to the embedded backend: its folder.

mod damage;
mod folder;
mod full_disk;
mod logged;
mod reindex;

use statehouse_search::{Field, Operation, Record, Schema};

fn schema() -> Schema {
    Schema::builder()
        .field(Field::text("title"))
        .field(Field::keyword("code").sortable())
        .field(Field::i64("rank").sortable())
        .build()
        .unwrap()
}

fn upsert(id: &str, title: &str) -> Operation {
    Operation::Upsert(Record::new(id).unwrap().with("title", title.to_owned()))
}
