//! A registry for tests that takes uploads over plain HTTP on loopback, and misbehaves on demand.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use holm_api::Digest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::image::fake::digest_of;

/// What it has, what it was asked, and what goes wrong next.
#[derive(Default)]
pub(super) struct Content {
    /// Repository and digest.
    pub(super) blobs: HashMap<(String, Digest), Vec<u8>>,
    /// Repository and tag to media type and bytes.
    pub(super) manifests: HashMap<(String, String), (String, Vec<u8>)>,
    uploads: HashMap<usize, Vec<u8>>,
    /// `METHOD path`, and the range where one was told.
    pub(super) asked: Vec<String>,
    /// Bytes of a `PATCH` that are taken before the connection closes, one entry a request.
    pub(super) cuts: Vec<usize>,
    /// Whether broken uploads are thrown away.
    pub(super) forgets: bool,
    /// How many `PATCH`es are told to come again.
    pub(super) busy: usize,
    /// Repositories that nothing is mounted from.
    pub(super) closed: HashSet<String>,
    /// Answered to every `POST`.
    pub(super) refuses: Option<(u16, String)>,
}

pub(super) struct Uploads {
    pub(super) address: SocketAddr,
    content: Arc<Mutex<Content>>,
    accepting: JoinHandle<()>,
}

impl Drop for Uploads {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Uploads {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let content = Arc::<Mutex<Content>>::default();
        let shared = content.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, content, accepting }
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    /// Requests of one kind, in the order in which they came.
    pub(super) fn asked(&self, method: &str) -> Vec<String> {
        self.content().asked.iter().filter(|asked| asked.starts_with(method)).cloned().collect()
    }
}

async fn serve(stream: TcpStream, content: Arc<Mutex<Content>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    // TLS is nothing that it understands.
    let mut first = lines.first()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let header = |name: &str| {
        let found = lines[1..].iter().filter_map(|line| line.split_once(": "));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let range = header("content-range").map(|range| format!(" {range}")).unwrap_or_default();
    let cut = {
        let mut content = content.lock().unwrap();
        content.asked.push(format!("{method} {target}{range}"));
        (method == "PATCH" && !content.cuts.is_empty()).then(|| content.cuts.remove(0))
    };
    let mut body = vec![0; cut.unwrap_or(length)];
    stream.read_exact(&mut body).await.ok()?;
    let kind = header("content-type").unwrap_or_default();
    let answer = answer(&mut content.lock().unwrap(), &method, &target, &kind, body, cut.is_some());
    let (status, headers, body) = answer?;
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} Told\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

/// Status, headers and body; `None` closes the connection without an answer.
fn answer(
    content: &mut Content,
    method: &str,
    target: &str,
    kind: &str,
    body: Vec<u8>,
    is_cut: bool,
) -> Option<(u16, String, String)> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let rest = path.strip_prefix("/v2/")?;
    if rest.is_empty() {
        return Some((200, String::new(), String::new()));
    }
    let place =
        |repository: &str, number: usize| format!("location: /v2/{repository}/blobs/uploads/{number}\r\n");
    if let Some((repository, upload)) = rest.split_once("/blobs/uploads/") {
        if method == "POST" {
            if let Some((status, body)) = content.refuses.clone() {
                return Some((status, String::new(), body));
            }
            if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
                let digest: Digest = digest.parse().ok()?;
                let found = content.blobs.get(&(from.clone(), digest)).cloned();
                if let Some(bytes) = found.filter(|_| !content.closed.contains(from)) {
                    content.blobs.insert((repository.to_owned(), digest), bytes);
                    return Some((201, String::new(), String::new()));
                }
            }
            let number = content.asked.len();
            content.uploads.insert(number, Vec::new());
            return Some((202, place(repository, number), String::new()));
        }
        let number: usize = upload.parse().ok()?;
        let unknown = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#.to_owned();
        let Some(upload) = content.uploads.get_mut(&number) else {
            return Some((404, String::new(), unknown));
        };
        if method == "PATCH" && content.busy > 0 {
            content.busy -= 1;
            return Some((503, "retry-after: 0\r\n".to_owned(), String::new()));
        }
        upload.extend(body);
        let length = upload.len();
        match method {
            "PATCH" if is_cut => {
                if content.forgets {
                    content.uploads.remove(&number);
                }
                return None;
            }
            "PUT" => {
                let digest: Digest = query.get("digest")?.parse().ok()?;
                let bytes = content.uploads.remove(&number)?;
                if digest_of(&bytes) != digest {
                    return Some((
                        400,
                        String::new(),
                        r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#.to_owned(),
                    ));
                }
                content.blobs.insert((repository.to_owned(), digest), bytes);
                return Some((201, String::new(), String::new()));
            }
            _ => {}
        }
        let status = if method == "GET" { 204 } else { 202 };
        let range = format!("{}range: 0-{}\r\n", place(repository, number), length.saturating_sub(1));
        return Some((status, range, String::new()));
    }
    if let Some((repository, digest)) = rest.split_once("/blobs/") {
        let has = content.blobs.contains_key(&(repository.to_owned(), digest.parse().ok()?));
        return Some((if has { 200 } else { 404 }, String::new(), String::new()));
    }
    let (repository, tag) = rest.split_once("/manifests/")?;
    content.manifests.insert((repository.to_owned(), tag.to_owned()), (kind.to_owned(), body));
    Some((201, String::new(), String::new()))
}
