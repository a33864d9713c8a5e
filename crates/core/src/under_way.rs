use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// That a request is under way: a server puts one into the extensions of each that it passes on. Whoever goes on with a request
/// after its client has gone keeps a clone until it is done. As long as there is one, a stop waits for it, within its budget, and
/// it has the place of a connection.
///
/// ```
/// use statehouse_core::UnderWay;
///
/// /// Of a handler: `request.extensions().get::<UnderWay>().cloned()`.
/// fn charge(under_way: Option<UnderWay>) {
///     std::thread::spawn(move || {
///         // what must not be cut off because somebody hung up
///         drop(under_way);
///     });
/// }
/// # charge(None);
/// ```
#[derive(Clone)]
pub struct UnderWay(#[expect(dead_code, reason = "it is kept, and not looked at")] Arc<dyn Any + Send + Sync>);

impl UnderWay {
    /// As long as this is kept. For authors of servers.
    pub fn new(kept: impl Any + Send + Sync) -> Self {
        Self(Arc::new(kept))
    }
}

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").finish_non_exhaustive()
    }
}
