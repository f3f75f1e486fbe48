//! `holmd shim`: one process per container. It creates the container with libcontainer, owns its terminal or
//! pipes, its log file and its exit status, and serves them on a Unix socket, so that containers outlive the
//! engine.

pub mod protocol;
