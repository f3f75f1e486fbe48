//! The real `docker compose`: services that wait for each other, find each other by name, share volumes, and go
//! again. The samples, of real servers, take minutes: `make test-full` runs them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use holm_tests::compose::{Project, server};
use holm_tests::home::{Home, Machine};
use holm_tests::image::Layer;
use holm_tests::on_every_machine;
use holm_tests::registry::Registry;
use holm_tests::samples::{for_two_platforms, ready};
use serde_json::json;

on_every_machine!(services_come_up_in_order_find_each_other_and_go);

mod samples {
    use super::*;

    #[test]
    #[ignore = "takes minutes: `make test-full`"]
    fn process() {
        real_servers_work_together(Machine::Process);
    }

    #[test]
    #[ignore = "takes minutes: `make test-full`"]
    fn qemu() {
        real_servers_work_together(Machine::Qemu);
    }
}

/// A server that is healthy after a moment, and a client that waits for it and for something that ends.
const SMALL: &str = r#"
services:
  web:
    image: busybox
    command: sh -c "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www"
    init: true
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"]
      interval: 200ms
      timeout: 5s
      retries: 50
    networks:
      front: {aliases: [isle]}
      back: {}
  client:
    image: busybox
    command: sh -c "wget -q -O - http://isle/ && cat /data/kept && exec sleep 1000"
    init: true
    depends_on:
      web: {condition: service_healthy}
      setup: {condition: service_completed_successfully}
    networks: [front]
    volumes: ["data:/data"]
  setup:
    image: busybox
    command: sh -c "echo kept > /data/kept"
    network_mode: none
    volumes: ["data:/data"]
  extra:
    image: busybox
    command: sleep 1000
    init: true
    profiles: [more]
    networks: [back]
networks:
  front: {}
  back: {internal: true}
volumes:
  data: {}
"#;

fn services_come_up_in_order_find_each_other_and_go(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["version"]).ok();
    let project = Project::new(&home, SMALL).unwrap();
    let run = |words: &[&str]| project.compose(words).ok();

    run(&["up", "-d", "--quiet-pull"]);
    let states = run(&["ps", "-a", "--format", "{{.Service}} {{.State}} {{.Health}} {{.ExitCode}}"]);
    let mut states: Vec<&str> = states.lines().map(str::trim_end).collect();
    states.sort_unstable();
    assert_eq!(states, ["client running  0", "setup exited  0", "web running healthy 0"]);
    // The client's first line is the name of the host that answered.
    let web = home.docker(&["inspect", "-f", "{{.Config.Hostname}}", "isle-web-1"]).line();
    let logs = run(&["logs", "--no-log-prefix", "client"]);
    assert_eq!(logs, format!("{web}\nkept\n"));
    let marks = home.docker(&["ps", "-q", "--filter", "label=com.docker.compose.project=isle"]).ok();
    assert_eq!(marks.lines().count(), 2);

    // Commands in a service, and one-off containers of it, in its networks.
    assert_eq!(run(&["exec", "-T", "client", "sh", "-c", "echo inside"]), "inside\n");
    project.compose(&["exec", "-T", "client", "sh", "-c", "exit 7"]).fails_with(7);
    assert_eq!(
        run(&["run", "--rm", "--no-deps", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]),
        format!("{web}\n")
    );
    // Only who is in a network reaches what is in it.
    project.compose(&["--profile", "more", "up", "-d", "extra"]).ok();
    assert_eq!(run(&["exec", "-T", "extra", "wget", "-q", "-O", "-", "http://web/"]), format!("{web}\n"));
    project.compose(&["exec", "-T", "extra", "nslookup", "client"]).fails_with(1);

    // Several containers of a service, each with an address under its name.
    run(&["up", "-d", "--no-recreate", "--scale", "web=3"]);
    let webs = run(&["ps", "-q", "web"]);
    assert_eq!(webs.lines().count(), 3);
    let mut seen = std::collections::BTreeSet::new();
    for number in ["1", "2", "3"] {
        let name = format!("http://isle-web-{number}/");
        seen.insert(run(&["exec", "-T", "client", "wget", "-q", "-O", "-", &name]));
    }
    assert_eq!(seen.len(), 3);

    // The same containers after a restart; what is not changed is not made again.
    run(&["restart", "-t", "1", "client"]);
    let before = run(&["ps", "-q"]);
    let again = project.compose(&["up", "-d", "--scale", "web=3"]);
    assert!(!again.stderr.contains("Recreate"), "{again:?}");
    again.ok();
    assert_eq!(run(&["ps", "-q"]), before);
    run(&["stop", "-t", "1", "web"]);
    run(&["start", "web"]);

    run(&["--profile", "more", "down", "-t", "1"]);
    assert_eq!(home.docker(&["ps", "-aq"]).ok(), "");
    assert_eq!(home.docker(&["network", "ls", "-q", "--filter", "name=isle"]).ok(), "");
    assert_eq!(home.docker(&["volume", "ls", "-q"]).line(), "isle_data");
    run(&["down", "-v"]);
    assert_eq!(home.docker(&["volume", "ls", "-q"]).ok(), "");
}

