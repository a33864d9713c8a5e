//! As much of tokio's channel of this name as a link uses. Its own lock must be one that shuttle knows: what is changed under it
//! uses others.

use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Poll, Waker};

use shuttle::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

pub(crate) struct Sender<T>(Arc<Shared<T>>);

pub(crate) struct Receiver<T>(Arc<Shared<T>>);

struct Shared<T> {
    value: RwLock<T>,
    waiting: Mutex<Vec<Waker>>,
}

/// The value, which does not change as long as it is looked at.
pub(crate) struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Shared<T> {
    fn borrow(&self) -> Ref<'_, T> {
        Ref(self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared { value: RwLock::new(value), waiting: Mutex::default() }))
    }

    pub(crate) fn subscribe(&self) -> Receiver<T> {
        Receiver(Arc::clone(&self.0))
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        self.0.borrow()
    }

    pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Nobody is told where `modify` says that there is nothing to tell.
    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.0.value.write().unwrap_or_else(PoisonError::into_inner));
        if modified {
            let waiting = std::mem::take(&mut *self.0.waiting());
            waiting.into_iter().for_each(Waker::wake);
        }
        modified
    }
}

impl<T> Receiver<T> {
    pub(crate) fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.0.borrow()
    }

    pub(crate) async fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, ()> {
        poll_fn(|context| {
            // Before it looks: who changes it meanwhile then finds whom to wake.
            self.0.waiting().push(context.waker().clone());
            let found = is_it(&self.0.borrow());
            if found { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(self.0.borrow())
    }
}
