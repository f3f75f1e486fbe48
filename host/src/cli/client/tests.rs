//! The client against a server of the library's own, over a real socket.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::LocalSet;

use super::*;

/// Answers as an engine of version 1.41 would, and counts the connections it accepts.
struct Engine {
    listener: UnixListener,
    connections: Rc<Cell<u32>>,
}

impl Engine {
    fn listen(socket: &Path) -> Self {
        Self { listener: UnixListener::bind(socket).unwrap(), connections: Rc::default() }
    }

    async fn serve(self) {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            self.connections.set(self.connections.get() + 1);
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .with_upgrades();
            tokio::spawn(connection);
        }
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
    let reply = Response::builder().header("api-version", "1.41");
    match request.uri().path() {
        "/_ping" => reply.body(Full::default()),
        "/v1.41/lines" => reply.body(Full::from("{\"n\":1}\n{\"n\":2}\n")),
        "/v1.41/echo" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                stream.write_all(text.to_uppercase().as_bytes()).await.unwrap();
            });
            reply
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "Upgrade")
                .header("upgrade", "tcp")
                .body(Full::default())
        }
        path => reply
            .status(StatusCode::NOT_FOUND)
            .header("content-type", "application/json")
            .body(Full::from(format!("{{\"message\":\"No such thing: {path}\"}}"))),
    }
}

fn client(socket: &Path) -> Client {
    let endpoint = Endpoint::named(&format!("unix://{}", socket.display()), None).unwrap();
    Client::new(endpoint, Program::Holm, None)
}

/// Runs a test beside an engine.
async fn with_engine(test: impl AsyncFnOnce(Client, Rc<Cell<u32>>)) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let engine = Engine::listen(&socket);
    let connections = engine.connections.clone();
    LocalSet::new()
        .run_until(async {
            let serving = tokio::task::spawn_local(engine.serve());
            test(client(&socket), connections).await;
            serving.abort();
        })
        .await;
}

#[tokio::test]
async fn the_older_version_is_spoken_and_one_connection_serves_short_requests() {
    with_engine(async |client, connections| {
        assert_eq!(client.version().await.unwrap(), "1.41");
        for name in ["a", "b"] {
            let error = client.send(Call::get(format!("/{name}"))).await.err().unwrap();
            assert_eq!(
                error.to_string(),
                format!("Error response from daemon: No such thing: /v1.41/{name}")
            );
            assert!(error.is_not_found());
        }
        assert_eq!(connections.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn values_of_a_stream_come_one_by_one() {
    with_engine(async |client, _| {
        let mut lines = client.send(Call::get("/lines")).await.unwrap().lines();
        assert_eq!(lines.next().await.unwrap().unwrap()["n"], 1);
        assert_eq!(lines.next().await.unwrap().unwrap()["n"], 2);
        assert!(lines.next().await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_can_be_closed_in_one_direction() {
    with_engine(async |client, _| {
        let mut stream = client.send(Call::post("/echo").upgrade()).await.unwrap().upgraded().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "HELLO");
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_no_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let error = client(&directory.path().join("none")).version().await.unwrap_err();
    assert!(matches!(error, CliError::NoDaemon { .. }));
}

#[test]
fn versions_compare_by_number_not_by_letter() {
    assert_eq!(older("1.51", "1.41"), "1.41");
    assert_eq!(older("1.9", "1.41"), "1.9");
    assert_eq!(older("1.41", "1.41"), "1.41");
}
