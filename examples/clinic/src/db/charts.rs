use serde::Serialize;
use sqlx::AssertSqlSafe;

use super::lent::ask;
use super::{Database, Staff};
use crate::id::new_id;
use crate::terminology::Concept;
use crate::time::now;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Patient {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) born: String,
    pub(crate) sex: String,
}

from_row!(Patient { id, name, born, sex });

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Diagnosis {
    pub(crate) id: String,
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) added_at: i64,
    pub(crate) added_by: String,
    pub(crate) resolved_at: Option<i64>,
    pub(crate) resolved_by: Option<String>,
}

from_row!(Diagnosis { id, code, title, added_at, added_by, resolved_at, resolved_by });

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) written_at: i64,
    pub(crate) written_by: String,
}

from_row!(Note { id, text, written_at, written_by });

/// What became of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoteAdded {
    New,
    /// The same note was saved before: its form was sent twice.
    Before,
    /// Another text was saved from the same form.
    AnotherBefore,
}

impl Database {
    /// The patients each of whose names some word begins, in the order of their names.
    pub(crate) async fn find_patients(&self, words: &str, limit: usize) -> sqlx::Result<Vec<Patient>> {
        let words: Vec<_> = words.split_whitespace().take(8).map(like_pattern).collect();
        let conditions: String = (0..words.len()).map(|n| format!(" AND find LIKE ${} ESCAPE '!'", n + 2)).collect();
        let statement =
            format!("SELECT id, name, born, sex FROM patients WHERE 1 = 1{conditions} ORDER BY find, id LIMIT $1");
        let mut query = sqlx::query_as(AssertSqlSafe(statement)).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        for word in words {
            query = query.bind(word);
        }
        ask!(self, query, fetch_all)
    }

    pub(crate) async fn patient(&self, id: i64) -> sqlx::Result<Option<Patient>> {
        ask!(self, sqlx::query_as("SELECT id, name, born, sex FROM patients WHERE id = $1").bind(id), fetch_optional)
    }

    /// All diagnoses of a patient, the active and the resolved, the newest first.
    pub(crate) async fn diagnoses(&self, patient: i64) -> sqlx::Result<Vec<Diagnosis>> {
        ask!(
            self,
            sqlx::query_as(
                "SELECT id, code, title, added_at, added_by, resolved_at, resolved_by FROM diagnoses \
                 WHERE patient = $1 ORDER BY added_at DESC, id",
            )
            .bind(patient),
            fetch_all
        )
    }

