//! A registry that breaks in ways a test chooses: what a path answers is said beforehand, byte by byte if need be.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Result;

use crate::image::Blob;

/// What a path answers.
#[derive(Clone)]
pub enum Answer {
    /// 200 and the blob.
    Blob(Blob),
    /// 200 and the length of the blob, then so many of its bytes, and the end of the connection.
    CutAfter(Blob, usize),
    /// 200 and the length of the blob, so many of its bytes, and nothing more as long as the client waits.
    StallAfter(Blob, usize),
    /// A status with a body and header lines of its own.
    Status(u16, &'static str, String),
}

/// A server on loopback that ends with the process; every connection has a thread.
pub struct FaultyRegistry {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, Vec<Answer>>>>,
}

impl FaultyRegistry {
    /// Listens; every path is unknown.
    pub fn start() -> Result<FaultyRegistry> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let registry = FaultyRegistry { address: listener.local_addr()?, answers: Arc::default() };
        let answers = registry.answers.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = answers.clone();
                // A client that goes away in the middle is what these tests are about.
                thread::spawn(move || serve(stream, &answers).ok());
            }
        });
        Ok(registry)
    }

    /// `localhost:PORT`, as in a reference.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Says what `/v2/{path}` answers: the first one the first time and so on, the last one ever after.
    pub fn answer(&self, path: &str, answers: &[Answer]) {
        let mut known = self.answers.lock().expect("no thread panics with it");
        known.insert(format!("/v2/{path}"), answers.to_vec());
    }

    /// Says that `repository:latest` is this manifest, under its tag and its digest.
    pub fn manifest(&self, repository: &str, manifest: &Blob) {
        for name in ["latest", &manifest.digest()] {
            self.answer(&format!("{repository}/manifests/{name}"), &[Answer::Blob(manifest.clone())]);
        }
    }

    /// Says what the blob with this digest answers.
    pub fn blob(&self, repository: &str, digest: &str, answers: &[Answer]) {
        self.answer(&format!("{repository}/blobs/{digest}"), answers);
    }
}

fn serve(stream: TcpStream, answers: &Mutex<HashMap<String, Vec<Answer>>>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split_whitespace();
    let head = words.next() == Some("HEAD");
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    send(&stream, head, next_answer(&path, answers))?;
    Ok(stream.shutdown(Shutdown::Both)?)
}

fn next_answer(path: &str, answers: &Mutex<HashMap<String, Vec<Answer>>>) -> Answer {
    let mut answers = answers.lock().expect("no thread panics with it");
    match answers.get_mut(path) {
        Some(left) if left.len() > 1 => left.remove(0),
        Some(left) => left[0].clone(),
        None if path == "/v2/" => Answer::Status(200, "", "{}".to_owned()),
        None => Answer::Status(
            404,
            "",
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_owned(),
        ),
    }
}

fn send(mut stream: &TcpStream, head: bool, answer: Answer) -> Result<()> {
    let (blob, sent) = match &answer {
        Answer::Status(status, headers, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} -\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
            )?;
            return Ok(stream.write_all(if head { b"" } else { body.as_bytes() })?);
        }
        Answer::Blob(blob) => (blob, blob.bytes.len()),
        Answer::CutAfter(blob, sent) | Answer::StallAfter(blob, sent) => (blob, *sent),
    };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {}\r\nDocker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n",
        blob.media_type,
        blob.digest(),
        blob.bytes.len()
    )?;
    if !head {
        stream.write_all(&blob.bytes[..sent])?;
        if matches!(answer, Answer::StallAfter(..)) {
            // Ends when the client does.
            std::io::copy(&mut stream, &mut std::io::sink())?;
        }
    }
    Ok(())
}
