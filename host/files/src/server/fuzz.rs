//! Requests of bytes that mean nothing, against a share that may only be read: refused or answered, never more.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Access, NoWatch, Options, Root, Server};

#[test]
fn no_request_breaks_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), "x").expect("a file");
    let options = Options { access: Access::ReadOnly, ..Options::new() };
    let (server, _outgoing) =
        Server::new(Root::open(folder.path()).expect("a share"), options, Arc::new(NoWatch));
    let server = std::panic::AssertUnwindSafe(server);
    let reply = std::panic::AssertUnwindSafe(RefCell::new(Vec::new()));
    bolero::check!().for_each(move |bytes: &[u8]| {
        server.ready.store(true, std::sync::atomic::Ordering::Release);
        let mut reply = reply.borrow_mut();
        let _ = server.handle(bytes, &mut reply);
        // With a header that is believed: most bytes would end there.
        if let [opcode, node, rest @ ..] = bytes {
            let mut request = Vec::from((40 + rest.len() as u32).to_le_bytes());
            request.extend((u32::from(*opcode) % 56).to_le_bytes());
            request.extend(7_u64.to_le_bytes());
            request.extend((u64::from(*node) % 4).to_le_bytes());
            request.extend([0; 16]);
            request.extend(rest);
            if server.handle(&request, &mut reply).is_some() {
                assert_eq!(
                    reply.first_chunk().map(|length| u32::from_le_bytes(*length) as usize),
                    Some(reply.len())
                );
            }
        }
    });
}
