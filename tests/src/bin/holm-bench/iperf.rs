//! iperf3 by one stream, and the servers that a measurement needs beside it.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use holm_tests::image::Image;
use holm_tests::samples;
use serde_json::Value;

/// How long each stream lasts.
const SECONDS: &str = "5";
/// What a server says when clients may come.
pub(crate) const LISTENS: &str = "Server listening";

/// iperf3 as the only program of an image.
pub(crate) fn image() -> Result<Image> {
    const PATH: &str = "/usr/bin/iperf3";
    samples::of_programs(&[(PATH, PATH)], &[PATH]).context("is iperf3 installed? `.ci/deps bench` does it")
}

/// Arguments of a server.
pub(crate) fn server(port: &str) -> [&str; 4] {
    ["--server", "--forceflush", "--port", port]
}

/// Arguments of a client that answers in JSON.
pub(crate) fn client<'a>(host: &'a str, port: &'a str) -> [&'a str; 7] {
    ["--client", host, "--port", port, "--time", SECONDS, "--json"]
}

/// Serves from here.
pub(crate) fn serve(port: &str) -> Result<Server> {
    let mut command = Command::new("iperf3");
    command.args(server(port));
    Server::start(command, LISTENS)
}

/// Sends from here: bits a second that arrived.
pub(crate) fn send(host: &str, port: &str) -> Result<f64> {
    arrived(&Command::new("iperf3").args(client(host, port)).output()?.stdout)
}

/// Bits a second that arrived, by a client's answer.
pub(crate) fn arrived(answer: &[u8]) -> Result<f64> {
    let answer: Value = serde_json::from_slice(answer).context("iperf3 does not answer in JSON")?;
    let speed = answer["end"]["sum_received"]["bits_per_second"].as_f64();
    speed.with_context(|| format!("iperf3 says: {}", answer["error"]))
}

/// A program of this computer that serves until the value goes.
pub(crate) struct Server(Child);

impl Server {
    /// Returns when it has said `word`.
    pub(crate) fn start(mut command: Command, word: &str) -> Result<Server> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("asked for above")?);
        let server = Server(child);
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "{command:?} ended");
        }
        // It must not stop at a full pipe.
        std::thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
