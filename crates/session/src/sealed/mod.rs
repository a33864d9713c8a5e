//! Sessions whose store can read nothing of them.

mod cipher;
mod format;
#[cfg(test)]
mod fuzz;
mod sealer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Fence, Health, KeyRing, Namespace, RaiseOptions, Result, Secret};

use self::sealer::Sealer;
use crate::{
    Authority, CreateOptions, DeleteOptions, Deleted, Delta, EpochOptions, ListOptions, LoadOptions, Loaded,
    NewSession, Principal, Revoke, RevokeOptions, Rotation, SaveOptions, Saved, SessionKey, SessionStore, Snapshot,
    TouchOptions, Touched,
};

/// A [`SessionStore`] in which another one keeps attributes and principals that only this program can read.
///
/// Whoever gets a copy of the store, a backup of its disk or the rights to read it learns how many sessions there are, when they
/// were used, how many attributes each has and how long those are, which of them changed from one copy to the next, and which sessions are of the same
/// principal; but no value, no name of an attribute and no principal.
///
/// - Each attribute is sealed by itself, so that parallel requests that change different ones keep each other's changes.
///   It opens only in the session, under the name and in the namespace where it was sealed.
/// - Names and principals are replaced by codes of 128 and 256 bits (HMAC-SHA-256) under a secret of their own; that of a name is another
///   in each session, that of a principal the same, so that the store still finds their sessions.
/// - What was altered, moved, or sealed with a key that is not in the ring is
///   [`Corrupt`](statehouse_core::ErrorKind::Corrupt). What becomes of its request says [`UnreadablePolicy`](crate::UnreadablePolicy). So is
///   what was stored before the store was sealed. A list leaves it out, and a [`Limit`](crate::Limit) counts it until it ends or is revoked.
///
/// All programs that use the store use it so, with the same keys: one that does not takes the codes for names and users, and what it writes is
/// refused by the others. A [`Snapshot`] goes back to the store that answered it: one that was opened is refused by any other. What counts or times calls belongs around the
/// sealed store, not into it.
///
/// # Keys
/// The newest key of the [`KeyRing`] seals, and each opens what it has sealed. To change it, add the new key behind on all replicas, then put it
/// in front. From then on a session is sealed anew when something in it changes, or it gets another token. After the longest time that a session may live the old
/// key can go; whoever takes it away earlier, because it was stolen, ends what it has sealed, and revokes those sessions so that none counts for a limit.
///
/// The secret of the names stays: under another one nothing that is stored is found or opens any more.
///
/// # What it does not protect from
/// Whoever can *write* to the store can delete a session, and put back what it once was: attributes and who was logged in, each as of any earlier moment, under
/// another token and with other times. So they let in whoever has had a token of that session, and bring it back after a logout or a revocation. They can invent no value, no
/// attribute and no principal, and take none from another session. The hashes of tokens and the times are stored as they are, those at
/// which an attribute ends among them.
///
/// # How
/// AES-256-GCM-SIV ([RFC 8452](https://www.rfc-editor.org/rfc/rfc8452)) with a key of each session's own, which HMAC-SHA-256 derives from the ring's, the
/// namespace, the secret of the names and the session's key. Equal values of one attribute of one session are equal under the seal of one key. Each value is longer by 25 bytes,
/// the lengths of the key's id and of the names of the attribute and of its type; a name has 32, and a session that somebody is
/// logged in to has one attribute more, of 256 bytes and those. The limits of a [configuration](crate::SessionConfig) count what is
/// under the seal: where they allow tens of thousands of attributes, a session may be within them and too large for its record.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use statehouse_core::{KeyRing, Namespace, Secret};
/// use statehouse_session::{
///     Attribute, AttributeName, Delta, MemorySessionStore, NewSession, SealedSessionStore, SessionStoreExt, Token,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let (newest, former, names) = ("n".repeat(32), "f".repeat(32), Secret::new("m".repeat(32)));
/// // Of the environment or of a file that only the program may read, the same on all replicas.
/// let keys = KeyRing::parse(&Secret::new(format!("2026-11:{newest} 2026-05:{former}")))?;
/// let inner = Arc::new(MemorySessionStore::new());
/// let store = SealedSessionStore::new(inner.clone(), &Namespace::new("shop")?, keys, &names)?;
///
/// let (token, hour) = (Token::generate()?, Duration::from_secs(3_600));
/// let theme = Delta::new().with_set(AttributeName::new("theme")?, Attribute::encode("dark")?);
/// let new = NewSession::new(token.verifier_hash(), hour, 10 * hour).with_attributes(theme.set.clone());
/// store.create(&token.key(), &new).await?;
///
/// let read = store.load(&token.key()).await?.found().expect("it was created");
/// assert_eq!(read.record().attributes(), &theme.set);
/// let stored = inner.load(&token.key()).await?.found().expect("it was created");
/// assert!(!stored.record().attributes().contains_key(&AttributeName::new("theme")?));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SealedSessionStore {
    inner: Arc<dyn SessionStore>,
    sealer: Arc<Sealer>,
}

