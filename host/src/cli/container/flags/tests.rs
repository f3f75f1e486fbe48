//! Flags and what they make, against what Docker's command line makes of them.

use clap::{CommandFactory, FromArgMatches, Parser};
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: ContainerFlags,
}

fn try_plan(words: &[&str]) -> Result<Plan, String> {
    let command = crate::cli::flags::as_docker_reads_them(Line::command());
    let matches =
        command.try_get_matches_from([&["run"], words].concat()).map_err(|error| error.to_string())?;
    let variables = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
    let line = Line::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    line.flags.plan(&variables).map_err(|error| error.to_string())
}

fn plan(words: &[&str]) -> Plan {
    try_plan(words).unwrap()
}

fn body(words: &[&str]) -> Value {
    plan(words).body
}

fn refusal(words: &[&str]) -> String {
    match try_plan(words) {
        Ok(_) => panic!("{words:?} is accepted"),
        Err(error) => error,
    }
}

/// Fields that Docker sends of an endpoint although only the engine can fill them.
fn without_engines_fields(mut body: Value) -> Value {
    let endpoints = body["NetworkingConfig"]["EndpointsConfig"].as_object_mut();
    for endpoint in endpoints.into_iter().flat_map(|map| map.values_mut()).filter_map(Value::as_object_mut) {
        let ours = ["IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts", "GwPriority"];
        endpoint.retain(|name, _| ours.contains(&name.as_str()));
    }
    body
}

/// Recorded from Docker's command line, version 28.2, talking to a server that writes down what it is sent.
#[test]
fn every_flag_makes_the_request_that_dockers_own_makes() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("../../golden/create.json")).unwrap();
    assert!(recorded.len() > 35);
    for case in recorded {
        let words: Vec<&str> = case["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let mut ours = body(&words);
        // The size of the terminal that the tests run in is no part of the flags.
        ours["HostConfig"]["ConsoleSize"] = json!([0, 0]);
        assert_eq!(ours, without_engines_fields(case["body"].clone()), "{words:?}");
    }
}

#[test]
fn what_follows_the_image_belongs_to_the_container() {
    let body = body(&["--rm", "alpine", "ls", "-it", "--rm=x", "--", "-e"]);
    assert_eq!(body["Cmd"], json!(["ls", "-it", "--rm=x", "--", "-e"]));
    assert_eq!(body["Tty"], false);
}

#[test]
fn letters_can_be_joined_and_switches_turned_off() {
    let body = body(&["-it", "--rm=false", "--init", "--read-only", "alpine"]);
    assert_eq!(body["Tty"], true);
    assert_eq!(body["StdinOnce"], true);
    assert_eq!(body["HostConfig"]["AutoRemove"], false);
    assert_eq!(body["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(body["HostConfig"]["Init"], true);
}

#[test]
fn a_container_that_is_not_attached_says_so() {
    let plan = plan(&["-i", "alpine"]).detached();
    for field in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
        assert_eq!(plan.body[field], false, "{field}");
    }
    assert_eq!(plan.body["OpenStdin"], true);
}

#[test]
fn a_seccomp_profile_is_sent_and_not_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"x\": [1, 2]}\n").unwrap();
    let option = format!("seccomp={}", file.path().display());
    assert_eq!(
        body(&["--security-opt", &option, "alpine"])["HostConfig"]["SecurityOpt"],
        json!(["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\",\"x\":[1,2]}"])
    );
    std::fs::write(file.path(), "A=1\n").unwrap();
    assert!(
        refusal(&["--security-opt", &option, "alpine"]).starts_with("compacting json for seccomp profile")
    );
    assert_eq!(
        refusal(&["--security-opt", "seccomp=/nonexistent", "alpine"]),
        "opening seccomp profile (/nonexistent) failed: open /nonexistent: no such file or directory"
    );
}

/// Recorded as above, with the words before the empty line that Docker puts before its usage.
#[test]
fn what_docker_refuses_is_refused_in_the_same_words() {
    let recorded: Vec<Value> =
        serde_json::from_str(include_str!("../../golden/create-refused.json")).unwrap();
    assert!(recorded.len() > 90);
    for case in recorded {
        let words: Vec<&str> = case["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let said = case["stderr"].as_str().unwrap().trim_end();
        // Of a value that a flag does not take, the flag's parser has the last words.
        let said = said.strip_prefix("docker: ").unwrap_or(said);
        let why = match said.split_once("\" flag: ") {
            Some((_, why)) => why,
            None => said,
        };
        let ours = refusal(&words);
        assert!(ours.contains(why), "{words:?}\nours:   {ours}\ndocker: {said}");
    }
}
