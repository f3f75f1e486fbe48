//! `holm`: the command line and the host daemon, one program. They meet only over the daemon's sockets.

mod cli;
mod daemon;

fn main() {}