impl SealedSessionStore {
    /// Seals what is kept in `inner`, for one namespace of it: another one has other codes for the same names, and nothing that was
    /// sealed for one opens in the other. `names` is the secret of names and principals, of at least 32 bytes, and
    /// none of the ring's.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig) if `names` is shorter, is also a key of the ring, or begins or ends
    /// with a space or the end of a line, as what is read from a file does: [`trim`](str::trim) it.
    pub fn new(inner: Arc<dyn SessionStore>, namespace: &Namespace, keys: KeyRing, names: &Secret) -> Result<Self> {
        Ok(Self { inner, sealer: Arc::new(Sealer::new(namespace, keys, names)?) })
    }

    fn opened_load(&self, loaded: Loaded) -> Result<Loaded> {
        Ok(match loaded {
            Loaded::Found(stored) => Loaded::Found(self.sealer.open(&stored, None)?),
            none => none,
        })
    }

    fn opened(&self, saved: Saved, base: &Snapshot) -> Result<Saved> {
        Ok(match saved {
            Saved::Applied(stored) => Saved::Applied(self.sealer.open(&stored, Some(base))?),
            Saved::Conflict(stored) => Saved::Conflict(self.sealer.open(&stored, Some(base))?),
            Saved::Gone | Saved::Superseded => saved,
        })
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionStore for SealedSessionStore {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        let sealed = self.sealer.seal_new(key, new)?;
        self.sealer.open(&self.inner.create_with(key, &sealed, options).await?, None)
    }

    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
        self.opened_load(self.inner.load_with(key, options).await?)
    }

    async fn load_entering_with(
        &self,
        key: &SessionKey,
        who: &Principal,
        options: LoadOptions,
    ) -> Result<(Loaded, u64)> {
        let (loaded, epoch) = self.inner.load_entering_with(key, &self.sealer.code_of(who), options).await?;
        Ok((self.opened_load(loaded)?, epoch))
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        let (stored, sealed) = (self.sealer.seal(base)?, self.sealer.seal_delta(base, None, delta)?);
        self.opened(self.inner.save_with(&stored, authority, &sealed, options).await?, base)
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        let (stored, sealed) = (self.sealer.seal(base)?, self.sealer.seal_delta(base, Some(rotation), delta)?);
        let login = rotation.login.as_ref().map(|login| self.sealer.code_of(login));
        let rotation = Rotation { login, ..rotation.clone() };
        self.opened(self.inner.rotate_with(&stored, authority, &rotation, &sealed, options).await?, base)
    }

    async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched> {
        self.inner.touch_with(key, options).await
    }

    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
        self.inner.delete_with(key, authority, options).await
    }

    async fn epoch_with(&self, principal: &Principal, options: EpochOptions) -> Result<u64> {
        self.inner.epoch_with(&self.sealer.code_of(principal), options).await
    }

    async fn list_with(&self, principal: &Principal, options: ListOptions) -> Result<Vec<Snapshot>> {
        let stored = self.inner.list_with(&self.sealer.code_of(principal), options).await?;
        let (opened, refused): (Vec<_>, Vec<_>) =
            stored.iter().map(|stored| self.sealer.open(stored, None)).partition(Result::is_ok);
        if let Some(error) = refused.iter().find_map(|refused| refused.as_ref().err()) {
            let (listed, left_out) = (opened.len(), refused.len());
            tracing::warn!(name: "session.left_out", listed, left_out, error = %error, "sessions that do not open are left out of a list");
        }
        opened.into_iter().collect()
    }

    async fn revoke_with(&self, which: Revoke<'_>, options: RevokeOptions) -> Result<()> {
        let (principal, one, stays) = which.parts();
        let code = principal.map(|principal| self.sealer.code_of(principal));
        let which = match (&code, one, stays) {
            (None, ..) => Revoke::Everything,
            (Some(code), Some(key), _) => Revoke::One(code, key),
            (Some(code), None, Some(key)) => Revoke::Others(code, key),
            (Some(code), None, None) => Revoke::All(code),
        };
        self.inner.revoke_with(which, options).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.inner.raise_with(fence, options).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }
}
