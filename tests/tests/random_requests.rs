//! Requests that no client sends: bodies with the Engine API's fields and whatever values, queries likewise, to
//! every endpoint. Each gets an answer that blames the client, and the engine is none the worse for it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;
use std::time::Duration;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, Response, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::{Map, Value, json};

on_every_machine!(whatever_is_sent_gets_an_answer);

/// Requests an endpoint. The numbers that they are made from are the same in every run.
const EACH: usize = 12;
/// Longer than any endpoint waits for something by itself.
const DEADLINE: Duration = Duration::from_secs(30);

/// Endpoints that ask a registry of whatever they can read: they are sent what they cannot.
const OUTWARD: &[&str] = &["/auth"];

/// Method, path, and the fields of its body as the API description has them.
const ENDPOINTS: &[(&str, &str, &[&str])] = &[
    ("POST", "/containers/create", CREATE),
    ("POST", "/containers/isle/update", HOST),
    ("POST", "/containers/isle/exec", EXEC),
    ("POST", "/containers/isle/rename", &[]),
    ("POST", "/containers/isle/resize", &[]),
    ("POST", "/containers/isle/kill", &[]),
    ("POST", "/containers/isle/stop", &[]),
    ("POST", "/containers/isle/restart", &[]),
    ("POST", "/containers/prune", &[]),
    ("GET", "/containers/json", &[]),
    ("GET", "/containers/isle/json", &[]),
    ("GET", "/containers/isle/top", &[]),
    ("GET", "/containers/isle/logs", &[]),
    ("GET", "/containers/isle/archive", &[]),
    ("HEAD", "/containers/isle/archive", &[]),
    ("PUT", "/containers/isle/archive", &[]),
    ("GET", "/containers/isle/changes", &[]),
    ("POST", "/exec/nothing/start", EXEC),
    ("POST", "/exec/nothing/resize", &[]),
    ("GET", "/exec/nothing/json", &[]),
    ("POST", "/commit", CREATE),
    ("GET", "/images/json", &[]),
    ("POST", "/images/create", &[]),
    ("POST", "/images/busybox/tag", &[]),
    ("POST", "/images/prune", &[]),
    ("DELETE", "/images/nothing", &[]),
    ("POST", "/volumes/create", VOLUME),
    ("GET", "/volumes", &[]),
    ("POST", "/volumes/prune", &[]),
    ("DELETE", "/volumes/nothing", &[]),
    ("GET", "/networks", &[]),
    ("POST", "/networks/create", VOLUME),
    ("POST", "/auth", &["username", "password", "serveraddress"]),
    ("POST", "/build", &[]),
    ("GET", "/system/df", &[]),
    ("GET", "/info", &[]),
];

const CREATE: &[&str] = &[
    "Image",
    "Cmd",
    "Entrypoint",
    "Env",
    "Labels",
    "User",
    "WorkingDir",
    "Hostname",
    "Domainname",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "AttachStdin",
    "ExposedPorts",
    "Volumes",
    "Healthcheck",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "MacAddress",
    "NetworkDisabled",
    "OnBuild",
    "ArgsEscaped",
    "HostConfig",
    "NetworkingConfig",
];

const HOST: &[&str] = &[
    "Binds",
    "Mounts",
    "Tmpfs",
    "VolumesFrom",
    "VolumeDriver",
    "LogConfig",
    "NetworkMode",
    "PortBindings",
    "RestartPolicy",
    "AutoRemove",
    "CapAdd",
    "CapDrop",
    "CgroupnsMode",
    "CgroupParent",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "IpcMode",
    "Links",
    "OomScoreAdj",
    "PidMode",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "SecurityOpt",
    "StorageOpt",
    "UTSMode",
    "UsernsMode",
    "ShmSize",
    "Sysctls",
    "Runtime",
    "ConsoleSize",
    "Isolation",
    "MaskedPaths",
    "ReadonlyPaths",
    "CpuShares",
    "Memory",
    "NanoCpus",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "CpuPeriod",
    "CpuQuota",
    "CpusetCpus",
    "CpusetMems",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "OomKillDisable",
    "Init",
    "PidsLimit",
    "Ulimits",
    "Annotations",
];

const EXEC: &[&str] = &[
    "Cmd",
    "Env",
    "User",
    "WorkingDir",
    "Tty",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "DetachKeys",
    "Privileged",
    "ConsoleSize",
    "Detach",
];