const DATABASE_ENTRY: &[u8] = br#"#!/bin/sh -e
PATH=/usr/lib/postgresql/15/bin:$PATH
if [ $# -gt 0 ]; then exec "$@"; fi
chown postgres /data; chmod 700 /data
[ -d /data/db ] || su postgres -c "PATH=$PATH initdb -D /data/db --auth=trust --locale=C -E UTF8 -U postgres"
echo "host all all all trust" >> /data/db/pg_hba.conf
exec su postgres -c "exec /usr/lib/postgresql/15/bin/postgres -D /data/db -c jit=off -c listen_addresses='*' -c unix_socket_directories=/tmp"
"#;

const WEB_CONFIG: &[u8] = br#"
server.modules = ("mod_cgi")
server.document-root = "/www"
server.port = 80
server.errorlog = "/dev/stderr"
index-file.names = ("index.html")
cgi.assign = (".cgi" => "/bin/sh")
"#;

/// Counts in the cache who came.
const COUNTER: &[u8] = br#"
printf 'Content-Type: text/plain\r\n\r\n'
printf 'INCR hits\r\nQUIT\r\n' | nc cache 6379 | head -n 1
"#;

/// Pushes images of a web server, a database and a cache.
fn push_servers(registry: &Registry) {
    let web = Layer::default()
        .folder("www/")
        .file("www/index.html", 0o644, b"an island\n")
        .file("www/hits.cgi", 0o755, COUNTER)
        .file("etc/isle.conf", 0o644, WEB_CONFIG);
    let database = Layer::default().file("entry.sh", 0o755, DATABASE_ENTRY).folder("data/");
    for (name, package, own, config) in [
        ("web", "lighttpd", web, json!({"Cmd": ["/usr/sbin/lighttpd", "-D", "-f", "/etc/isle.conf"]})),
        (
            "database",
            "postgresql-15",
            database,
            json!({"Entrypoint": ["/entry.sh"], "Volumes": {"/data": {}}}),
        ),
        (
            "cache",
            "redis-server",
            Layer::default(),
            json!({"Cmd": [
            "/usr/bin/redis-server", "--appendonly", "yes", "--dir", "/data", "--bind", "0.0.0.0",
            "--protected-mode", "no",
        ], "WorkingDir": "/data", "Volumes": {"/data": {}}}),
        ),
    ] {
        let image = server(package, own, config).unwrap();
        registry
            .push_index(&format!("library/{name}"), "latest", &for_two_platforms(image).unwrap())
            .unwrap();
    }
}

/// A web server that counts in a cache; what was counted outlives its containers.
const COUNTING: &str = r#"
services:
  web:
    image: web
    ports: ["127.0.0.1::80"]
    depends_on:
      cache: {condition: service_healthy}
  cache:
    image: cache
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 500ms
      retries: 60
    volumes: ["counted:/data"]
volumes:
  counted: {}
"#;

/// A database, tables that are made before anybody reads them, and readers that share the load.
const READING: &str = r#"
services:
  database:
    image: database
    healthcheck:
      test: ["CMD", "/usr/lib/postgresql/15/bin/pg_isready", "-h", "127.0.0.1", "-U", "postgres"]
      interval: 1s
      timeout: 20s
      retries: 120
    volumes: ["tables:/data"]
  tables:
    image: database
    command: [psql, -h, database, -U, postgres, -c, "create table if not exists isles (name text primary key)",
      -c, "insert into isles values ('holm') on conflict do nothing"]
    depends_on:
      database: {condition: service_healthy}
  reader:
    image: database
    command: [psql, -h, database, -U, postgres, -At, -c, "select name from isles"]
    scale: 2
    depends_on:
      tables: {condition: service_completed_successfully}
volumes:
  tables: {}
"#;

/// All three. Only the web server stands between the two networks; a worker moves what was counted to the database.
const WHOLE: &str = r#"
services:
  web:
    image: web
    ports: ["127.0.0.1::80"]
    networks: [front, back]
    depends_on:
      cache: {condition: service_healthy}
      database: {condition: service_healthy}
  cache:
    image: cache
    healthcheck: {test: ["CMD", "redis-cli", "ping"], interval: 500ms, retries: 60}
    networks: [back]
  database:
    image: database
    healthcheck:
      test: ["CMD", "/usr/lib/postgresql/15/bin/pg_isready", "-h", "127.0.0.1", "-U", "postgres"]
      interval: 1s
      timeout: 20s
      retries: 120
    networks: [back]
  worker:
    image: database
    profiles: [work]
    command:
      - sh
      - -ec
      - |
        hits=$$(printf 'GET hits\r\nQUIT\r\n' | nc cache 6379 | sed -n 2p | tr -d '\r')
        psql -h database -U postgres -At -c "create table kept as select $$hits as hits" -c "select hits from kept"
    networks: [back]
    depends_on:
      database: {condition: service_healthy}
  outsider:
    image: busybox
    command: sleep 1000
    init: true
    networks: [front]
networks:
  front: {}
  back: {internal: true}
"#;

fn real_servers_work_together(machine: Machine) {
    let (registry, home) = ready(machine).unwrap();
    push_servers(&registry);
    home.holm(&["version"]).ok();
    a_count_outlives_its_containers(&home);
    readers_wait_for_their_tables(&home);
    three_servers_are_one_application(&home);
}

fn a_count_outlives_its_containers(home: &Home) {
    let project = Project::new(home, COUNTING).unwrap();
    let run = |words: &[&str]| project.compose(words).ok();
    run(&["up", "-d", "--quiet-pull"]);
    assert_eq!(get(&project, "/"), "an island\n");
    assert_eq!(get(&project, "/hits.cgi").trim_end(), ":1");
    assert_eq!(get(&project, "/hits.cgi").trim_end(), ":2");
    run(&["restart", "web"]);
    assert_eq!(get(&project, "/hits.cgi").trim_end(), ":3");
    run(&["down"]);
    run(&["up", "-d"]);
    assert_eq!(get(&project, "/hits.cgi").trim_end(), ":4");
    run(&["down", "-v"]);
    run(&["up", "-d"]);
    assert_eq!(get(&project, "/hits.cgi").trim_end(), ":1");
    run(&["down", "-v"]);
}

fn readers_wait_for_their_tables(home: &Home) {
    let project = Project::new(home, READING).unwrap();
    let run = |words: &[&str]| project.compose(words).ok();
    run(&["up", "-d", "--quiet-pull"]);
    home.docker(&["wait", "isle-reader-1", "isle-reader-2"]).ok();
    assert_eq!(run(&["logs", "--no-log-prefix", "reader"]), "holm\nholm\n");
    let psql =
        ["exec", "-T", "database", "/usr/lib/postgresql/15/bin/psql", "-h", "localhost", "-U", "postgres"];
    let ask = |question: &str| run(&[&psql[..], &["-Atc", question]].concat());
    let version = ask("show server_version");
    assert!(version.starts_with("15."), "{version}");
    // What was written is there after a stop in order and after one without.
    ask("insert into isles values ('ey')");
    run(&["kill", "database"]);
    run(&["down"]);
    run(&["up", "-d"]);
    home.docker(&["wait", "isle-reader-1", "isle-reader-2"]).ok();
    assert_eq!(run(&["logs", "--no-log-prefix", "reader"]), "holm\ney\nholm\ney\n");
    run(&["down", "-v"]);
}

fn three_servers_are_one_application(home: &Home) {
    let project = Project::new(home, WHOLE).unwrap();
    let run = |words: &[&str]| project.compose(words).ok();
    run(&["up", "-d", "--quiet-pull"]);
    for count in 1..=3 {
        assert_eq!(get(&project, "/hits.cgi").trim_end(), format!(":{count}"));
    }
    assert_eq!(run(&["--profile", "work", "run", "--rm", "-T", "worker"]), "SELECT 1\n3\n");
    assert_eq!(run(&["exec", "-T", "outsider", "wget", "-q", "-O", "-", "http://web/"]), "an island\n");
    project.compose(&["exec", "-T", "outsider", "nc", "-w", "2", "cache", "6379"]).fails_with(1);
    run(&["--profile", "work", "down", "-v"]);
}

/// What the project's web server says, on the port where it is published.
fn get(project: &Project<'_>, path: &str) -> String {
    let place = project.compose(&["port", "web", "80"]).line();
    let mut stream = TcpStream::connect(&place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: isle\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?} has no body"));
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    body.to_owned()
}
