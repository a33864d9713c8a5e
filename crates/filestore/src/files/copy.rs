use std::marker::PhantomData;

use statehouse_core::Result;

use super::place::Place;
use crate::key::FileKey;
use crate::meta::{ETag, Stored};
use crate::options::{Condition, CopyOptions};
use crate::outcome::PutOutcome;

/// A copy that is being described; `.await` copies the file.
///
/// It gives what was [`Stored`], and with a condition a [`PutOutcome`].
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// let draft = scans.put("draft", "healthy").await?;
/// let sent = scans.copy("draft", "report").if_absent().deadline(Duration::from_secs(30)).await?;
/// let PutOutcome::Stored(report) = sent else { panic!("{sent:?}") };
/// // Once more, unless somebody has changed the report since
/// scans.put("draft", "healthy again").if_match(&draft.etag).await?;
/// assert!(matches!(scans.copy("draft", "report").if_match(&report.etag).await?, PutOutcome::Stored(_)));
/// assert_eq!(scans.get("report").bytes().await?, "healthy again");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is copied until awaited"]
pub struct Copy<'a, O = Stored> {
    place: &'a Place,
    keys: Result<(FileKey, FileKey)>,
    options: CopyOptions,
    outcome: PhantomData<fn() -> O>,
}

impl<'a, O> Copy<'a, O> {
    fn run(self) -> impl Future<Output = Result<PutOutcome>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, keys, mut options, .. } = self;
        async move {
            options.fence = place.fence(options.fence.take(), options.deadline).await?;
            let (from, to) = keys?;
            let copied = place.store.copy_with(&from, &to, options).await;
            copied.map_err(|error| place.naming(&from, error))
        }
    }
}

to_another_name!(Copy, "Copies");
bound!(
    Copy,
    "Copies",
    "",
    "Sets how long the copy may take; see [`CopyOptions::deadline`](crate::CopyOptions::deadline)."
);
awaited!(Copy: Stored, PutOutcome);
