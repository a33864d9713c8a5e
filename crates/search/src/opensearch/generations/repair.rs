//! What one generation does not take because it knows something newer, or remembers a delete that the other one does not.

use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::super::bulk::{Rule, Run, To};
use super::super::error::BACKEND;
use super::super::found::Known;
use super::super::versions::present;
use super::both::Both;
use super::set::told;
use crate::{Operation, Outcome, Refresh};

/// How often others may come in between.
const TRIES: usize = 8;

impl Both<'_> {
    /// Writes an operation without a version to both, as the newest of each: first to the one that refused it, which counts on from
    /// what it knows, and then with that version to the live one. Nothing if nothing is to be done.
    pub(super) async fn repair(&self, operation: &Operation, beside: &Known) -> Result<Option<Outcome>> {
        let alias = self.ground.alias.as_str();
        let (there, live) = (told(alias, beside.number), self.view.set.name(alias));
        for _ in 0..TRIES {
            if matches!(operation, Operation::Delete { .. }) {
                let found = present(&self.ground.client, &there, vec![operation.id().clone()], self.deadline).await?;
                if found == [None] {
                    return Ok(None);
                }
            }
            let counted = self.one(beside, &there, Rule::Newer, operation.clone()).await?;
            let (Outcome::Created { version } | Outcome::Updated { version } | Outcome::Deleted { version }) = counted
            else {
                continue;
            };
            let versioned = match operation {
                Operation::Upsert(record) => Operation::Upsert(record.clone().with_version(version)),
                Operation::Delete { id, .. } => Operation::Delete { id: id.clone(), version: Some(version) },
            };
            // One that is newer by now tells the other one itself.
            let _ = self.one(&self.view.live, &live, Rule::Newer, versioned).await?;
            return Ok(Some(counted));
        }
        let message = "others write the same document all the time";
        Err(Error::new(ErrorKind::Conflict, message).with_backend(BACKEND).with_retry(Retry::Now))
    }

    /// What becomes of one operation in one generation.
    async fn one(&self, known: &Known, alias: &str, rule: Rule, operation: Operation) -> Result<Outcome> {
        let view = &self.view;
        let operation = match view.number(self.home) {
            Some(home) => view.adapted(home, known, &operation),
            None => operation,
        };
        let operations = Arc::new(vec![operation]);
        let to = To { client: &self.ground.client, alias, rule };
        let mut run = Run::new(to, &operations, false, self.deadline);
        run.finish(Refresh::None).await?;
        match run.outcomes.pop().flatten() {
            Some(Outcome::Failed(error)) => Err(error),
            outcome => Ok(outcome.unwrap_or(Outcome::NotFound)),
        }
    }
}
