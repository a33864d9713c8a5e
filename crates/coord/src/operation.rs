use statehouse_core::Operation;

/// The operations of one backend, as errors, spans and metrics name them.
pub(crate) struct Operations {
    pub(crate) open: Operation,
    pub(crate) get: Operation,
    pub(crate) put: Operation,
    pub(crate) remove: Operation,
    pub(crate) scan: Operation,
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "the other stores know the time themselves"))]
    pub(crate) now: Operation,
}

impl Operations {
    pub(crate) const fn of(backend: &'static str) -> Self {
        Self {
            open: Operation::new("coord.open", backend),
            get: Operation::new("coord.get", backend),
            put: Operation::new("coord.put", backend),
            remove: Operation::new("coord.remove", backend),
            scan: Operation::new("coord.scan", backend),
            now: Operation::new("coord.now", backend),
        }
    }
}
