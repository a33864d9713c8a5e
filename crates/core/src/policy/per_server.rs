use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// From how many servers on those are forgotten of which nobody has anything in hand: by and by all may be replaced by others.
/// More than a cluster of Redis has, which would else forget one that is in trouble.
const MOST: usize = 1_024;

/// One of something for each server of a group, such as a [`Pace`](crate::policy::Pace): what is known of one says nothing about
/// another. Where there is only one server, finding it costs nothing.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use statehouse_core::policy::{Pace, PerServer};
///
/// let paces = PerServer::new(|| Pace::new(Duration::from_millis(500)));
/// let of = |name: &str| paces.of(Some(name.into())).into_owned();
/// assert!(Arc::ptr_eq(&of("10.0.0.5:6379"), &of("10.0.0.5:6379")));
/// assert!(!Arc::ptr_eq(&of("10.0.0.5:6379"), &of("10.0.0.6:6379")));
/// assert!(!paces.of(None).is_slow());
/// ```
pub struct PerServer<T> {
    sole: Arc<T>,
    several: RwLock<HashMap<Arc<str>, Arc<T>>>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

impl<T> PerServer<T> {
    /// One is made when a server is first asked for.
    #[must_use]
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { sole: Arc::new(make()), several: RwLock::default(), make: Box::new(make) }
    }

    /// That of the server of this name; without a name, that of the only one.
    pub fn of(&self, server: Option<Arc<str>>) -> Cow<'_, Arc<T>> {
        server.map_or(Cow::Borrowed(&self.sole), |name| Cow::Owned(self.of_named(name)))
    }

    fn of_named(&self, name: Arc<str>) -> Arc<T> {
        if let Some(known) = self.several.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Arc::clone(known);
        }
        let mut several = self.several.write().unwrap_or_else(PoisonError::into_inner);
        if several.len() >= MOST {
            several.retain(|_, held| Arc::strong_count(held) > 1);
        }
        Arc::clone(several.entry(name).or_insert_with(|| Arc::new((self.make)())))
    }
}

impl<T> fmt::Debug for PerServer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerServer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_is_known_of_a_server_is_known_beside_as_many_others_as_a_cluster_has() {
        let counts = PerServer::new(|| AtomicU32::new(0));
        counts.of(Some("0".into())).store(7, Ordering::Relaxed);
        for server in 1..1_000 {
            let _ = counts.of(Some(server.to_string().into()));
        }
        assert_eq!(counts.of(Some("0".into())).load(Ordering::Relaxed), 7);
    }

    #[test]
    fn what_nobody_has_in_hand_is_forgotten_once_there_are_many_servers() {
        let counts = PerServer::new(|| 0);
        let held = counts.of(Some("0".into())).into_owned();
        for server in 1..3 * MOST {
            let _ = counts.of(Some(server.to_string().into()));
        }
        assert!(counts.several.read().unwrap().len() <= MOST);
        assert!(Arc::ptr_eq(&held, &counts.of(Some("0".into()))));
    }
}
