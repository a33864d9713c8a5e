//! Half-written notes. They belong to a person and a patient and not to a session, which may end while somebody types. There is one
//! for both: of a second one, in another window, its page says that it is not kept. What was saved as a note is no draft any more.

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
            sqlx::query_as(
                "SELECT id, text FROM drafts WHERE staff = $1 AND patient = $2 \
                 AND NOT EXISTS (SELECT 1 FROM notes WHERE notes.id = drafts.id)",
            )
            .bind(staff)
            .bind(patient),
            fetch_optional
        )
    }

    /// Keeps the text in place of what was kept of the same note before. `false` if another note is half written.
    pub(crate) async fn keep_draft(&self, staff: i64, patient: i64, draft: &Draft) -> sqlx::Result<bool> {
        let kept = ask!(
            self,
            sqlx::query(
                "INSERT INTO drafts (staff, patient, id, text, kept_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (staff, patient) DO UPDATE SET id = $3, text = $4, kept_at = $5 \
                 WHERE drafts.id = $3 OR EXISTS (SELECT 1 FROM notes WHERE notes.id = drafts.id)",
            )
            .bind(staff)
            .bind(patient)
            .bind(draft.id.as_str())
            .bind(draft.text.as_str())
            .bind(now()),
            execute
        )?;
        Ok(kept.rows_affected() == 1)
    }

    /// Removes what was kept of this note.
    pub(crate) async fn remove_draft(&self, staff: i64, patient: i64, id: &str) -> sqlx::Result<()> {
        ask!(
            self,
            sqlx::query("DELETE FROM drafts WHERE staff = $1 AND patient = $2 AND id = $3")
                .bind(staff)
                .bind(patient)
                .bind(id),
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
