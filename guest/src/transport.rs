//! Streams between guest and host, by port: vsock in a machine with its own kernel, Unix sockets in a folder
//! where `holmd` is a process of the host's.
