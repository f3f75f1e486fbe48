//! Registries that do not let everybody in: passwords, tokens, certificates, and where Docker's logins are kept.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::person::Person;
use holm_tests::registry::{Guard, PASSWORD, Registry, USER};
use holm_tests::samples::ready;
use holm_tests::tokens::{Authority, IDENTITY, TokenServer};
use serde_json::{Value, json};

on_every_machine!(
    a_password_is_asked_kept_and_forgotten,
    tokens_are_granted_for_what_is_done,
    a_registry_and_its_client_show_certificates,
);

/// Keeps one login in a file.
const HELPER: &str = r#"#!/bin/sh
kept="$HOME/kept"
case "$1" in
store) cat > "$kept" ;;
get) if [ -e "$kept" ]; then cat "$kept"; else echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm -f "$kept" ;;
esac
"#;

fn config(home: &Home) -> Value {
    serde_json::from_slice(&fs::read(home.path().join(".docker/config.json")).unwrap()).unwrap()
}

/// Every file that says what happened, and none of the secrets.
fn nothing_is_told(home: &Home) {
    for name in ["run/daemon.log", "run/machine/console.log"] {
        let text = fs::read(home.path().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // In base64 as well, as headers have it: `me:s3cret-word`.
        for secret in [PASSWORD, IDENTITY, "bWU6czNjcmV0LXdvcmQ", "czNjcmV0LXdvcmQ", "Bearer ey"] {
            assert!(!text.contains(secret), "{secret} is told in {name}");
        }
    }
}

fn a_password_is_asked_kept_and_forgotten(machine: Machine) {
    let (_source, home) = ready(machine).unwrap();
    let registry = Registry::guarded(&Guard::Password).unwrap();
    let host = registry.host();
    let image = format!("{host}/app");
    home.holm(&["pull", "busybox"]).ok();
    home.holm(&["tag", "busybox", &image]).ok();

    // Nobody is let in, and nobody is kept whom the registry does not know.
    let told = home.holm(&["push", &image]).fails_with(1);
    assert!(told.starts_with("no basic auth credentials\n") && told.contains("holm login"), "{told}");
    let told = home.holm(&["login", "-u", USER, "-p", "wr0ng-word", &host]).fails_with(1);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    assert_eq!(
        lines[1],
        format!(
            "Error response from daemon: login attempt to http://{host}/v2/ failed with status: 401 Unauthorized"
        )
    );
    assert!(!told.contains("wr0ng-word") && !home.path().join(".docker/config.json").exists(), "{told}");
    let told = home.holm(&["login", &host]).fails_with(1);
    assert_eq!(told, "Error: Cannot perform an interactive login from a non TTY device\n");

    // By a person, whose password does not show.
    let mut person = Person::at(&home.command(&["login", &host])).unwrap();
    person.sees("Username: ").unwrap();
    person.types(format!("{USER}\n").as_bytes()).unwrap();
    person.sees("Password: ").unwrap();
    person.types(format!("{PASSWORD}\n").as_bytes()).unwrap();
    let (status, screen) = person.leaves().unwrap();
    assert!(status == 0 && screen.contains("Login Succeeded") && !screen.contains(PASSWORD), "{screen}");
    assert!(screen.contains("WARNING! Your credentials are stored unencrypted in "), "{screen}");
    let kept = json!({ "auths": { &*host: { "auth": "bWU6czNjcmV0LXdvcmQ=" } } });
    assert_eq!(config(&home), kept);
    let mode = fs::metadata(home.path().join(".docker/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // One file of logins for both clients, and whatever pulls sends them along.
    home.holm(&["push", &image]).ok();
    home.docker(&["push", &image]).ok();
    home.holm(&["rmi", &image]).ok();
    assert_eq!(home.holm(&["run", "--rm", &image, "echo", "ashore"]).ok(), "ashore\n");
    let again = home.holm(&["login", &host]);
    assert!(
        again.stderr.starts_with("Authenticating with existing credentials... [Username: me]\n"),
        "{again}"
    );
    assert_eq!(again.ok(), "Login Succeeded\n");
    assert_eq!(home.holm(&["logout", &host]).ok(), format!("Removing login credentials for {host}\n"));
    assert_eq!(config(&home), json!({ "auths": {} }));
    home.holm(&["pull", &image]).fails_with(1);
    let piped = home.docker(&["login", "-u", USER, "-p", PASSWORD, &host]);
    assert_eq!(piped.ok(), "Login Succeeded\n");
    home.holm(&["pull", &image]).ok();

    // With a helper, nothing but the server's name is in the file.
    let programs = tempfile::tempdir().unwrap();
    install(programs.path(), "docker-credential-tests");
    fs::write(home.path().join(".docker/config.json"), r#"{"credsStore":"tests"}"#).unwrap();
    let with_helper = |arguments: &[&str], input: &str| {
        let mut command = home.command(arguments);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", programs.path().display()));
        holm_tests::command::run(command, input.as_bytes())
    };
    let login = with_helper(&["login", "-u", USER, "--password-stdin", &host], &format!("{PASSWORD}\n"));
    assert!(login.stderr.is_empty(), "{login}");
    assert_eq!(login.ok(), "Login Succeeded\n");
    assert_eq!(config(&home), json!({ "credsStore": "tests", "auths": { &*host: {} } }));
    with_helper(&["push", &image], "").ok();
    let told = home.holm(&["push", &image]).fails_with(1);
    assert!(
        told.starts_with("error getting credentials - err: exec: \"docker-credential-tests\": executable file not found in $PATH, out: ``"),
        "{told}"
    );
    with_helper(&["logout", &host], "").ok();
    assert!(!home.path().join("kept").exists());
    nothing_is_told(&home);
}

fn install(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::write(&path, HELPER).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn tokens_are_granted_for_what_is_done(machine: Machine) {
    let (_source, home) = ready(machine).unwrap();
    let server = TokenServer::start().unwrap();
    let registry = Registry::guarded(&Guard::Tokens(&server)).unwrap();
    let host = registry.host();
    let [first, second] = ["team/first", "team/second"].map(|name| format!("{host}/{name}"));
    home.holm(&["pull", "busybox"]).ok();
    for name in [&first, &second] {
        home.holm(&["tag", "busybox", name]).ok();
    }
    let wrong = home.holm_with_input(&["login", "-u", USER, "--password-stdin", &host], b"wr0ng-word\n");
    let told = wrong.fails_with(1);
    let words = format!(
        "Error response from daemon: Get \"http://{host}/v2/\": unauthorized: incorrect username or password\n"
    );
    assert!(told.starts_with(&words), "{told}");

    // The password is exchanged for a token, and only that is kept.
    let login = home.holm_with_input(&["login", "-u", USER, "--password-stdin", &host], PASSWORD.as_bytes());
    assert_eq!(login.ok(), "Login Succeeded\n");
    let entry = json!({ "auth": "bWU6", "identitytoken": IDENTITY });
    assert_eq!(config(&home)["auths"][&*host], entry);

    home.holm(&["push", &first]).ok();
    assert!(
        server.asked().contains(&"POST repository:team/first:push,pull".to_owned()),
        "{:?}",
        server.asked()
    );
    let told = home.holm(&["push", &second]).ok();
    assert!(told.contains(": Mounted from team/first\n"), "{told} {:?}", server.asked());
    assert!(server.asked().iter().any(|asked| asked.contains("team/first:pull")), "{:?}", server.asked());
    home.holm(&["rmi", &first]).ok();
    home.docker(&["pull", &first]).ok();
    home.docker(&["push", &first]).ok();
    home.docker(&["logout", &host]).ok();
    let told = home.holm(&["push", &second]).fails_with(1);
    assert!(told.contains("unauthorized"), "{told}");
    nothing_is_told(&home);
}

fn a_registry_and_its_client_show_certificates(machine: Machine) {
    let (_source, home) = ready(machine).unwrap();
    let authority = Authority::new().unwrap();
    let registry = Registry::guarded(&Guard::Certificates(&authority)).unwrap();
    // What is called loopback might show anything; by this name it has to show who it is.
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let host = format!("host.docker.internal:{port}");
    let image = format!("{host}/app");
    home.holm(&["pull", "busybox"]).ok();
    home.holm(&["tag", "busybox", &image]).ok();
    let told = home.holm(&["push", &image]).fails_with(1);
    assert!(told.contains("x509: certificate signed by unknown authority"), "{told}");
    assert!(told.contains("certs.d"), "{told}");

    let folder = home.path().join("certs.d").join(&host);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("ca.crt"), authority.certificate()).unwrap();
    home.holm(&["machine", "restart"]).ok();
    let told = home.holm(&["push", &image]).fails_with(1);
    assert!(told.contains("tls: "), "without a certificate to show: {told}");

    let own = authority.issue("me").unwrap();
    fs::write(folder.join("client.cert"), own.certificate).unwrap();
    fs::write(folder.join("client.key"), &own.key).unwrap();
    home.holm(&["machine", "restart"]).ok();
    home.holm(&["push", &image]).ok();
    home.holm(&["rmi", &image]).ok();
    assert_eq!(home.holm(&["run", "--rm", &image, "echo", "ashore"]).ok(), "ashore\n");
    // Its second line, since the first is the same in every key.
    let key = own.key.lines().nth(1).unwrap();
    for name in ["run/daemon.log", "run/machine/console.log"] {
        let text = fs::read(home.path().join(name)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(key), "the key is told in {name}");
    }
}
