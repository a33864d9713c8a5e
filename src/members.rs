//! Where replicas find each other: among the records of coordination, or, where those are not shared, in the Redis of the
//! sessions. What is there may be forgotten.

use std::sync::Arc;

use statehouse_coord::{CoordStore, Coordination};
use statehouse_core::Result;

use crate::config::ServiceConfig;
#[cfg(feature = "coord-redis")]
use crate::neighbours::Neighbours;
use crate::open::Opening;
use crate::slot::{Row as _, Slot};

impl Opening {
    /// A store of their own, if there is to be one. `sessions` is where those are, unless they were brought along.
    pub(crate) fn members(
        &mut self,
        coordination: &Slot<Coordination>,
        sessions: Option<&ServiceConfig>,
    ) -> Result<Option<Arc<dyn CoordStore>>> {
        if coordination.describe().shared {
            return Ok(None);
        }
        #[cfg(feature = "coord-redis")]
        if let Some(config) = sessions {
            let url = config.resolve("sessions")?;
            if crate::in_redis::is_redis(&url) {
                return self.members_in_redis(url).map(Some);
            }
        }
        #[cfg(not(feature = "coord-redis"))]
        let _nowhere = sessions;
        Ok(None)
    }

    /// The Redis in which members are, if they are in one. Both are none of what was brought along.
    #[cfg(feature = "coord-redis")]
    pub(crate) fn neighbours(
        &mut self,
        (coordination, of_coordination): (&Slot<Coordination>, Option<&ServiceConfig>),
        of_sessions: Option<&ServiceConfig>,
    ) -> Result<Option<Neighbours>> {
        let (config, name) = match coordination.describe().shared {
            true => (of_coordination.filter(|config| !config.is_unset()), "coordination"),
            false => (of_sessions, "sessions"),
        };
        let Some(url) = config.map(|config| config.resolve(name)).transpose()?.filter(crate::in_redis::is_redis) else {
            return Ok(None);
        };
        let client = if name == "sessions" { self.session_client(url)? } else { self.clients.client(url)? };
        Ok(Some(Neighbours::new(client, self.namespace.clone())))
    }

    #[cfg(feature = "coord-redis")]
    fn members_in_redis(&mut self, url: statehouse_core::ServiceUrl) -> Result<Arc<dyn CoordStore>> {
        use statehouse_coord::RedisCoordStore;
        use statehouse_core::capability::SHARED;

        use crate::deferred::Deferred;
        use crate::lazy::Lazy;

        let (client, namespace) = (self.session_client(url)?, self.namespace.clone());
        let store = Lazy::<Coordination>::new(move || {
            let (client, namespace) = (Arc::clone(&client), namespace.clone());
            Box::pin(async move {
                let store = RedisCoordStore::new(client.get().await?.clone(), &namespace)?;
                Ok(Coordination::new(Arc::new(store)))
            })
        });
        let known = [statehouse_coord::capability::SERVER_TIME, SHARED].into_iter().collect();
        Ok(Arc::new(Deferred { store: Arc::new(store), known }))
    }
}
