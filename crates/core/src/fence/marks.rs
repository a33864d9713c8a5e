use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::token::Fence;
use crate::{Key, Result, Version};

/// The marks of a store that is in this process: see [`Fence`]. For authors of backends.
///
/// They are as many as there are locks that guard the store, and stay as long as it.
#[derive(Debug, Default)]
pub struct Marks(RwLock<HashMap<Key, Version>>);

/// As long as this lives no mark rises.
#[derive(Debug)]
#[must_use = "the mark may rise as soon as this is dropped"]
pub struct Held<'a>(
    #[expect(dead_code, reason = "the marks are locked as long as it lives")]
    Option<RwLockReadGuard<'a, HashMap<Key, Version>>>,
);

impl Marks {
    /// Raises a mark, once the writes that hold it are made.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) if it stands higher.
    pub fn raise(&self, fence: &Fence) -> Result<()> {
        let mut marks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mark = marks.entry(fence.mark().clone()).or_default();
        fence.check(*mark)?;
        *mark = fence.token();
        Ok(())
    }

    /// Checks the fence of a write, if it has one, and keeps its mark from rising until the write is made. A write that is not
    /// fenced holds nothing.
    ///
    /// # Errors
    /// As [`raise`](Self::raise), which this does where the mark is lower.
    pub fn hold(&self, fence: Option<&Fence>) -> Result<Held<'_>> {
        let Some(fence) = fence else { return Ok(Held(None)) };
        loop {
            let marks = self.0.read().unwrap_or_else(PoisonError::into_inner);
            match marks.get(fence.mark()) {
                Some(mark) if *mark >= fence.token() => return fence.check(*mark).map(|()| Held(Some(marks))),
                _ => drop(marks),
            }
            self.raise(fence)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::ErrorKind;

    fn fence(mark: &str, token: u64) -> Fence {
        Fence::new(Key::new(mark).unwrap(), Version::new(token))
    }

    #[test]
    fn a_mark_only_rises_and_refuses_what_is_below_it() {
        let marks = Marks::default();
        drop(marks.hold(Some(&fence("a", 5))).unwrap());
        marks.raise(&fence("a", 5)).unwrap();
        marks.raise(&fence("a", 7)).unwrap();
        for refused in [marks.raise(&fence("a", 6)), marks.hold(Some(&fence("a", 6))).map(drop)] {
            let error = refused.unwrap_err();
            assert!(error.kind() == ErrorKind::Fenced && !error.is_retryable(), "{error:?}");
        }
        drop(marks.hold(Some(&fence("a", 7))).unwrap());
        drop(marks.hold(Some(&fence("b", 1))).unwrap());
        drop(marks.hold(None).unwrap());
        let part = fence("a", 1).within("clinic.scans").unwrap();
        assert_eq!(part, fence("clinic.scans/a", 1));
        assert!(fence(&"a".repeat(1000), 1).within(&"b".repeat(100)).is_err());
    }

    #[test]
    fn no_mark_rises_while_a_write_is_made_under_it() {
        let marks = Marks::default();
        let (told, raised) = mpsc::channel();
        thread::scope(|scope| {
            let held = marks.hold(Some(&fence("a", 5))).unwrap();
            scope.spawn(|| told.send(marks.raise(&fence("a", 6)).is_ok()));
            assert!(raised.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "it rose");
            drop(held);
            assert!(raised.recv().unwrap());
        });
        assert!(marks.hold(Some(&fence("a", 5))).is_err());
    }
}