const VOLUME: &[&str] = &["Name", "Driver", "DriverOpts", "Labels", "Options", "IPAM", "Internal", "Scope"];

const QUERIES: &[&str] = &[
    "name",
    "platform",
    "all",
    "limit",
    "size",
    "filters",
    "signal",
    "t",
    "h",
    "w",
    "tail",
    "since",
    "until",
    "follow",
    "stdout",
    "timestamps",
    "path",
    "ps_args",
    "force",
    "v",
    "link",
    "repo",
    "tag",
    "fromImage",
    "type",
    "container",
    "changes",
    "noOverwriteDirNonDir",
];

/// Numbers without a pattern (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(list.len())]
    }

    fn text(&mut self) -> String {
        let texts = [
            "",
            "busybox",
            "isle",
            "../../etc",
            "/",
            "a:b:c:d",
            "-1",
            "none",
            "container:isle",
            "container:nobody",
            "{}",
            "\u{0}",
            "ünï\u{202e}",
            "9223372036854775808",
            "host",
            "65536:65536/udp",
            "=",
            "a=b",
        ];
        match self.roll(texts.len() + 1) {
            at if at < texts.len() => texts[at].to_owned(),
            _ => "x".repeat(5000),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.roll(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!([i64::MIN, -1, 0, 1, 7 << 20, i64::MAX][self.roll(6)]),
            3 => json!([0.5, -1e300, 1e9][self.roll(3)]),
            4..7 => json!(self.text()),
            7 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object(self.object(depth - 1)),
        }
    }

    fn object(&mut self, depth: usize) -> Map<String, Value> {
        let count = self.roll(4);
        let fields = [CREATE, HOST, EXEC, VOLUME][self.roll(4)];
        (0..count).map(|_| (self.pick(fields).to_owned(), self.value(depth))).collect()
    }

    /// Most fields as they should be, and some that are not.
    fn body(&mut self, fields: &[&str]) -> Value {
        let mut body = json!({ "Image": "busybox", "Cmd": ["true"] });
        for _ in 0..=self.roll(3) {
            let (field, value) = (self.pick(fields), self.value(3));
            if HOST.len() == fields.len() || self.roll(2) == 0 {
                body[field] = value;
            } else {
                body["HostConfig"][self.pick(HOST)] = value;
            }
        }
        body
    }

    fn query(&mut self) -> String {
        let pairs: Vec<String> = (0..self.roll(4))
            .map(|_| {
                let name = self.pick(QUERIES);
                let value = if self.roll(3) == 0 { self.value(2).to_string() } else { self.text() };
                format!("{name}={}", encoded(&value))
            })
            .collect();
        pairs.join("&")
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn ask(home: &Home, method: &str, path: &str, body: &[u8]) -> Response {
    let stream = UnixStream::connect(home.socket()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let content_type = (!body.is_empty()).then_some("application/json");
    let request = Request { method, host: "holm", path, content_type, body };
    exchange(stream, &request)
        .unwrap_or_else(|error| panic!("{method} {path} {}: {error:#}", String::from_utf8_lossy(body)))
}

fn whatever_is_sent_gets_an_answer(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "-d", "--init", "--name", "isle", "busybox", "sleep", "1000"]).ok();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (method, path, fields) in ENDPOINTS.iter().filter(|(_, path, _)| !OUTWARD.contains(path)) {
        for _ in 0..EACH {
            let body =
                if fields.is_empty() { Vec::new() } else { dice.body(fields).to_string().into_bytes() };
            // A stream that follows ends only with its container.
            let query = dice.query().replace("follow=", "unknown=");
            let target = format!("/v1.51{path}?{query}");
            let response = ask(&home, method, &target, &body);
            let said = response.text();
            let sent = String::from_utf8_lossy(&body);
            assert_ne!(response.status, 500, "{method} {target} {sent}: {said}");
        }
    }
    for (method, path, fields) in ENDPOINTS {
        if !fields.is_empty() {
            for body in ["{", "[]", "nonsense", "{\"Image\": \"busybox\"} x"] {
                let response = ask(&home, method, path, body.as_bytes());
                assert!(
                    (400..500).contains(&response.status) || response.status == 501,
                    "{path} {body}: {}",
                    response.text()
                );
            }
        }
    }
    // The same engine still serves.
    assert_eq!(ask(&home, "GET", "/_ping", b"").text(), "OK");
    home.holm(&["run", "--rm", "busybox", "true"]).ok();
}
