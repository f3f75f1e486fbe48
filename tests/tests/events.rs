//! What `docker events` tells: the same as a dockerd 28 told of the same story.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::Value;

on_every_machine!(a_story_is_told_as_dockerd_tells_it);

/// Type, action, whom, and attributes; ids are `<id>`. What belongs to networks and to clean-up is left out: its order
/// among the others is nobody's promise.
const TOLD: &str = "\
image pull busybox:latest name=busybox
container create <id> image=busybox name=evc team=red
container rename <id> image=busybox name=evd oldName=/evc team=red
container start <id> image=busybox name=evd team=red
container exec_create: true  <id> execID=<id> image=busybox name=evd team=red
container exec_start: true  <id> execID=<id> image=busybox name=evd team=red
container exec_die <id> execID=<id> exitCode=0 image=busybox name=evd team=red
container exec_create: nosuchprogram  <id> execID=<id> image=busybox name=evd team=red
container exec_start: nosuchprogram  <id> execID=<id> image=busybox name=evd team=red
container exec_create: sh -c exit 3 <id> execID=<id> image=busybox name=evd team=red
container exec_start: sh -c exit 3 <id> execID=<id> image=busybox name=evd team=red
container exec_die <id> execID=<id> exitCode=3 image=busybox name=evd team=red
container pause <id> image=busybox name=evd team=red
container unpause <id> image=busybox name=evd team=red
container update <id> image=busybox name=evd team=red
container export <id> image=busybox name=evd team=red
image create sha256:<id> a=b name=sha256:<id> team=red
image tag sha256:<id> a=b name=evimg:1 team=red
container commit <id> comment= image=busybox imageID=sha256:<id> imageRef=evimg:1 name=evd team=red
image tag sha256:<id> a=b name=evimg:2 team=red
image untag sha256:<id> a=b name=sha256:<id> team=red
image untag sha256:<id> a=b name=sha256:<id> team=red
image delete sha256:<id> name=sha256:<id>
container kill <id> image=busybox name=evd signal=10 team=red
";

fn a_story_is_told_as_dockerd_tells_it(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let run = |words: &str| home.holm(&words.split(' ').collect::<Vec<_>>());
    run("pull -q busybox").ok();
    home.holm(&[
        "create",
        "--name",
        "evc",
        "--label",
        "team=red",
        "busybox",
        "sh",
        "-c",
        "trap : USR1; sleep 1000",
    ])
    .ok();
    run("rename evc evd").ok();
    run("start evd").ok();
    run("exec evd true").ok();
    run("exec evd nosuchprogram").fails_with(127);
    home.holm(&["exec", "evd", "sh", "-c", "exit 3"]).fails_with(3);
    run("pause evd").ok();
    run("unpause evd").ok();
    run("update --restart no evd").ok();
    let archive = home.path().join("evd.tar");
    home.holm(&["export", "-o", archive.to_str().unwrap(), "evd"]).ok();
    // Of a container that runs on, as its pausing is told too.
    home.holm(&["commit", "-p=false", "-c", "LABEL a=b", "evd", "evimg:1"]).ok();
    run("tag evimg:1 evimg:2").ok();
    run("rmi evimg:2").ok();
    run("rmi evimg:1").ok();
    run("kill -s USR1 evd").ok();

    let until = home.holm(&["events", "--since", "1", "--until", "0s", "--format", "json"]).ok();
    let told: String = until.lines().filter_map(line).collect();
    assert_eq!(told, TOLD);
    // Filters take what is kept as well as what comes.
    let only = ["events", "--since", "1", "--until", "0s", "--format", "{{.Action}}", "-f"];
    let filtered = |filter: &str| home.holm(&[&only[..], &[filter]].concat()).ok();
    assert_eq!(filtered("event=rename"), "rename\n");
    assert_eq!(filtered("type=image").lines().count(), 7);
    assert_eq!(filtered("label=a=b").lines().count(), 5);
    assert_eq!(filtered("scope=swarm"), "");
    run("rm -f evd").ok();
}

fn line(event: &str) -> Option<String> {
    let event: Value = serde_json::from_str(event).unwrap();
    let (kind, action) = (event["Type"].as_str().unwrap(), event["Action"].as_str().unwrap());
    if kind == "network" {
        return None;
    }
    let attributes = event["Actor"]["Attributes"].as_object().unwrap();
    let attributes: Vec<String> =
        attributes.iter().map(|(key, value)| format!("{key}={}", known(value.as_str().unwrap()))).collect();
    Some(format!(
        "{kind} {action} {} {}\n",
        known(event["Actor"]["ID"].as_str().unwrap()),
        attributes.join(" ")
    ))
}

/// An id is another one in each run.
fn known(text: &str) -> String {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    if id.len() == 64 { text.replace(id, "<id>") } else { text.to_owned() }
}
