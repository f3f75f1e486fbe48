//! Folders of this computer that containers have mounted.

mod path;
mod watch;
