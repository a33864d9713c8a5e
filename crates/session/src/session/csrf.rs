//! The token that shows that a form or a script is one of this site.

use std::sync::Arc;

use statehouse_core::{Result, Secret, hex, span};
use subtle::ConstantTimeEq;
use tracing::Instrument;

use super::finish::Finish;
use super::handle::{Session, Shared};
use super::messages::CSRF;
use super::state::Held;
use super::work::{Step, Work};
use crate::operation::NAME;
use crate::record::{Attribute, AttributeName};
use crate::token::random;

/// How long the token is that the session keeps, in bytes.
const LEN: usize = 16;

impl Session {
    /// The token that every form of this site shows in a hidden field and every script in a header, so that
    /// [`CsrfLayer`](crate::CsrfLayer) knows their requests from those that another site's page makes. 64 hexadecimal digits, which
    /// are others each time, so that the length of a compressed page says nothing of them; all that were given out are right until a
    /// login, a [rotation](Self::rotate) or [`clear`](Self::clear) takes the token away. One that is asked for after the login, in the
    /// same request, is right from then on.
    ///
    /// A session that has no token yet gets one, which is saved at once, so that of two pages that are loaded together
    /// both have the right one. Where there is no session this begins one: for a form before the login see
    /// [`login`](Self::login).
    ///
    /// ```
    /// # use statehouse_session::{MemorySessionStore, Sessions, SessionConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    /// # let session = sessions.open(&http::HeaderMap::new());
    /// session.login("u42").await?;
    /// let form = format!(r#"<input type="hidden" name="csrf" value="{}">"#, session.csrf_token().await?.expose());
    /// # let shown = form.split('"').nth(5).unwrap();
    /// assert!(session.is_csrf_token(shown).await?);
    /// assert!(!session.is_csrf_token(&"0".repeat(64)).await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The store's, also where the request [goes on without its session](crate::OutagePolicy::Anonymous): no token would be kept.
    /// [`ErrorKind::TooLarge`](statehouse_core::ErrorKind::TooLarge) if the session has no room for it.
    pub async fn csrf_token(&self) -> Result<Secret> {
        let session = self.clone();
        let token = Finish::new(async move { session.csrf_gated().await }).await?;
        Ok(masked(&token, &random()?))
    }

    /// Whether this is a token that [`csrf_token`](Self::csrf_token) gave to this session. The comparison takes the same time
    /// wherever they differ.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_csrf_token(&self, shown: &str) -> Result<bool> {
        self.load().await?;
        let expected = self.state().csrf(self.config().on_login).and_then(read);
        Ok(expected.zip(unmasked(shown)).is_some_and(|(expected, shown)| expected.ct_eq(&shown).into()))
    }

    /// Whether there is a token that a request could show.
    pub(crate) async fn has_csrf_token(&self) -> Result<bool> {
        self.load().await?;
        Ok(self.state().csrf(self.config().on_login).and_then(read).is_some())
    }

    /// An error if there is no session to ask because its store could not be reached.
    pub(crate) fn refuse_unknown_token(&self) -> Result<()> {
        self.state().refuse_degraded(NAME.csrf_token)
    }

    /// A request without its token was refused.
    pub(crate) fn csrf_refused(&self) {
        let Shared { counters, watch, .. } = &*self.inner.shared;
        counters.csrf_refused();
        watch.csrf_refused();
    }

    async fn csrf_gated(&self) -> Result<[u8; LEN]> {
        let _gate = self.inner.gate.lock().await;
        self.load_gated().await?;
        let new = random()?;
        let held = {
            let state = self.open_state()?;
            // Nobody would keep it.
            state.refuse_degraded(NAME.csrf_token)?;
            if let Some(token) = state.csrf(self.config().on_login).and_then(read) {
                return Ok(token);
            }
            match state.held().cloned().filter(|_| !state.replaces_csrf()) {
                Some(held) => held,
                None => {
                    drop(state);
                    self.put(name(), kept(&new)?)?;
                    return Ok(new);
                }
            }
        };
        self.keep_token(held, new).instrument(span::of_service(NAME.csrf_token)).await
    }

    /// Saves the token unless another request has been faster, and answers the one that is there.
    async fn keep_token(&self, held: Held, new: [u8; LEN]) -> Result<[u8; LEN]> {
        let value = kept(&new)?;
        let step: Step = {
            let value = value.clone();
            Arc::new(move |before: Option<&Attribute>| {
                Ok(before.filter(|before| read(before).is_some()).unwrap_or(&value).clone())
            })
        };
        let over = held.snapshot.record().attributes().get(&name()).cloned();
        let mut work = Work::default();
        work.update(name(), over, step, value);
        let changed = self.change_at_once(held, work).await.map_err(|error| error.with_operation(NAME.csrf_token))?;
        let Some(change) = changed else { return Ok(new) };
        change.refuse_dropped(self.config()).map_err(|error| error.with_operation(NAME.csrf_token))?;
        Ok(change.held.snapshot.record().attributes().get(&name()).and_then(read).unwrap_or(new))
    }
}

fn name() -> AttributeName {
    AttributeName::reserved(CSRF)
}

fn kept(token: &[u8; LEN]) -> Result<Attribute> {
    Attribute::encode(&hex::encode(token))
}

fn read(stored: &Attribute) -> Option<[u8; LEN]> {
    hex::decode(stored.decode::<String>().ok()?.as_bytes())
}

/// A page that is compressed together with what somebody else may choose tells its length, and that what is the same in it. So
/// the token is never the same ([BREACH](https://breachattack.com)).
fn masked(token: &[u8; LEN], mask: &[u8; LEN]) -> Secret {
    let mut text = String::with_capacity(4 * LEN);
    hex::push(&mut text, mask);
    hex::push(&mut text, &xor(token, mask));
    Secret::new(text)
}

fn unmasked(shown: &str) -> Option<[u8; LEN]> {
    let (mask, token) = shown.split_at_checked(2 * LEN)?;
    Some(xor(&hex::decode(mask.as_bytes())?, &hex::decode(token.as_bytes())?))
}

fn xor(one: &[u8; LEN], other: &[u8; LEN]) -> [u8; LEN] {
    std::array::from_fn(|at| one[at] ^ other[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_in_many_ways_and_each_is_read() {
        let token = random().unwrap();
        let shown: Vec<_> = (0..100).map(|_| masked(&token, &random().unwrap()).expose().to_owned()).collect();
        assert!(shown.iter().all(|shown| unmasked(shown) == Some(token)));
        assert_eq!(shown.iter().collect::<std::collections::HashSet<_>>().len(), 100);
        for bad in ["", &shown[0][1..], &format!("{}0", shown[0]), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(unmasked(bad), None, "{bad}");
        }
    }
}
