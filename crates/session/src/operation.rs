use statehouse_core::Operation;

/// The operations of one backend, as errors, spans and metrics name them.
#[cfg_attr(not(unix), expect(dead_code, reason = "only the local store names all"))]
pub(crate) struct Operations {
    pub(crate) open: Operation,
    pub(crate) create: Operation,
    pub(crate) load: Operation,
    pub(crate) save: Operation,
    pub(crate) rotate: Operation,
    pub(crate) touch: Operation,
    pub(crate) delete: Operation,
    pub(crate) health: Operation,
}

impl Operations {
    pub(crate) const fn of(backend: &'static str) -> Self {
        Self {
            open: Operation::new("session.open", backend),
            create: Operation::new("session.create", backend),
            load: Operation::new("session.load", backend),
            save: Operation::new("session.save", backend),
            rotate: Operation::new("session.rotate", backend),
            touch: Operation::new("session.touch", backend),
            delete: Operation::new("session.delete", backend),
            health: Operation::new("session.health", backend),
        }
    }
}
