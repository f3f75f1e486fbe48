//! `mount FOLDER AT`: serves a folder on a FUSE mount in the caller's mount namespace until its input ends.

use std::path::Path;
use std::sync::Arc;

struct ByHand;

impl holm_files::Watch for ByHand {
    fn watch(&self, _: holm_files::NodeId, _: holm_files::Descriptor<'_>) -> bool {
        true
    }

    fn unwatch(&self, _: holm_files::NodeId) {}
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(at)) = (arguments.next(), arguments.next()) else { panic!("FOLDER AT") };
    let root = holm_files::Root::open(Path::new(&folder)).expect("a folder");
    let device = holm_files::direct::mount(Path::new(&at), root.kind()).expect("a mount");
    let (server, outgoing) = holm_files::Server::new(root, holm_files::Options::new(), Arc::new(ByHand));
    let serving = holm_files::direct::serve(&server, outgoing, device, 2, Path::new(&at)).expect("threads");
    let _ = std::io::read_to_string(std::io::stdin());
    eprintln!("{:?}", server.counts());
    holm_files::direct::unmount(Path::new(&at)).expect("unmounted");
    drop(serving);
}
