//! From what a client asked for to what the kernel is told: OCI runtime specs, defaults, `/etc` files.
