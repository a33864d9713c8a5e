statehouse_core::operations! {
    open: "search.open",
    bulk: "search.bulk",
    commit: "search.commit",
    get: "search.get",
    search: "search.search",
    count: "search.count",
    refresh: "search.refresh",
    merge: "search.merge",
    raise: "search.raise",
    health: "search.health",
    close: "search.close",
}
