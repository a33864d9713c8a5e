//! Which of several sessions of a request a layer is about.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use http::Extensions;
use http::request::Parts;

use crate::session::Session;

/// The session of the [`SessionLayer`](crate::SessionLayer) that has this [mark](crate::SessionLayer::marked): for an application with several
/// layers, such as one for its visitors and one for its operators, of which each has a cookie of its own.
///
/// It is a [`Session`] in all else; with the feature `axum` it is an extractor as that is.
pub struct SessionOf<M> {
    session: Session,
    mark: PhantomData<fn() -> M>,
}

impl<M> SessionOf<M> {
    const fn new(session: Session) -> Self {
        Self { session, mark: PhantomData }
    }

    /// The session.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }
}

impl<M> Deref for SessionOf<M> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl<M> Clone for SessionOf<M> {
    fn clone(&self) -> Self {
        Self::new(self.session.clone())
    }
}

impl<M> fmt::Debug for SessionOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

/// How a session is left in a request, and found there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    pub(super) insert: fn(&mut Extensions, Session),
    pub(super) find: fn(&Extensions) -> Option<Session>,
}

impl Which {
    pub(super) fn only() -> Self {
        Self {
            insert: |extensions, session| drop(extensions.insert(session)),
            find: |extensions| extensions.get().cloned(),
        }
    }

    pub(super) fn marked<M: 'static>() -> Self {
        Self {
            insert: |extensions, session| drop(extensions.insert(SessionOf::<M>::new(session))),
            find: |extensions| extensions.get::<SessionOf<M>>().map(|marked| marked.session.clone()),
        }
    }
}

/// What this says of a request whose path is the one that came, of which axum's `nest` may have taken a part away.
#[cfg(feature = "axum")]
pub(super) fn as_it_came<T>(parts: &mut Parts, say: &(dyn Fn(&Parts) -> T + Send + Sync)) -> T {
    let Some(axum::extract::OriginalUri(original)) = parts.extensions.get().cloned() else { return say(parts) };
    let nested = std::mem::replace(&mut parts.uri, original);
    let said = say(parts);
    parts.uri = nested;
    said
}

#[cfg(not(feature = "axum"))]
pub(super) fn as_it_came<T>(parts: &mut Parts, say: &(dyn Fn(&Parts) -> T + Send + Sync)) -> T {
    say(parts)
}
