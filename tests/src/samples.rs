//! The images that tests, demo and benchmarks pull: `hello-world`, `busybox`, and large ones with many layers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tar::EntryType;

use crate::home::{self, Home, Machine};
use crate::image::{Image, Layer};
use crate::registry::Registry;

const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// As real registries have them: each image beside one for another processor, which comes first, so that whoever
/// takes the first one notices.
pub fn for_two_platforms(image: Image) -> Result<[Image; 2]> {
    let layer = Layer::default().file("wrong-processor", 0o644, b"");
    Ok([Image::for_architecture("s390x", vec![layer], json!({ "Cmd": ["/wrong-processor"] }))?, image])
}

/// `hello-world`: one static program, `hello`, and nothing else.
pub fn hello_world(hello: &Path) -> Result<Image> {
    let program =
        fs::read(hello).with_context(|| format!("no {}: `make build` makes it", hello.display()))?;
    let layer = Layer::default().file("hello", 0o755, &program);
    Image::new(vec![layer], json!({ "Cmd": ["/hello"], "Env": [SEARCH_PATH], "WorkingDir": "/" }))
}

/// `echo`: the server of `bin/echo.rs`.
pub fn echo() -> Result<Image> {
    let path = home::programs().join("echo");
    let program = fs::read(&path).with_context(|| format!("no {}: `make build` makes it", path.display()))?;
    let layer = Layer::default().file("echo", 0o755, &program);
    Image::new(vec![layer], json!({ "Cmd": ["/echo"], "ExposedPorts": { "7/tcp": {}, "7/udp": {} } }))
}

/// Programs of this computer, each with the name that it has in the image, and the libraries that they need.
pub fn of_programs(programs: &[(&str, &str)], entry: &[&str]) -> Result<Image> {
    let mut files = BTreeMap::new();
    for (path, name) in programs {
        let listed = Command::new("ldd").arg(path).output().context("ldd does not run")?;
        ensure!(listed.status.success(), "{path}: {}", String::from_utf8_lossy(&listed.stderr));
        files.insert((*name).to_owned(), (*path).to_owned());
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f…)`, or the loader's path alone.
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) {
                files.insert(library.to_owned(), library.to_owned());
            }
        }
    }
    let mut layer = Layer::default().entry(EntryType::Directory, "tmp/", 0o1777, None, &[]);
    for (name, path) in files {
        let content = fs::read(&path).with_context(|| path.clone())?;
        layer = layer.file(name.trim_start_matches('/'), 0o755, &content);
    }
    Image::new(vec![layer], json!({ "Entrypoint": entry, "Env": [SEARCH_PATH] }))
}

/// `busybox`: a shell with a few hundred commands, users and groups.
pub fn busybox() -> Result<Image> {
    let program = fs::read(BUSYBOX).context("no busybox: `make deps` installs it")?;
    let listed = Command::new(BUSYBOX).arg("--list").output().context("busybox does not run here")?;
    let mut layer = Layer::default();
    for folder in ["bin/", "dev/", "etc/", "home/", "root/", "tmp/", "usr/", "usr/bin/", "var/"] {
        layer = layer.folder(folder);
    }
    layer = layer.file("bin/busybox", 0o755, &program);
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox") {
        layer = layer.hard_link(&format!("bin/{applet}"), "bin/busybox");
    }
    layer = layer
        .symlink("usr/bin/env", "../../bin/env")
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nuser:x:1000:1000::/home:/bin/sh\n",
        )
        .file("etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nstaff:x:50:user\nuser:x:1000:\n");
    Image::new(vec![layer], json!({ "Cmd": ["sh"], "Env": [SEARCH_PATH] }))
}

/// An image that takes time: every layer has files of about `bytes` in all, which gzip halves. A small program
/// comes on top so that it can be run.
pub fn large(layers: u32, bytes: usize) -> Result<Image> {
    let mut all = Vec::new();
    for number in 0..layers {
        let folder = format!("data{number}/");
        let mut layer = Layer::default().folder(&folder);
        let mut noise = Noise(u64::from(number) + 1);
        for file in 0..FILES {
            layer = layer.file(&format!("{folder}{file}"), 0o644, &noise.half_compressible(bytes / FILES));
        }
        all.push(layer);
    }
    let program = fs::read(BUSYBOX).context("no busybox: `make deps` installs it")?;
    all.push(Layer::default().folder("bin/").file("bin/true", 0o755, &program));
    Image::new(all, json!({ "Cmd": ["/bin/true"], "Env": [SEARCH_PATH] }))
}

const FILES: usize = 64;

/// A registry with `library/hello-world` and `library/busybox`, and a home that asks it before Docker Hub.
pub fn ready(machine: Machine) -> Result<(Registry, Home)> {
    let registry = Registry::start()?;
    let hello = hello_world(&home::programs().join("hello"))?;
    for (name, image) in [("hello-world", hello), ("busybox", busybox()?)] {
        registry.push_index(&format!("library/{name}"), "latest", &for_two_platforms(image)?)?;
    }
    let home = Home::new(machine, &[registry.url()])?;
    Ok((registry, home))
}

/// Numbers without a pattern, the same in every run (xorshift64).
struct Noise(u64);

impl Noise {
    fn half_compressible(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
            bytes.extend_from_slice(b"the same");
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_image_has_its_layers_and_about_half_its_size() {
        let image = large(3, 1 << 20).unwrap();
        assert_eq!(image.layers.len(), 4);
        let size = image.layers[0].bytes.len();
        assert!(((1 << 18)..(1 << 20)).contains(&size), "{size} bytes");
    }

    #[test]
    fn a_program_comes_with_its_loader_and_libraries() {
        let image = of_programs(&[("/bin/sh", "/bin/shell")], &["/bin/shell"]).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(image.layers[0].bytes.as_slice()));
        let names: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        for wanted in ["bin/shell", "/ld-linux", "/libc.so"] {
            assert!(names.iter().any(|name| name.contains(wanted)), "{names:?}");
        }
    }

    #[test]
    fn busybox_has_a_shell() {
        let image = busybox().unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(image.layers[0].bytes.as_slice()));
        let shell = tar.entries().unwrap().any(|entry| entry.unwrap().path().unwrap() == Path::new("bin/sh"));
        assert!(shell);
    }
}
