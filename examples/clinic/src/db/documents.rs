use std::time::Duration;

use serde::Serialize;

use super::Database;
use super::lent::ask;
use crate::time::millis;

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
    /// Since when it is among the removed ones; none if it is not.
    pub(crate) removed_at: Option<i64>,
    pub(crate) removed_by: Option<String>,
}

from_row!(Document { id, patient, name, content_type, size, added_at, added_by, stage, removed_at, removed_by });

const SELECT: &str = "SELECT id, patient, name, content_type, size, added_at, added_by, stage, removed_at, removed_by \
                      FROM documents";

impl Database {
    /// The documents of a patient, the newest first, and among them those that are removed and can be restored.
    pub(crate) async fn documents(&self, patient: i64) -> sqlx::Result<Vec<Document>> {
        let statement = format!("{SELECT} WHERE patient = $1 AND ended_at IS NULL ORDER BY added_at DESC, id");
        ask!(self, sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(patient), fetch_all)
    }

    /// A document, also one that is removed and can be restored.
    pub(crate) async fn document(&self, id: &str) -> sqlx::Result<Option<Document>> {
        let statement = format!("{SELECT} WHERE id = $1 AND ended_at IS NULL");
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

    /// Puts a document among the removed ones; false if it is not there to be removed.
    pub(crate) async fn remove_document(&self, patient: i64, id: &str, by: &str) -> sqlx::Result<bool> {
        let statement = format!(
            "UPDATE documents SET removed_at = {}, removed_by = $1 \
             WHERE id = $2 AND patient = $3 AND removed_at IS NULL AND ended_at IS NULL",
            self.engine.clock()
        );
        let statement = sqlx::AssertSqlSafe(statement);
        let removed = ask!(self, sqlx::query(statement).bind(by).bind(id).bind(patient), execute)?;
        Ok(removed.rows_affected() == 1)
    }

    /// Takes it back from there; false if it is not there, or its row has ended.
    pub(crate) async fn restore_document(&self, patient: i64, id: &str) -> sqlx::Result<bool> {
        let statement = "UPDATE documents SET removed_at = NULL, removed_by = NULL \
                         WHERE id = $1 AND patient = $2 AND removed_at IS NOT NULL AND ended_at IS NULL";
        let restored = ask!(self, sqlx::query(statement).bind(id).bind(patient), execute)?;
        Ok(restored.rows_affected() == 1)
    }

    /// Ends the rows of the documents that were removed so long ago, for ever. It is one statement, and so is a restore: whichever
    /// comes first, the other one finds nothing to do.
    pub(crate) async fn end_documents(&self, removed_for: Duration) -> sqlx::Result<u64> {
        let clock = self.engine.clock();
        let statement =
            format!("UPDATE documents SET ended_at = {clock} WHERE removed_at <= {clock} - $1 AND ended_at IS NULL");
        let ended = ask!(self, sqlx::query(sqlx::AssertSqlSafe(statement)).bind(millis(removed_for)), execute)?;
        Ok(ended.rows_affected())
    }

    /// Those whose row has ended and whose file may still be there.
    pub(crate) async fn ended_documents(&self) -> sqlx::Result<Vec<Document>> {
        let statement = format!("{SELECT} WHERE removed_at IS NOT NULL AND ended_at IS NOT NULL");
        ask!(self, sqlx::query_as(sqlx::AssertSqlSafe(statement)), fetch_all)
    }

    /// Forgets one of those, once its file is gone.
    pub(crate) async fn forget_document(&self, id: &str) -> sqlx::Result<()> {
        let statement = "DELETE FROM documents WHERE id = $1 AND ended_at IS NOT NULL";
        ask!(self, sqlx::query(statement).bind(id), execute).map(drop)
    }
}
