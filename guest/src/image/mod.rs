//! Images: pulled from registries, kept by content, named by references.
