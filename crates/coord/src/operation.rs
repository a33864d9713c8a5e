statehouse_core::operations! {
    open: "coord.open",
    get: "coord.get",
    put: "coord.put",
    remove: "coord.remove",
    scan: "coord.scan",
    raise: "coord.raise",
    now: "coord.now",
    lock: "coord.lock",
    update: "coord.update",
    accept: "coord.accept",
    permits: "coord.permits",
    epoch: "coord.epoch",
}
