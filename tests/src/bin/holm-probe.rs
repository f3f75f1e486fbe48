//! What tests run in containers where busybox has no such command:
//!
//! `holm-probe watch PATH...` tells what happens to files (inotify(7)): `watching` once it does, then a line an event,
//! `PATH MASK NAME`. `holm-probe ask SOCKET TEXT` sends the text to a Unix socket and prints all that is answered.

use std::error::Error;
use std::io::{Write, copy, stdout};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["watch", paths @ ..] => watch(paths),
        ["ask", socket, text] => ask(socket, text),
        _ => Err("usage: holm-probe watch PATH... | holm-probe ask SOCKET TEXT".into()),
    }
}

fn watch(paths: &[&str]) -> Result<(), Box<dyn Error>> {
    let watches = init(CreateFlags::empty())?;
    let wanted = WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::MOVE
        | WatchFlags::DELETE;
    let mut watched = Vec::new();
    for path in paths {
        watched.push((add_watch(&watches, *path, wanted)?, path));
    }
    println!("watching");
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(&watches, &mut buffer);
    loop {
        let event = events.next()?;
        let path = watched.iter().find(|(watch, _)| *watch == event.wd()).map_or("", |(_, path)| path);
        let name = event.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let flags = event.events() & ReadFlags::from_bits_retain(wanted.bits());
        let words: Vec<_> = flags.iter_names().map(|(word, _)| word).collect();
        println!("{path} {} {name}", words.join("|"));
        stdout().flush()?;
    }
}

fn ask(socket: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    copy(&mut stream, &mut stdout().lock())?;
    Ok(())
}