    /// Adds a diagnosis and says its id, unless the same code is active already.
    pub(crate) async fn add_diagnosis(
        &self,
        patient: i64,
        concept: &Concept,
        by: &Staff,
    ) -> sqlx::Result<Option<String>> {
        let id = new_id();
        let done = ask!(
            self,
            sqlx::query(
                "INSERT INTO diagnoses (id, patient, code, title, chapter, added_at, added_by, added_by_id) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            )
            .bind(id.as_str())
            .bind(patient)
            .bind(concept.code.as_str())
            .bind(concept.title.as_str())
            .bind(concept.chapter.as_str())
            .bind(now())
            .bind(by.name.as_str())
            .bind(by.id),
            execute
        )?;
        Ok((done.rows_affected() == 1).then_some(id))
    }

    /// Takes back a diagnosis that the same person added since this time. `false` if it is no such one.
    pub(crate) async fn take_back_diagnosis(&self, patient: i64, id: &str, by: i64, since: i64) -> sqlx::Result<bool> {
        let done = ask!(
            self,
            sqlx::query(
                "DELETE FROM diagnoses \
                 WHERE patient = $1 AND id = $2 AND added_by_id = $3 AND added_at >= $4 AND resolved_at IS NULL",
            )
            .bind(patient)
            .bind(id)
            .bind(by)
            .bind(since),
            execute
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Marks a diagnosis as resolved. `false` if it is not an active one of this patient.
    pub(crate) async fn resolve_diagnosis(&self, patient: i64, id: &str, by: &str) -> sqlx::Result<bool> {
        let done = ask!(
            self,
            sqlx::query(
                "UPDATE diagnoses SET resolved_at = $3, resolved_by = $4 \
                 WHERE patient = $1 AND id = $2 AND resolved_at IS NULL",
            )
            .bind(patient)
            .bind(id)
            .bind(now())
            .bind(by),
            execute
        )?;
        Ok(done.rows_affected() == 1)
    }

    /// Makes a resolved diagnosis active again, unless its code has become active by another one. `false` if so, or if
    /// it is not a resolved one of this patient.
    pub(crate) async fn reopen_diagnosis(&self, patient: i64, id: &str) -> sqlx::Result<bool> {
        let done = ask!(
            self,
            sqlx::query(
                "UPDATE diagnoses SET resolved_at = NULL, resolved_by = NULL \
                 WHERE patient = $1 AND id = $2 AND resolved_at IS NOT NULL AND NOT EXISTS (\
                 SELECT 1 FROM diagnoses other WHERE other.patient = diagnoses.patient AND other.code = diagnoses.code \
                 AND other.resolved_at IS NULL)",
            )
            .bind(patient)
            .bind(id),
            execute
        );
        match done {
            Ok(done) => Ok(done.rows_affected() == 1),
            // Somebody added it in the same moment.
            Err(sqlx::Error::Database(refused)) if refused.is_unique_violation() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How many diagnoses are active in each chapter.
    pub(crate) async fn active_by_chapter(&self) -> sqlx::Result<Vec<(String, i64)>> {
        ask!(
            self,
            sqlx::query_as("SELECT chapter, count(*) FROM diagnoses WHERE resolved_at IS NULL GROUP BY chapter"),
            fetch_all
        )
    }

    /// The notes of a patient, the newest first.
    pub(crate) async fn notes(&self, patient: i64) -> sqlx::Result<Vec<Note>> {
        ask!(
            self,
            sqlx::query_as(
                "SELECT id, text, written_at, written_by FROM notes WHERE patient = $1 ORDER BY written_at DESC, id",
            )
            .bind(patient),
            fetch_all
        )
    }

    /// Adds a note under an id that its form was given, so that a form sent twice adds one note.
    pub(crate) async fn add_note(&self, patient: i64, id: &str, text: &str, by: &Staff) -> sqlx::Result<NoteAdded> {
        let done = ask!(
            self,
            sqlx::query(
                "INSERT INTO notes (id, patient, text, written_at, written_by, written_by_id) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(id)
            .bind(patient)
            .bind(text)
            .bind(now())
            .bind(by.name.as_str())
            .bind(by.id),
            execute
        )?;
        if done.rows_affected() == 1 {
            return Ok(NoteAdded::New);
        }
        let same = self.same_note(patient, id, text, by).await?;
        Ok(if same == Some(true) { NoteAdded::Before } else { NoteAdded::AnotherBefore })
    }

    /// Whether the note of this id is this one; none if there is none. What was written before people had numbers, or by a replica of the
    /// release before, is compared by name.
    pub(super) async fn same_note(&self, patient: i64, id: &str, text: &str, by: &Staff) -> sqlx::Result<Option<bool>> {
        let before: Option<(i64, String, Option<i64>, String)> = ask!(
            self,
            sqlx::query_as("SELECT patient, text, written_by_id, written_by FROM notes WHERE id = $1").bind(id),
            fetch_optional
        )?;
        Ok(before.map(|(of, saved, by_id, name)| {
            (of, saved.as_str()) == (patient, text) && by_id.map_or(name == by.name, |by_id| by_id == by.id)
        }))
    }
}

/// Matches `find` where a word begins with this one.
fn like_pattern(word: &str) -> String {
    let mut pattern = String::from("% ");
    for letter in word.chars().flat_map(char::to_lowercase) {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
