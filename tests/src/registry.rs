//! A real registry, Debian's `docker-registry`, on a free port of loopback with its images in a temporary folder:
//! open to all, or guarded by a password, by tokens or by certificates. It ends with the value, and with the process
//! if that is killed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::http::{Request, Response, exchange};
use crate::image::{self, Blob, Image};
use crate::tokens::{Authority, ISSUER, SERVICE, TokenServer};

/// What it says, on port 0, when it knows its port.
const LISTENING: &str = "listening on 127.0.0.1:";

/// Who is let in at a guarded registry.
pub const USER: &str = "me";
/// Their password.
pub const PASSWORD: &str = "s3cret-word";
/// The same as bcrypt hashes it, which is what the registry reads.
const HASH: &str = "$2b$04$KELMnMAGENWOCDpXRrQyQezhgf1O4FYiAHTt46vSRv/cLzcDa0BiO";

/// Who may come in.
pub enum Guard<'a> {
    /// Everybody.
    Open,
    /// [`USER`] with [`PASSWORD`].
    Password,
    /// Who has a token of this server.
    Tokens(&'a TokenServer),
    /// Who speaks TLS and shows a certificate of this authority.
    Certificates(&'a Authority),
}

/// A running registry.
pub struct Registry {
    process: Child,
    port: u16,
    storage: Arc<TempDir>,
}

impl Registry {
    /// Returns once it listens.
    pub fn start() -> Result<Registry> {
        Registry::guarded(&Guard::Open)
    }

    /// Likewise, with a guard.
    pub fn guarded(guard: &Guard) -> Result<Registry> {
        let storage = tempfile::tempdir()?;
        let config = storage.path().join("config.yml");
        let images = storage.path().join("images");
        let (mut http, mut auth) = (String::new(), String::new());
        match guard {
            Guard::Open => {}
            Guard::Password => {
                let passwords = storage.path().join("htpasswd");
                fs::write(&passwords, format!("{USER}:{HASH}\n"))?;
                auth = format!("auth: {{ htpasswd: {{ realm: tests, path: {passwords:?} }} }}\n");
            }
            Guard::Tokens(server) => {
                let bundle = storage.path().join("bundle.pem");
                fs::write(&bundle, server.certificate())?;
                auth = format!(
                    "auth: {{ token: {{ realm: {:?}, service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {bundle:?} }} }}\n",
                    server.realm()
                );
            }
            Guard::Certificates(authority) => {
                let of_clients = storage.path().join("ca.crt");
                let (certificate, key) = (storage.path().join("cert.pem"), storage.path().join("key.pem"));
                // By this name it is no registry on loopback, which might show anything.
                let own = authority.issue("host.docker.internal")?;
                fs::write(&of_clients, authority.certificate())?;
                fs::write(&certificate, own.certificate)?;
                fs::write(&key, own.key)?;
                http = format!(
                    ", tls: {{ certificate: {certificate:?}, key: {key:?}, clientcas: [{of_clients:?}] }}"
                );
            }
        }
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
                 storage: {{ filesystem: {{ rootdirectory: {images:?} }} }}\n\
                 http: {{ addr: \"127.0.0.1:0\"{http} }}\n{auth}"
            ),
        )?;
        Registry::serve(Arc::new(storage), &[])
    }

    /// One more with the same images, for whoever lives in the network namespace of a process.
    pub fn beside(&self, process: u32) -> Result<Registry> {
        let namespace = format!("--net=/proc/{process}/ns/net");
        Registry::serve(self.storage.clone(), &["nsenter", &namespace])
    }

    fn serve(storage: Arc<TempDir>, within: &[&str]) -> Result<Registry> {
        let config = storage.path().join("config.yml");
        // Through setpriv it gets a parent-death signal: no registry outlives a test that was killed.
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(within)
            .args(["docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run docker-registry: type `make deps`")?;
        let mut log = BufReader::new(process.stderr.take().context("the log is a pipe")?);
        let Some(port) = port_from(&mut log)? else {
            let _ = process.wait();
            anyhow::bail!("docker-registry ended before it listened: is it installed? `make deps` does it");
        };
        // A pipe that nobody reads would stop it when full.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Registry { process, port, storage })
    }

    /// `localhost:PORT`, as in a reference.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// `http://localhost:PORT`, as in the setting `registry-mirrors`.
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// The bytes of the manifest that a tag names, as the registry keeps them.
    pub fn manifest(&self, repository: &str, tag: &str) -> Result<Vec<u8>> {
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        let digest = fs::read_to_string(self.root().join(&link));
        self.manifest_by_digest(digest.with_context(|| format!("no {repository}:{tag}"))?.trim())
    }

    /// The bytes that have this digest.
    pub fn manifest_by_digest(&self, digest: &str) -> Result<Vec<u8>> {
        let hex = digest.trim_start_matches("sha256:");
        let start = hex.get(..2).context("a digest has digits")?;
        Ok(fs::read(self.root().join(format!("blobs/sha256/{start}/{hex}/data")))?)
    }

    fn root(&self) -> PathBuf {
        self.storage.path().join("images/docker/registry/v2")
    }

    /// Stores an image under `repository:tag`. Returns the manifest's digest.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) -> Result<String> {
        for blob in image.layers.iter().chain([&image.config]) {
            self.push_blob(repository, blob)?;
        }
        self.push_manifest(repository, tag, &image.manifest)
    }

    /// Stores images for several platforms under one name. Returns the index's digest.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[Image]) -> Result<String> {
        for image in images {
            self.push(repository, &image.manifest.digest(), image)?;
        }
        self.push_manifest(repository, tag, &image::index(images)?)
    }

    /// Stores one manifest or index under a tag or its digest, whatever it refers to.
    pub fn push_manifest(&self, repository: &str, tag: &str, manifest: &Blob) -> Result<String> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.expect(201, "PUT", &path, Some(manifest.media_type), &manifest.bytes)?;
        Ok(manifest.digest())
    }

    /// Stores one blob.
    pub fn push_blob(&self, repository: &str, blob: &Blob) -> Result<()> {
        let started = self.expect(202, "POST", &format!("/v2/{repository}/blobs/uploads/"), None, &[])?;
        let location = started.header("location").context("an upload has a location")?;
        let path = location.trim_start_matches("http://").trim_start_matches(|letter| letter != '/');
        let path = format!("{path}&digest={}", blob.digest());
        self.expect(201, "PUT", &path, Some("application/octet-stream"), &blob.bytes)?;
        Ok(())
    }

    fn expect(
        &self,
        status: u16,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Response> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let host = self.host();
        let response = exchange(stream, &Request { method, host: &host, path, content_type, body })?;
        ensure!(response.status == status, "{method} {path}: {} {}", response.status, response.text());
        Ok(response)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the log up to the line that tells the port; `None` where the log ends before.
fn port_from(log: &mut BufReader<impl Read>) -> Result<Option<u16>> {
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if let Some((_, rest)) = line.split_once(LISTENING) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            return Ok(Some(digits.parse()?));
        }
        line.clear();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Layer;

    #[test]
    fn what_was_pushed_can_be_asked_for() {
        let registry = Registry::start().unwrap();
        let layer = Layer::default().file("hello", 0o755, b"program");
        let image = Image::new(vec![layer], serde_json::json!({ "Cmd": ["/hello"] })).unwrap();
        let blob = image.layers[0].clone();
        registry.push_index("library/hello-world", "latest", &[image]).unwrap();
        let tags = registry.expect(200, "GET", "/v2/library/hello-world/tags/list", None, &[]).unwrap();
        assert_eq!(tags.text().trim(), r#"{"name":"library/hello-world","tags":["latest"]}"#);
        let path = format!("/v2/library/hello-world/blobs/{}", blob.digest());
        assert_eq!(registry.expect(200, "GET", &path, None, &[]).unwrap().body, blob.bytes);
    }
}
