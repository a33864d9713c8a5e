//! The replicas, seen from outside.

use std::collections::BTreeSet;

use statehouse_coord::Member;
use statehouse_core::{Error, ErrorKind, Result};

use crate::fleet_report::{Elsewhere, FleetReport, program};
use crate::services::Services;

impl Services {
    /// Asks the store in which replicas know of each other what each has said of itself, and puts it side by side: for a page or
    /// a command that shows in what they differ, such as `statehouse doctor --fleet`. Whoever asks does not become one of them.
    ///
    /// ```
    /// use statehouse::{Config, ErrorKind, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// // Replicas with a memory each know nothing of each other.
    /// assert_eq!(services.fleet().await.unwrap_err().kind(), ErrorKind::Unsupported);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where there is no such store: neither coordination nor the sessions are shared;
    /// else what the store says.
    pub async fn fleet(&self) -> Result<FleetReport> {
        let membership = self.inner().membership().ok_or_else(nowhere)?;
        let members = membership.members().await?;
        let elsewhere = self.elsewhere(&members).await;
        Ok(FleetReport::of(self.namespace().as_str(), &members, elsewhere))
    }

    #[cfg_attr(not(feature = "coord-redis"), expect(clippy::unused_async, reason = "there is nobody to ask"))]
    async fn elsewhere(&self, members: &[Member]) -> Elsewhere {
        let programs: BTreeSet<_> = members.iter().map(|member| program(&member.info.build).to_owned()).collect();
        #[cfg(feature = "coord-redis")]
        if let Some(neighbours) = &self.inner().neighbours {
            return neighbours.elsewhere(&programs, None).await;
        }
        drop(programs);
        Elsewhere::default()
    }
}

fn nowhere() -> Error {
    let message =
        "replicas know of each other where they coordinate, or in the Redis of the sessions, and neither is shared";
    Error::new(ErrorKind::Unsupported, message).with_setting("STATEHOUSE_COORDINATION_URL")
}
