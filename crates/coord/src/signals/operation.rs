statehouse_core::operations! {
    add: "signals.add",
    count: "signals.count",
    reset: "signals.reset",
    take: "signals.take",
    acquire: "signals.acquire",
    renew: "signals.renew",
    release: "signals.release",
    publish: "signals.publish",
    subscribe: "signals.subscribe",
}
