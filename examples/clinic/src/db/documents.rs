use serde::Serialize;

use super::Database;
use super::lent::ask;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Document {
    /// Also the key of the file in the file store.
    pub(crate) id: String,
    pub(crate) patient: i64,
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) size: i64,
    pub(crate) added_at: i64,
    pub(crate) added_by: String,
    /// What its file was stored as; none in rows of versions before.
    #[serde(skip)]
    pub(crate) stage: Option<String>,
}

from_row!(Document { id, patient, name, content_type, size, added_at, added_by, stage });

const COLUMNS: &str = "SELECT id, patient, name, content_type, size, added_at, added_by, stage FROM documents";

impl Database {
    /// The documents of a patient, the newest first.
    pub(crate) async fn documents(&self, patient: i64) -> sqlx::Result<Vec<Document>> {
        let statement = format!("{COLUMNS} WHERE patient = $1 ORDER BY added_at DESC, id");
        ask!(self, sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(patient), fetch_all)
    }

    pub(crate) async fn document(&self, id: &str) -> sqlx::Result<Option<Document>> {
        let statement = format!("{COLUMNS} WHERE id = $1");
        ask!(self, sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(id), fetch_optional)
    }

    /// Adds the row of a document whose file is staged.
    pub(crate) async fn add_document(&self, document: &Document) -> sqlx::Result<()> {
        ask!(
            self,
            sqlx::query(
                "INSERT INTO documents (id, patient, name, content_type, size, added_at, added_by, stage) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(document.id.as_str())
            .bind(document.patient)
            .bind(document.name.as_str())
            .bind(document.content_type.as_str())
            .bind(document.size)
            .bind(document.added_at)
            .bind(document.added_by.as_str())
            .bind(document.stage.as_deref()),
            execute
        )
        .map(drop)
    }
}
