//! A real registry, Debian's `docker-registry`, on a free port of loopback with its images in a temporary folder.
//! It ends with the value, and with the process if that is killed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::http::{Request, Response, exchange};
use crate::image::{self, Blob, Image};

/// What it says, on port 0, when it knows its port.
const LISTENING: &str = "listening on 127.0.0.1:";

/// A running registry.
pub struct Registry {
    process: Child,
    port: u16,
    storage: Arc<TempDir>,
}

impl Registry {
    /// Returns once it listens.
    pub fn start() -> Result<Registry> {
        let storage = tempfile::tempdir()?;
        let config = storage.path().join("config.yml");
        let images = storage.path().join("images");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
                 storage: {{ filesystem: {{ rootdirectory: {images:?} }} }}\nhttp: {{ addr: \"127.0.0.1:0\" }}\n"
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
