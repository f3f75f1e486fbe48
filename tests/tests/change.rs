//! What a client changes of a container that exists: its name, its limits, its restart policy.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, Response, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::Value;

on_every_machine!(a_renamed_container_answers_to_its_new_name_alone, limits_and_policies_change_and_are_kept,);

fn post(home: &Home, path: &str, body: &str) -> Response {
    let stream = UnixStream::connect(home.socket()).unwrap();
    let content_type = (!body.is_empty()).then_some("application/json");
    let request = Request { method: "POST", host: "docker", path, content_type, body: body.as_bytes() };
    exchange(stream, &request).unwrap()
}

fn message(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["message"].as_str().unwrap_or_default().to_owned()
}

fn inspect(home: &Home, name: &str, template: &str) -> String {
    home.holm(&["inspect", "--format", template, name]).line()
}

fn a_renamed_container_answers_to_its_new_name_alone(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let id = home.holm(&["run", "-d", "--name", "isle", "busybox", "sleep", "1000"]).line();
    home.holm(&["create", "--name", "other", "busybox"]).ok();

    let taken = post(&home, "/containers/isle/rename?name=other", "");
    assert_eq!(taken.status, 409);
    assert!(
        message(&taken).starts_with(
            "Error when allocating new name: Conflict. The container name \"/other\" is already in use by container \""
        ),
        "{}",
        message(&taken)
    );
    for (path, status, words) in [
        ("isle/rename?name=", 400, "Neither old nor new names may be empty"),
        ("isle/rename?name=/isle", 400, "Renaming a container with the same name as its current name"),
        ("nobody/rename?name=x1", 404, "No such container: nobody"),
        (
            "isle/rename?name=-",
            400,
            "Error when allocating new name: Invalid container name (-), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
    ] {
        let refused = post(&home, &format!("/containers/{path}"), "");
        assert_eq!((refused.status, message(&refused).as_str()), (status, words), "{path}");
    }

    assert_eq!(post(&home, "/containers/isle/rename?name=holm", "").status, 204);
    assert_eq!(inspect(&home, "holm", "{{.Id}} {{.Name}}"), format!("{id} /holm"));
    home.holm(&["inspect", "isle"]).fails_with(1);
    // The name is anybody's now.
    home.holm(&["create", "--name", "isle", "busybox"]).ok();
    let events = home.holm(&["events", "--since", "1h", "--until", "0s", "--filter", "event=rename"]).ok();
    assert!(events.contains("name=holm, oldName=/isle"), "{events}");

    home.holm(&["machine", "restart"]).ok();
    assert_eq!(inspect(&home, "holm", "{{.Id}}"), id);
}

fn limits_and_policies_change_and_are_kept(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let wish = r#"{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{"Memory":67108864}}"#;
    let created = post(&home, "/containers/create?name=isle", wish);
    assert_eq!(created.status, 201);
    // What the computer of a machine without its own kernel lacks is discarded, and shown nowhere.
    let limited = !created.text().contains("Limitation discarded");
    assert!(limited || machine == Machine::Process, "{}", created.text());
    home.holm(&["start", "isle"]).ok();
    let swap = inspect(&home, "isle", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}");
    assert_eq!(swap, if limited { "67108864 134217728" } else { "0 -1" });
    let update = |body: &str| post(&home, "/containers/isle/update", body);

    let changed = update(
        r#"{"Memory":134217728,"MemorySwap":134217728,"PidsLimit":77,"CpuShares":512,
            "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}"#,
    );
    assert_eq!(changed.status, 200, "{}", changed.text());
    let limits = "{{.HostConfig.Memory}} {{json .HostConfig.PidsLimit}} {{.HostConfig.CpuShares}}";
    let expected = if limited { "134217728 77 512" } else { "0 null 0" };
    let policy = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(inspect(&home, "isle", limits), expected);
    assert_eq!(inspect(&home, "isle", policy), "on-failure:3");
    let id = inspect(&home, "isle", "{{.Id}}");
    // Its own view is of its own cgroup; only one that shares the machine's sees another's.
    let script =
        format!("cd /sys/fs/cgroup/docker/{id} && cat memory.max memory.swap.max pids.max cpu.weight");
    let wish = serde_json::json!({
        "Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": { "CgroupnsMode": "host" },
    });
    assert_eq!(post(&home, "/containers/create?name=eye", &wish.to_string()).status, 201);
    let seen = || home.holm(&["start", "-a", "eye"]).ok();
    if machine == Machine::Qemu {
        assert!(seen().ends_with("134217728\n0\n77\n20\n"));
    }

    for (body, status, words) in [
        (r#"{"Memory":1}"#, 400, "Minimum memory limit allowed is 6MB"),
        (
            r#"{"Memory":1073741824}"#,
            409,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            r#"{"RestartPolicy":{"Name":"sometimes"}}"#,
            400,
            "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
    ] {
        if status == 409 && !limited {
            continue;
        }
        let refused = update(body);
        assert_eq!(refused.status, status, "{body}");
        assert!(message(&refused).ends_with(words), "{}", message(&refused));
    }

    home.holm(&["machine", "restart"]).ok();
    assert_eq!(inspect(&home, "isle", limits), expected);
    home.holm(&["start", "isle"]).ok();
    if machine == Machine::Qemu {
        assert!(seen().ends_with("134217728\n0\n77\n20\n"));
    }
}
