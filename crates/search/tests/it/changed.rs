//! A type of documents before and after a change of a reindex: one field renamed, and one of another type.

use statehouse_search::{Field, Record, Schema};

pub(crate) fn old_schema() -> Schema {
    Schema::builder()
        .field(Field::text("title"))
        .field(Field::keyword("code"))
        .field(Field::u64("size"))
        .build()
        .unwrap()
}

pub(crate) fn new_schema() -> Schema {
    let size = Field::keyword("size").sortable();
    Schema::builder().field(Field::text("name")).field(Field::keyword("code")).field(size).build().unwrap()
}

pub(crate) fn is_old(schema: &Schema) -> bool {
    schema.field("title").is_some()
}

pub(crate) fn document(schema: &Schema, id: &str, n: u64) -> Record {
    let document = Record::new(id).unwrap().with("code", format!("c{n}"));
    if is_old(schema) {
        document.with("title", format!("cholera {n}")).with("size", n)
    } else {
        document.with("name", format!("cholera {n}")).with("size", n.to_string())
    }
}
