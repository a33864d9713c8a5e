//! Half-written notes. They belong to a person and a patient and not to a session, which may end while somebody types. There is one
//! for both: of a second one, in another window, its page says that it is not kept; nor does a window take the place of what another
//! one has kept since it was opened. What was saved as a note is no draft any more.

use std::time::Duration;

use super::lent::ask;
use super::{Database, Staff};
use crate::id::new_id;
use crate::time::millis;

/// A note that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// That of the note to be, so that a form sent twice adds one note.
    pub(crate) id: String,
    pub(crate) text: String,
    /// Another one each time that it is kept.
    pub(crate) mark: String,
}

from_row!(Draft { id, text, mark });

/// Where a note is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window<'a> {
    /// Its page's own id; empty for a page that has none, of the release before: nothing is compared for it.
    pub(crate) page: &'a str,
    /// The mark of the draft that it was opened with; empty if there was none.
    pub(crate) seen: &'a str,
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DraftKept {
    Kept,
    /// It is a note already.
    Saved,
    /// Another note was saved under its id.
    AnotherSaved,
    /// What another window has kept is in its place.
    Elsewhere,
}

impl Database {
    pub(crate) async fn draft(&self, staff: i64, patient: i64) -> sqlx::Result<Option<Draft>> {
        ask!(
            self,
            sqlx::query_as(
                "SELECT id, text, COALESCE(mark, '') AS mark FROM drafts WHERE staff = $1 AND patient = $2 \
                 AND NOT EXISTS (SELECT 1 FROM notes WHERE notes.id = drafts.id)",
            )
            .bind(staff)
            .bind(patient),
            fetch_optional
        )
    }

    /// Keeps the text in place of what this window has kept before, or was opened with.
    pub(crate) async fn keep_draft(
        &self,
        staff: &Staff,
        patient: i64,
        (id, text): (&str, &str),
        window: Window<'_>,
    ) -> sqlx::Result<DraftKept> {
        let clock = self.engine.clock();
        let statement = format!(
            "INSERT INTO drafts (staff, patient, id, text, kept_at, page, mark) \
             SELECT $1, $2, $3, $4, {clock}, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM notes WHERE notes.id = $3) \
             ON CONFLICT (staff, patient) DO UPDATE \
             SET id = $3, text = $4, kept_at = {clock}, page = $5, mark = $6 \
             WHERE EXISTS (SELECT 1 FROM notes WHERE notes.id = drafts.id) \
             OR (drafts.id = $3 AND ($5 = '' OR COALESCE(drafts.mark, '') = $7)) \
             OR ($5 <> '' AND drafts.page = $5)"
        );
        let kept = ask!(
            self,
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(staff.id)
                .bind(patient)
                .bind(id)
                .bind(text)
                .bind(window.page)
                .bind(new_id())
                .bind(window.seen),
            execute
        )?;
        if kept.rows_affected() == 1 {
            return Ok(DraftKept::Kept);
        }
        Ok(match self.same_note(patient, id, text.trim(), staff).await? {
            Some(true) => DraftKept::Saved,
            Some(false) => DraftKept::AnotherSaved,
            None => DraftKept::Elsewhere,
        })
    }

    /// Removes what this window has kept, or was opened with: what was typed has been removed. `false` if another window has kept
    /// something of the same note since.
    pub(crate) async fn remove_draft(
        &self,
        staff: i64,
        patient: i64,
        id: &str,
        window: Window<'_>,
    ) -> sqlx::Result<bool> {
        self.delete_draft((staff, patient, id), window, window.page.is_empty()).await?;
        Ok(self.draft(staff, patient).await?.is_none_or(|left| left.id != id))
    }

    /// What this window has kept, or was opened with; or whatever there `is_any` of this note.
    async fn delete_draft(
        &self,
        (staff, patient, id): (i64, i64, &str),
        window: Window<'_>,
        is_any: bool,
    ) -> sqlx::Result<()> {
        ask!(
            self,
            sqlx::query(
                "DELETE FROM drafts WHERE staff = $1 AND patient = $2 AND (\
                 (id = $3 AND ($6 OR COALESCE(mark, '') = $5)) OR ($4 <> '' AND page = $4))",
            )
            .bind(staff)
            .bind(patient)
            .bind(id)
            .bind(window.page)
            .bind(window.seen)
            .bind(is_any),
            execute
        )
        .map(drop)
    }

    /// Removes what was kept of a note that is saved; what another window has kept under its id becomes a draft of its own. Without
    /// a window it is all of this note.
    pub(crate) async fn settle_draft(
        &self,
        staff: i64,
        patient: i64,
        id: &str,
        window: Option<Window<'_>>,
    ) -> sqlx::Result<()> {
        self.delete_draft((staff, patient, id), window.unwrap_or_default(), window.is_none()).await?;
        if window.is_none() {
            return Ok(());
        }
        ask!(
            self,
            sqlx::query("UPDATE drafts SET id = $4 WHERE staff = $1 AND patient = $2 AND id = $3")
                .bind(staff)
                .bind(patient)
                .bind(id)
                .bind(new_id()),
            execute
        )
        .map(drop)
    }

    /// Forgets the drafts that nobody has touched for so long.
    pub(crate) async fn sweep_drafts(&self, kept_for: Duration) -> sqlx::Result<u64> {
        let statement = format!("DELETE FROM drafts WHERE kept_at <= {} - $1", self.engine.clock());
        let swept = ask!(self, sqlx::query(sqlx::AssertSqlSafe(statement)).bind(millis(kept_for)), execute)?;
        Ok(swept.rows_affected())
    }
}
