//! Models of a link: one shared connection that is replaced.

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;
use statehouse_core::policy::BreakerSettings;
use tokio::time::Instant;

use crate::connection::link::Link;
use crate::connection::server::Server;
use crate::connection::source::Source;
use crate::sync::{any_of, block_on};
use crate::together;

fn link(source: &Arc<Source>) -> Arc<Link> {
    let [links, ..] = Link::several([1, 0, 0], source, &Server::new("server", BreakerSettings::default()));
    Arc::clone(&links[0])
}

/// Uses the connection, and finds it broken or silent now and then. Who waits for one is told, of an attempt that failed too.
fn use_it(link: &Link) {
    let until = Instant::now() + Duration::from_secs(60);
    for _ in 0..2 {
        let Ok(lease) = block_on(link.lease(until)) else { continue };
        assert_eq!(lease.connection.number(), lease.generation, "it is another one");
        match any_of(4) {
            0 => {
                link.current().into_iter().for_each(|another| link.give_back(another));
                link.broke(lease.generation, "found so");
                let current = link.current();
                assert!(current.is_none_or(|current| current.generation != lease.generation), "it is handed out again");
            }
            1 => link.doubt(lease.generation),
            2 => drop(lease),
            _ => link.give_back(lease),
        }
    }
}

/// However it breaks, one task at a time replaces it, nobody waits for ever, and each connection is closed that was replaced.
pub fn one_replaces_it_and_what_was_replaced_is_closed() {
    let source = Arc::<Source>::default();
    let link = link(&source);
    let used = Arc::clone(&link);
    together(3, move || use_it(&used));
    let until = Instant::now() + Duration::from_secs(60);
    // An attempt may fail, and what was connected be closed at once: not for ever.
    let again = (0..100).find_map(|_| block_on(link.lease(until)).ok());
    assert!(again.is_some(), "nobody connects any more");
    drop((again, link));
    while Arc::strong_count(&source) > 1 {
        thread::yield_now();
    }
    assert_eq!(source.open(), 0, "clones of what was replaced are left");
}
