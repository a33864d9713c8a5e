statehouse_core::operations! {
    open: "filestore.open",
    put: "filestore.put",
    get: "filestore.get",
    head: "filestore.head",
    list: "filestore.list",
    delete: "filestore.delete",
    copy: "filestore.copy",
    raise: "filestore.raise",
    presign: "filestore.presign",
    sweep: "filestore.sweep",
}
