//! Where the services of a replica are, so that it can be told whether others have theirs elsewhere.

use std::sync::Arc;
use std::time::Duration;

use statehouse_coord::{
    CoordKey, CoordStore as _, FilesConfig, FilesCoordStore, MemberInfo, PutOptions, PutOutcome, WriteId,
};
use statehouse_core::{Condition, Result, hex};
use statehouse_filestore::FileStore;

use crate::description::ServiceDescription;
use crate::fleet_report::OF_ITS_OWN;
use crate::service::Service;
use crate::services::Services;

/// How long reading the mark of a bucket may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found out once.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// What is written in the place where the files are: the same for all who are there, whatever they call it.
    mark: Option<String>,
    /// It cannot be read, as in a folder that nobody may write to.
    is_unmarked: bool,
}

impl Places {
    /// Says where each service that is used and shared is, and that the others are not shared.
    pub(super) fn tell(&self, used: &[ServiceDescription], info: &mut MemberInfo) {
        for described in used {
            let name = format!("{}.place", described.service);
            info.fingerprints.insert(name, self.of(described));
        }
    }

    fn of(&self, described: &ServiceDescription) -> String {
        let place = described.place.as_deref().filter(|_| described.shared);
        let place = place.map_or_else(|| format!("{}{OF_ITS_OWN}", described.backend), ToOwned::to_owned);
        match &self.mark {
            Some(mark) if described.service == Service::Files && described.shared => format!("#{mark} {place}"),
            _ => place,
        }
    }

    /// Reads the mark of the files' place once they are open, and leaves one if there is none.
    pub(super) async fn look(&mut self, services: &Services) {
        let files = &services.inner().files;
        if self.mark.is_some() || self.is_unmarked || !files.is_shared_and_open() {
            return;
        }
        match mark(files.handle_unasked(), services).await {
            Ok(mark) => self.mark = Some(mark),
            Err(error) => {
                tracing::debug!(name: "fleet.no_mark", %error, "the place of the files is known by its address alone");
                self.is_unmarked = !error.is_retryable();
            }
        }
    }
}

async fn mark(files: &Arc<dyn FileStore>, services: &Services) -> Result<String> {
    let store = FilesCoordStore::new(Arc::clone(files), services.namespace(), FilesConfig::default())?;
    let (key, id) = (CoordKey::new("place")?, WriteId::generate()?);
    let options = PutOptions::default().with_condition(Condition::Absent).with_id(id).with_deadline(PATIENCE);
    let found = match store.put_with(&key, bytes::Bytes::new(), options).await? {
        PutOutcome::Conflict(Some(record)) => record.id,
        _ => id,
    };
    Ok(hex::encode(&found.as_bytes()[..4]))
}
