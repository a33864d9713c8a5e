//! Half-written notes. They belong to a person and a patient and not to a session, which may end while somebody types.

use super::Database;
use super::lent::ask;
use crate::time::now;

/// A note that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// That of the note to be, so that a form sent twice adds one note.
    pub(crate) id: String,
    pub(crate) text: String,
}

from_row!(Draft { id, text });

impl Database {
    pub(crate) async fn draft(&self, staff: i64, patient: i64) -> sqlx::Result<Option<Draft>> {
        ask!(
            self,
            sqlx::query_as("SELECT id, text FROM drafts WHERE staff = $1 AND patient = $2").bind(staff).bind(patient),
            fetch_optional
        )
    }

    /// Keeps the text in place of what was kept before.
    pub(crate) async fn keep_draft(&self, staff: i64, patient: i64, draft: &Draft) -> sqlx::Result<()> {
        ask!(
            self,
            sqlx::query(
                "INSERT INTO drafts (staff, patient, id, text, kept_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (staff, patient) DO UPDATE SET id = $3, text = $4, kept_at = $5",
            )
            .bind(staff)
            .bind(patient)
            .bind(draft.id.as_str())
            .bind(draft.text.as_str())
            .bind(now()),
            execute
        )
        .map(drop)
    }

    pub(crate) async fn remove_draft(&self, staff: i64, patient: i64) -> sqlx::Result<()> {
        ask!(
            self,
            sqlx::query("DELETE FROM drafts WHERE staff = $1 AND patient = $2").bind(staff).bind(patient),
            execute
        )
        .map(drop)
    }

    /// Forgets the drafts that nobody has touched since this time.
    pub(crate) async fn sweep_drafts(&self, kept_before: i64) -> sqlx::Result<u64> {
        let swept = ask!(self, sqlx::query("DELETE FROM drafts WHERE kept_at < $1").bind(kept_before), execute)?;
        Ok(swept.rows_affected())
    }
}
