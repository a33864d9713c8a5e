use statehouse_core::Operation;

/// The operations of one backend, as errors, spans and metrics name them.
pub(super) struct Operations {
    pub(super) add: Operation,
    pub(super) count: Operation,
    pub(super) reset: Operation,
    pub(super) take: Operation,
    pub(super) acquire: Operation,
    pub(super) renew: Operation,
    pub(super) release: Operation,
    pub(super) publish: Operation,
    pub(super) subscribe: Operation,
}

impl Operations {
    pub(super) const fn of(backend: &'static str) -> Self {
        Self {
            add: Operation::new("signals.add", backend),
            count: Operation::new("signals.count", backend),
            reset: Operation::new("signals.reset", backend),
            take: Operation::new("signals.take", backend),
            acquire: Operation::new("signals.acquire", backend),
            renew: Operation::new("signals.renew", backend),
            release: Operation::new("signals.release", backend),
            publish: Operation::new("signals.publish", backend),
            subscribe: Operation::new("signals.subscribe", backend),
        }
    }
}
