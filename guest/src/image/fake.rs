//! What tests stand on: the real layers, and a registry that serves what it is given over plain HTTP on loopback, and
//! misbehaves on demand.

use std::collections::HashMap;
use std::io::{self, Read, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_api::Digest;
use holm_api::link::Registries;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Images;
use super::layers::LayerSink;
use super::registry::Patience;
use super::settings::RegistrySettings;
use crate::snapshot::Layers;

/// The real layers: the engine has the same few lines.
struct Sink(Layers);

impl LayerSink for Sink {
    fn holds(&self, diff_id: &Digest) -> bool {
        self.0.holds(diff_id)
    }
    fn unpack_as(&self, tar: &mut dyn Read, found: &dyn Fn() -> io::Result<Digest>) -> io::Result<u64> {
        Ok(self.0.unpack(tar, found)?)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn remove(&self, diff_id: &Digest) -> io::Result<()> {
        self.0.remove(diff_id)
    }
    fn list(&self) -> io::Result<Vec<Digest>> {
        self.0.list()
    }
}

/// What goes wrong with the next request for a path.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// An answer with this status, these headers and this body.
    Answer(u16, &'static str, String),
    /// The answer's head tells the true length, and the connection closes after so many bytes of the body.
    CloseAfter(usize),
    /// Likewise, but the connection stays open and silent.
    StallAfter(usize),
    /// Other bytes of the same length.
    Garbled,
    /// More bytes than there should be, without telling how many.
    Endless,
    /// The whole body, whatever range was asked for.
    NoRanges,
    /// Nothing, until told to go on.
    Wait(Arc<tokio::sync::Notify>),
}

/// One request, as it was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
}

#[derive(Default)]
struct Content {
    bodies: HashMap<String, (String, Vec<u8>)>,
    faults: HashMap<String, Vec<Fault>>,
    asked: Vec<Asked>,
    /// Connections that began with TLS.
    hellos: usize,
    /// Required in `Authorization` of everything below `/v2/`.
    token: Option<String>,
}

/// A store in this folder, with the real layers beside it.
pub(super) fn open(root: &Path, settings: RegistrySettings) -> Images {
    let layers = Arc::new(Sink(Layers::open(root.join("layers")).unwrap()));
    Images::open(root.join("images"), layers, &[], settings).unwrap()
}

/// Of a store that asks registries on loopback, and has little patience with them.
pub(super) fn settings() -> RegistrySettings {
    RegistrySettings {
        root_certificates: String::new(),
        registries: Registries::default(),
        proxy: None,
        loopback: "127.0.0.1".parse().unwrap(),
        patience: Patience {
            connect: Duration::from_secs(5),
            silence: Duration::from_millis(300),
            storing: Duration::from_millis(300),
            attempts: 3,
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_secs(1),
        },
    }
}

pub(super) struct FakeRegistry {
    pub(super) address: SocketAddr,
    content: Arc<Mutex<Content>>,
    accepting: JoinHandle<()>,
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// A layer with one file.
pub(super) fn layer(name: &str, data: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    // Whoever runs the tests.
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    builder.append_data(&mut header, name, data).unwrap();
    builder.into_inner().unwrap()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl FakeRegistry {
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

    pub(super) fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub(super) fn serve(&self, path: &str, media_type: &str, body: impl Into<Vec<u8>>) {
        let mut content = self.content.lock().unwrap();
        content.bodies.insert(path.to_owned(), (media_type.to_owned(), body.into()));
    }

    /// Adds faults for a path; each is good for one request.
    pub(super) fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut content = self.content.lock().unwrap();
        content.faults.entry(path.to_owned()).or_default().extend(faults);
    }

    pub(super) fn require(&self, token: &str) {
        self.content.lock().unwrap().token = Some(token.to_owned());
    }

    /// How many connections tried TLS.
    pub(super) fn hellos(&self) -> usize {
        self.content.lock().unwrap().hellos
    }

    pub(super) fn asked(&self, part: &str) -> Vec<Asked> {
        let content = self.content.lock().unwrap();
        content.asked.iter().filter(|asked| asked.path.contains(part)).cloned().collect()
    }

    pub(super) fn blob(&self, bytes: &[u8]) -> String {
        self.blob_of("app", bytes)
    }

    fn blob_of(&self, repository: &str, bytes: &[u8]) -> String {
        let path = format!("/v2/{repository}/blobs/{}", digest_of(bytes));
        self.serve(&path, "application/octet-stream", bytes);
        path
    }

    /// Serves an image of these layers (uncompressed tars, and what is sent for them) as `app:<tag>`.
    pub(super) fn image(&self, tag: &str, layers: &[(Vec<u8>, Vec<u8>)]) -> (Digest, Value) {
        self.image_of("app", tag, layers)
    }

    pub(super) fn image_of(
        &self,
        repository: &str,
        tag: &str,
        layers: &[(Vec<u8>, Vec<u8>)],
    ) -> (Digest, Value) {
        let diff_ids: Vec<_> = layers.iter().map(|(tar, _)| digest_of(tar).to_string()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
            "config": {"Cmd": ["/app"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": tag}],
        });
        let config = config.to_string().into_bytes();
        self.blob_of(repository, &config);
        let layers: Vec<_> = layers
            .iter()
            .map(|(_, sent)| {
                self.blob_of(repository, sent);
                let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
                json!({"mediaType": media_type, "digest": digest_of(sent).to_string(), "size": sent.len()})
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": digest_of(&config).to_string(), "size": config.len()},
            "layers": layers,
        });
        self.manifest_of(repository, tag, &manifest);
        (digest_of(&config), manifest)
    }

    /// Serves a manifest by its tag and by its digest, which it returns.
    pub(super) fn manifest(&self, tag: &str, manifest: &Value) -> Digest {
        self.manifest_of("app", tag, manifest)
    }

    fn manifest_of(&self, repository: &str, tag: &str, manifest: &Value) -> Digest {
        let bytes = manifest.to_string().into_bytes();
        let media_type = manifest["mediaType"].as_str().unwrap_or("application/json");
        let digest = digest_of(&bytes);
        self.serve(&format!("/v2/{repository}/manifests/{tag}"), media_type, bytes.clone());
        self.serve(&format!("/v2/{repository}/manifests/{digest}"), media_type, bytes);
        digest
    }
}

async fn serve(stream: TcpStream, content: Arc<Mutex<Content>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    // A TLS record of the kind "handshake". Go's server, so Docker's registry, answers it in plain text.
    if stream.fill_buf().await.ok()?.first() == Some(&0x16) {
        content.lock().unwrap().hellos += 1;
        stream
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")
            .await
            .ok()?;
        return stream.shutdown().await.ok();
    }
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
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let plain = path.split('?').next()?.to_owned();
    let (mut fault, found, token) = {
        let mut content = content.lock().unwrap();
        content.asked.push(Asked { path: path.clone(), headers: headers.clone() });
        let fault = content.faults.get_mut(&plain).filter(|faults| !faults.is_empty()).map(|f| f.remove(0));
        (fault, content.bodies.get(&plain).cloned(), content.token.clone())
    };
    if let Some(Fault::Wait(go_on)) = &fault {
        go_on.notified().await;
        fault = None;
    }
    let host = headers.get("host").cloned().unwrap_or_default();
    let (head, body) = if let Some(token) = token.filter(|token| {
        plain.starts_with("/v2/") && headers.get("authorization").is_none_or(|sent| sent != token)
    }) {
        let scheme = token.split(' ').next()?;
        let challenge =
            format!("www-authenticate: {scheme} realm=\"http://{host}/token\",service=\"fake\"\r\n");
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#.to_vec();
        (format!("HTTP/1.1 401 Unauthorized\r\n{challenge}content-length: {}\r\n", body.len()), body)
    } else if let Some(Fault::Answer(status, headers, body)) = &fault {
        let length = body.len();
        (
            format!("HTTP/1.1 {status} Fault\r\n{headers}content-length: {length}\r\n"),
            body.clone().into_bytes(),
        )
    } else if let Some((media_type, body)) = found {
        let range = headers
            .get("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let length = body.len();
        match (range, &fault) {
            (_, Some(Fault::Endless)) => {
                ("HTTP/1.1 200 OK\r\n".to_owned(), [body, vec![7; 1 << 20]].concat())
            }
            (Some(from), fault) if !matches!(fault, Some(Fault::NoRanges)) => (
                format!(
                    "HTTP/1.1 206 Partial\r\ncontent-range: bytes {from}-{}/{length}\r\ncontent-length: {}\r\n",
                    length - 1,
                    length - from
                ),
                body[from..].to_vec(),
            ),
            _ => (
                format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n"),
                body,
            ),
        }
    } else {
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n".to_owned(), Vec::new())
    };
    let body = match fault {
        Some(Fault::Garbled) => body.iter().map(|byte| byte ^ 1).collect(),
        _ => body,
    };
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.ok()?;
    match fault {
        Some(Fault::CloseAfter(length)) => stream.write_all(&body[..length]).await.ok()?,
        Some(Fault::StallAfter(length)) => {
            stream.write_all(&body[..length]).await.ok()?;
            stream.flush().await.ok()?;
            // Until the other side has enough of it.
            stream.fill_buf().await.ok()?;
        }
        _ => stream.write_all(&body).await.ok()?,
    }
    stream.shutdown().await.ok()
}
