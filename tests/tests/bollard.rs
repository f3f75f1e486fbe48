//! bollard, the Rust library, tells its story through our socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
    DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions, StatsOptionsBuilder, WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{StreamExt, TryStreamExt};
use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use tokio::io::AsyncWriteExt;

on_every_machine!(a_program_with_bollard_finds_what_it_expects);

/// Seconds that one request may take.
const PATIENCE: u64 = 120;

fn a_program_with_bollard_finds_what_it_expects(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    let socket = home.socket().display().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let docker = Docker::connect_with_unix(&socket, PATIENCE, API_DEFAULT_VERSION).unwrap();
        tell(&docker.negotiate_version().await.unwrap()).await;
    });
}

async fn tell(docker: &Docker) {
    let pull = CreateImageOptionsBuilder::new().from_image("busybox").tag("latest").build();
    docker.create_image(Some(pull), None, None).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(docker.inspect_image("busybox").await.unwrap().os.as_deref(), Some("linux"));
    let volume = VolumeCreateRequest { name: Some("store".to_owned()), ..Default::default() };
    assert_eq!(docker.create_volume(volume).await.unwrap().name, "store");

    let named = CreateContainerOptionsBuilder::new().name("isle").build();
    let body = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(["sh", "-c", "read line; echo got $line; exec sleep 1000"].map(str::to_owned).to_vec()),
        open_stdin: Some(true),
        host_config: Some(HostConfig { binds: Some(vec!["store:/data".to_owned()]), ..Default::default() }),
        ..Default::default()
    };
    let id = docker.create_container(Some(named), body).await.unwrap().id;
    let attach = AttachContainerOptionsBuilder::new().stdin(true).stdout(true).stream(true).build();
    let mut attached = docker.attach_container("isle", Some(attach)).await.unwrap();
    docker.start_container("isle", None).await.unwrap();
    attached.input.write_all(b"this\n").await.unwrap();
    assert_eq!(attached.output.next().await.unwrap().unwrap().to_string(), "got this\n");
    let logs = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let logs: Vec<_> = docker.logs("isle", Some(logs)).try_collect().await.unwrap();
    assert_eq!(logs.iter().map(ToString::to_string).collect::<String>(), "got this\n");

    let list = ListContainersOptionsBuilder::new().all(true).build();
    let list = docker.list_containers(Some(list)).await.unwrap();
    assert_eq!(list[0].names.as_deref(), Some(["/isle".to_owned()].as_slice()));
    assert_eq!(list[0].id.as_deref(), Some(id.as_str()));
    execute(docker).await;

    let measure = StatsOptionsBuilder::new().stream(false).build();
    let stats = docker.stats("isle", Some(measure)).next().await.unwrap().unwrap();
    assert_eq!(stats.id.as_deref(), Some(id.as_str()));
    let fetch = DownloadFromContainerOptionsBuilder::new().path("/data/note").build();
    let tar: Vec<_> = docker.download_from_container("isle", Some(fetch)).try_collect().await.unwrap();
    assert!(tar.concat().windows(5).any(|bytes| bytes == b"kept\n"));

    docker.kill_container("isle", None).await.unwrap();
    let waiting = WaitContainerOptionsBuilder::new().condition("not-running").build();
    // A status that is not 0 is an error to bollard.
    let ended = docker.wait_container("isle", Some(waiting)).next().await.unwrap();
    assert!(
        matches!(ended, Err(bollard::errors::Error::DockerContainerWaitError { code: 137, .. })),
        "{ended:?}"
    );
    let remove = RemoveContainerOptionsBuilder::new().v(true).build();
    docker.remove_container("isle", Some(remove)).await.unwrap();
    let gone = docker.inspect_container("isle", None).await.unwrap_err();
    let told = matches!(&gone, bollard::errors::Error::DockerResponseServerError { status_code: 404, message }
        if message == "No such container: isle");
    assert!(told, "{gone:?}");
    docker.remove_volume("store", None::<RemoveVolumeOptions>).await.unwrap();
}

async fn execute(docker: &Docker) {
    let config = ExecConfig {
        cmd: Some(["sh", "-c", "echo kept | tee /data/note; exit 4"].map(str::to_owned).to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let exec = docker.create_exec("isle", config).await.unwrap().id;
    let started = docker.start_exec(&exec, None::<StartExecOptions>).await.unwrap();
    let StartExecResults::Attached { output, .. } = started else { panic!("not attached") };
    let output: Vec<_> = output.try_collect().await.unwrap();
    assert_eq!(output.iter().map(ToString::to_string).collect::<String>(), "kept\n");
    assert_eq!(docker.inspect_exec(&exec).await.unwrap().exit_code, Some(4));
}
