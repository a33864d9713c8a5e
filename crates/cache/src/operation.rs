statehouse_core::operations! {
    get: "cache.get",
    get_many: "cache.get_many",
    set: "cache.set",
    remove: "cache.remove",
    touch: "cache.touch",
    reserve: "cache.reserve",
    clear: "cache.clear",
    raise: "cache.raise",
    get_or_load: "cache.get_or_load",
    load: "cache.load",
    invalidate: "cache.invalidate",
}
