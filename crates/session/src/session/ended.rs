//! For what lasts longer than a request.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

use super::handle::Session;
use super::stay;
use crate::api::SessionStoreExt as _;
use crate::operation::NAME;
use crate::outcome::Loaded;
use crate::record::Snapshot;

/// How often in a row the store may fail before nobody knows any more whether the session is there.
const FAILURES: u32 = 3;

impl Session {
    /// Waits until the session is over: logged out, revoked, expired, or somebody else's. For what goes on when the response has
    /// been sent, such as a websocket or a stream of events, which must end with it: whoever was logged out everywhere is to see
    /// nothing more there either, on whatever replica that happened.
    ///
    /// The store is asked now, and then once in every `every`, of which a little is left to chance: as long a session that is
    /// over may go on to be shown, and up to three times as long while the store fails. Asking does not keep the session alive. A
    /// session that this request begins or logs in to has to be [committed](Self::commit) first.
    ///
    /// A browser opens a websocket for any site's page, and sends the cookie with it: whether the `Origin` of the request is this
    /// site is for the handler to check, before it upgrades the connection.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use statehouse_session::{MemorySessionStore, Principal, SessionConfig, Sessions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    /// # let session = sessions.open(&http::HeaderMap::new());
    /// session.login("u42").await?;
    /// session.commit().await?;
    /// let socket = tokio::spawn({
    ///     let session = session.clone();
    ///     async move {
    ///         tokio::select! {
    ///             ended = session.ended(Duration::from_millis(10)) => ended, // close the socket
    ///             () = std::future::pending() => Ok(()),                     // send and receive
    ///         }
    ///     }
    /// });
    /// sessions.revoke_all(&Principal::new("u42")?).await?;
    /// socket.await.expect("it was not cancelled")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The store's, once it has failed three times in a row: it is not known any more whether the session is there; and at once if the
    /// session could not be loaded.
    /// [`ErrorKind::Unauthenticated`] if there is no session. [`ErrorKind::InvalidInput`] if `every` is zero.
    pub async fn ended(&self, every: Duration) -> Result<()> {
        self.load().await?;
        let Some((key, principal)) = ({
            let state = self.state();
            state.held().map(|held| (held.token.key(), held.snapshot.record().principal().cloned()))
        }) else {
            self.state().refuse_degraded(NAME.ended)?;
            let message = "there is no session, or none that is saved";
            return Err(Error::new(ErrorKind::Unauthenticated, message).with_operation(NAME.ended));
        };
        if every.is_zero() {
            return Err(Error::invalid_input("the store is not asked without a pause").with_operation(NAME.ended));
        }
        let (config, mut failures) = (self.config(), 0);
        let is_theirs = |found: &Snapshot| found.record().principal() == principal.as_ref();
        loop {
            match self.inner.shared.store.load(&key).await {
                Ok(Loaded::Found(found)) if is_theirs(&found) && !stay::is_over(&found, config) => failures = 0,
                Ok(_) => return Ok(()),
                Err(error) => {
                    failures += 1;
                    if failures == FAILURES {
                        return Err(error.with_outer_operation(NAME.ended));
                    }
                }
            }
            tokio::time::sleep(scattered(every)?).await;
        }
    }
}

/// Between three quarters of it and all, so that ten thousand sockets that were opened together do not ask together for ever.
fn scattered(every: Duration) -> Result<Duration> {
    let [chance] = crate::token::random::<1>()?;
    Ok(every.mul_f64(0.75 + f64::from(chance) / 1_024.0))
}
