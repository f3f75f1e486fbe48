use serde_json::json;

use super::*;
use crate::image::fake::{FakeRegistry, Fault, digest_of, gzip, layer, open, settings};
use crate::image::{ContainerUse, RemoveError, Removed};

/// A store, a registry, and what was told.
struct Ground {
    folder: tempfile::TempDir,
    images: Images,
    registry: FakeRegistry,
}

impl Ground {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path(), settings());
        Self { folder, images, registry: FakeRegistry::start().await }
    }

    async fn pull(&self, rest: &str) -> (Result<Digest, PullError>, Vec<PullProgress>) {
        self.pull_as(&self.registry.reference(rest), RegistryAuth::Anonymous).await
    }

    async fn pull_as(
        &self,
        reference: &str,
        auth: RegistryAuth,
    ) -> (Result<Digest, PullError>, Vec<PullProgress>) {
        let platform = Some("linux/amd64".parse().unwrap());
        let request = PullRequest { reference: reference.parse().unwrap(), platform, auth };
        let (sender, mut receiver) = mpsc::channel(4);
        let told = async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        };
        let pulled = async {
            let sender = sender;
            self.images.pull(request, sender).await
        };
        tokio::join!(pulled, told)
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(folder)).unwrap().count()
    }

    /// Nothing half-made anywhere, and no image.
    fn assert_nothing_kept(&self) {
        assert_eq!((self.count("images/tmp"), self.count("layers/tmp")), (0, 0));
        assert_eq!((self.count("images/records"), self.count("layers/sha256")), (0, 0));
        assert!(self.images.list().is_empty());
    }
}

fn one_layer() -> Vec<(Vec<u8>, Vec<u8>)> {
    // Random enough not to shrink to nothing.
    let data: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let tar = layer("file", &data);
    vec![(tar.clone(), gzip(&tar))]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_tells_what_docker_tells_and_keeps_what_came() {
    let ground = Ground::new().await;
    let (a, b) = (layer("a", b"1"), layer("b", b"22"));
    let layers =
        [(a.clone(), gzip(&a)), (b.clone(), zstd::encode_all(&b[..], 1).unwrap()), (a.clone(), gzip(&a))];
    let (id, manifest) = ground.registry.image("1", &layers);
    let digest = digest_of(manifest.to_string().as_bytes());
    let (pulled, told) = ground.pull("app:1").await;
    assert_eq!(pulled.unwrap(), id);

    let image = ground.images.find(&ground.registry.reference("app:1")).unwrap();
    assert_eq!((image.id(), image.size()), (id, 4));
    assert_eq!(image.repo_tags(), [ground.registry.reference("app:1")]);
    assert_eq!(image.repo_digests(), [ground.registry.reference(&format!("app@{digest}"))]);
    assert_eq!(image.config().config.cmd.as_deref(), Some(&["/app".to_owned()][..]));
    assert_eq!(
        std::fs::read(ground.folder.path().join("images/blobs/sha256").join(digest.hex())).unwrap(),
        manifest.to_string().into_bytes()
    );

    assert_eq!(
        told[0],
        PullProgress::PullingFrom { repository: "app".to_owned(), tag_or_digest: "1".to_owned() }
    );
    let of_layer = |bytes: &[u8]| {
        let short = digest_of(bytes).short();
        let layer = told.iter().filter_map(move |event| match event {
            PullProgress::Layer { id, status } if *id == short => Some(status.text()),
            _ => None,
        });
        layer.filter(|text| !matches!(*text, "Downloading" | "Extracting" | "Waiting")).collect::<Vec<_>>()
    };
    assert_eq!(
        of_layer(&layers[1].1),
        ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    );
    let status = format!("Downloaded newer image for {}", ground.registry.reference("app:1"));
    assert_eq!(told[told.len() - 2..], [PullProgress::Digest(digest), PullProgress::Status(status)]);

    let (again, told) = ground.pull("app:1").await;
    assert_eq!(again.unwrap(), id);
    let status = format!("Image is up to date for {}", ground.registry.reference("app:1"));
    assert_eq!(told.last(), Some(&PullProgress::Status(status)));
    let layers = told.iter().filter(|event| matches!(event, PullProgress::Layer { .. }));
    assert!(layers.clone().count() == 3);
    for event in layers {
        assert!(matches!(event, PullProgress::Layer { status: LayerStatus::AlreadyExists, .. }));
    }
    assert_eq!(ground.registry.asked("/blobs/").len(), 3, "one configuration and two layers, once each");
    assert_eq!((ground.count("images/tmp"), ground.count("layers/tmp")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_is_there_after_a_restart_and_strays_are_not() {
    let ground = Ground::new().await;
    let (id, _) = ground.registry.image("1", &one_layer());
    ground.pull("app:1").await.0.unwrap();
    let stray = Digest::from_bytes([9; 32]);
    std::fs::write(ground.folder.path().join("images/tmp/left"), "half").unwrap();
    std::fs::write(ground.folder.path().join("images/blobs/sha256").join(stray.hex()), "").unwrap();
    std::fs::create_dir(ground.folder.path().join("layers/sha256").join(stray.hex())).unwrap();
    let images = open(ground.folder.path(), settings());
    let image = images.find(&ground.registry.reference("app:1")).unwrap();
    assert_eq!(image.id(), id);
    assert_eq!((ground.count("images/tmp"), ground.count("layers/sha256")), (0, 1));
    assert_eq!(ground.count("images/blobs/sha256"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_followed_to_the_image_for_this_platform() {
    let ground = Ground::new().await;
    let (id, manifest) = ground.registry.image("amd64", &one_layer());
    let bytes = manifest.to_string();
    let entry = |architecture: &str, digest: Digest| {
        json!({"mediaType": manifest["mediaType"], "digest": digest.to_string(), "size": bytes.len(),
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry("arm64", Digest::from_bytes([1; 32])), entry("amd64", digest_of(bytes.as_bytes()))]});
    let digest = ground.registry.manifest("multi", &index);
    let (pulled, told) = ground.pull("app:multi").await;
    assert_eq!(pulled.unwrap(), id);
    assert!(told.contains(&PullProgress::Digest(digest)));
    let (pulled, _) = ground.pull(&format!("app@{digest}")).await;
    assert_eq!(pulled.unwrap(), id);

    let endless = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry("amd64", Digest::from_bytes([1; 32]))]});
    ground.registry.manifest("wrong", &endless);
    ground.registry.serve(
        &format!("/v2/app/manifests/{}", Digest::from_bytes([1; 32])),
        "application/vnd.oci.image.manifest.v1+json",
        bytes,
    );
    let told = ground.pull("app:wrong").await.0.unwrap_err();
    assert!(matches!(told, PullError::ManifestDigest(_)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_taken_up_where_it_broke() {
    let ground = Ground::new().await;
    let layers = one_layer();
    let (id, _) = ground.registry.image("1", &layers);
    let path = ground.registry.blob(&layers[0].1);
    // More breaks than attempts: each gets further, and only attempts that do not are counted.
    let breaks = [1000, 2000, 3000, 4000].map(Fault::CloseAfter);
    ground.registry.fail(&path, breaks);
    assert_eq!(ground.pull("app:1").await.0.unwrap(), id);
    let ranges: Vec<_> =
        ground.registry.asked(&path).iter().map(|asked| asked.headers.get("range").cloned()).collect();
    let at = |offset: usize| Some(format!("bytes={offset}-"));
    assert_eq!(ranges, [None, at(1000), at(3000), at(6000), at(10_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_ranges_is_read_again_from_the_start() {
    let ground = Ground::new().await;
    let layers = one_layer();
    let (id, _) = ground.registry.image("1", &layers);
    let path = ground.registry.blob(&layers[0].1);
    ground.registry.fail(&path, [Fault::CloseAfter(5000), Fault::NoRanges]);
    assert_eq!(ground.pull("app:1").await.0.unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_layer_is_told_and_leaves_nothing_behind() {
    let layers = one_layer();
    let blob = digest_of(&layers[0].1);
    let size = layers[0].1.len();
    let name = |ground: &Ground| ground.registry.address.to_string();
    type Expected = Box<dyn Fn(&Ground) -> String>;
    let cases: Vec<(Vec<Fault>, Expected)> = vec![
        (
            vec![Fault::Garbled],
            Box::new(move |_| format!("filesystem layer verification failed for digest {blob}")),
        ),
        (
            vec![Fault::CloseAfter(0); 3],
            Box::new(move |g| {
                format!("{} closed the connection after 0 of {size} bytes of {blob}: unexpected EOF", name(g))
            }),
        ),
        (
            vec![Fault::StallAfter(0), Fault::StallAfter(0), Fault::StallAfter(0)],
            Box::new(move |g| format!("{} sent nothing for 0 seconds in the middle of {blob}", name(g))),
        ),
        (
            vec![Fault::Answer(200, "", "short".to_owned())],
            Box::new(move |_| format!("{blob} has another size than its manifest says: 5 bytes, not {size}")),
        ),
        (vec![Fault::Answer(404, "", String::new())], Box::new(|_| "unknown blob".to_owned())),
        (
            vec![Fault::Answer(500, "", String::new()); 3],
            Box::new(|_| "received unexpected HTTP status: 500 Internal Server Error".to_owned()),
        ),
    ];
    for (faults, expected) in cases {
        let ground = Ground::new().await;
        let (id, _) = ground.registry.image("1", &layers);
        let path = ground.registry.blob(&layers[0].1);
        ground.registry.fail(&path, faults.clone());
        let told = ground.pull("app:1").await.0.unwrap_err();
        assert_eq!(told.to_string(), expected(&ground), "{faults:?}");
        ground.assert_nothing_kept();
        assert_eq!(ground.pull("app:1").await.0.unwrap(), id, "the next pull works");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_goes_on_for_longer_than_promised_is_cut_off() {
    let ground = Ground::new().await;
    let layers = one_layer();
    ground.registry.image("1", &layers);
    ground.registry.fail(&ground.registry.blob(&layers[0].1), [Fault::Endless]);
    let told = ground.pull("app:1").await.0.unwrap_err();
    assert!(matches!(told, PullError::Size { got, expected, .. } if got > expected), "{told}");
    ground.assert_nothing_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_what_its_image_says_or_leaves_its_place_is_refused() {
    for (tar, other, expected) in [
        (layer("a", b"1"), Some(layer("b", b"2")), "failed to register layer: the layer unpacks to sha256:"),
        (
            b"no tar at all, but long enough to be one".repeat(40),
            None,
            "failed to register layer: archive/tar: invalid tar header",
        ),
        (Vec::from([1; 100]), None, "failed to register layer: unexpected EOF"),
    ] {
        let ground = Ground::new().await;
        ground.registry.image("1", &[(tar.clone(), gzip(other.as_ref().unwrap_or(&tar)))]);
        let told = ground.pull("app:1").await.0.unwrap_err().to_string();
        assert!(told.starts_with(expected), "{told}");
        ground.assert_nothing_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_dockers_words() {
    let error =
        |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    for (status, headers, body, expected, kind) in [
        (
            404,
            "",
            error("MANIFEST_UNKNOWN", "manifest unknown"),
            "manifest for REF:1 not found: manifest unknown: manifest unknown",
            PullErrorKind::NotFound,
        ),
        (
            404,
            "",
            String::new(),
            "manifest for REF:1 not found: manifest unknown: manifest unknown",
            PullErrorKind::NotFound,
        ),
        (
            404,
            "",
            error("NAME_UNKNOWN", "repository name not known to registry"),
            "repository REF not found: name unknown: repository name not known to registry",
            PullErrorKind::NotFound,
        ),
        (
            403,
            "",
            error("DENIED", "requested access to the resource is denied"),
            "pull access denied for REF, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            PullErrorKind::NotFound,
        ),
        (
            401,
            "www-authenticate: Other realm=x\r\n",
            error("UNAUTHORIZED", "authentication required"),
            "unauthorized: authentication required",
            PullErrorKind::Unauthorized,
        ),
        (
            429,
            "",
            error("TOOMANYREQUESTS", "You have reached your pull rate limit."),
            "toomanyrequests: You have reached your pull rate limit.",
            PullErrorKind::System,
        ),
        (
            429,
            "retry-after: 3600\r\n",
            String::new(),
            "toomanyrequests: too many requests",
            PullErrorKind::System,
        ),
        (418, "", String::new(), "received unexpected HTTP status: 418 I'm a teapot", PullErrorKind::System),
    ] {
        let ground = Ground::new().await;
        ground.registry.fail("/v2/app/manifests/1", [Fault::Answer(status, headers, body)]);
        let told = ground.pull("app:1").await.0.unwrap_err();
        assert_eq!(told.to_string(), expected.replace("REF", &ground.registry.reference("app")));
        assert_eq!(told.kind(), kind, "{told}");
        ground.assert_nothing_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_for_a_pause_gets_it_and_then_answers() {
    let ground = Ground::new().await;
    let (id, _) = ground.registry.image("1", &one_layer());
    let busy = Fault::Answer(429, "retry-after: 0\r\n", String::new());
    ground.registry.fail("/v2/app/manifests/1", [busy.clone(), busy]);
    assert_eq!(ground.pull("app:1").await.0.unwrap(), id);
    assert_eq!(ground.registry.asked("/manifests/1").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_and_with_the_password() {
    let ground = Ground::new().await;
    let (id, _) = ground.registry.image("1", &one_layer());
    ground.registry.serve("/token", "application/json", r#"{"token":"granted"}"#);
    ground.registry.require("Bearer granted");
    let auth = RegistryAuth::Basic { username: "me".into(), password: "secret".into() };
    assert_eq!(ground.pull_as(&ground.registry.reference("app:1"), auth).await.0.unwrap(), id);
    let tokens = ground.registry.asked("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].headers["authorization"], "Basic bWU6c2VjcmV0");
    assert_eq!(tokens[0].path, "/token?scope=repository%3Aapp%3Apull&service=fake&account=me");

    let (told, _) = ground.pull("app:1").await;
    assert_eq!(told.unwrap(), id, "anonymous tokens are granted too");
    assert_eq!(ground.registry.asked("/token")[1].headers.get("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sent_where_it_is_asked_for() {
    let ground = Ground::new().await;
    let (id, _) = ground.registry.image("1", &one_layer());
    ground.registry.require("Basic bWU6c2VjcmV0");
    let basic = |password: &str| RegistryAuth::Basic { username: "me".into(), password: password.into() };
    let reference = ground.registry.reference("app:1");
    let told = ground.pull_as(&reference, basic("wrong")).await.0.unwrap_err();
    assert_eq!(told.to_string(), "unauthorized: authentication required");
    assert!(told.hint().unwrap().contains("log in"));
    assert_eq!(ground.pull_as(&reference, basic("secret")).await.0.unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_asked_in_order_and_never_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, full) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let mut settings = settings();
    settings.registries.mirrors = [&empty, &full].map(|mirror| format!("http://{}", mirror.address)).into();
    let images = open(folder.path(), settings);
    let (id, _) = full.image_of("library/app", "1", &one_layer());
    let ground = Ground { folder, images, registry: full };
    let auth = RegistryAuth::Basic { username: "me".into(), password: "secret".into() };
    assert_eq!(ground.pull_as("app:1", auth).await.0.unwrap(), id);
    assert_eq!(empty.asked("/v2/library/app/manifests/1").len(), 1);
    assert_eq!(ground.images.find("app:1").unwrap().repo_tags(), ["app:1"]);
    for asked in ground.registry.asked("").iter().chain(&empty.asked("")) {
        assert_eq!(asked.headers.get("authorization"), None, "{}", asked.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_loses_the_token() {
    let ground = Ground::new().await;
    let storage = FakeRegistry::start().await;
    let layers = one_layer();
    let (id, _) = ground.registry.image("1", &layers);
    storage.serve("/signed", "", layers[0].1.clone());
    ground.registry.serve("/token", "application/json", r#"{"access_token":"granted"}"#);
    ground.registry.require("Bearer granted");
    let location: &'static str = format!("location: http://{}/signed?x=1\r\n", storage.address).leak();
    let path = ground.registry.blob(&layers[0].1);
    ground.registry.fail(&path, [Fault::Answer(307, location, String::new())]);
    assert_eq!(ground.pull("app:1").await.0.unwrap(), id);
    assert_eq!(storage.asked("/signed")[0].headers.get("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_registrys_address_is_told_like_docker_tells_it() {
    let ground = Ground::new().await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let told = ground.pull_as(&format!("{gone}/app"), RegistryAuth::Anonymous).await.0.unwrap_err();
    assert_eq!(
        told.to_string(),
        format!("Get \"https://{gone}/v2/\": dial tcp {gone}: connect: connection refused")
    );
    assert_eq!(told.hint().unwrap(), format!("check that a registry listens at {gone}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_without_tls_costs_one_try_of_tls() {
    let ground = Ground::new().await;
    let (id, _) = ground.registry.image("1", &one_layer());
    assert_eq!(ground.pull("app:1").await.0.unwrap(), id);
    assert_eq!(ground.registry.hellos(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_of_one_layer_share_its_download_and_survive_each_other() {
    let ground = Ground::new().await;
    let layers = one_layer();
    ground.registry.image("1", &layers);
    ground.registry.image("2", &layers);
    let path = ground.registry.blob(&layers[0].1);
    let go_on = Arc::new(tokio::sync::Notify::new());
    ground.registry.fail(&path, [Fault::Wait(go_on.clone())]);
    let request = |tag: &str| PullRequest {
        reference: ground.registry.reference(tag).parse().unwrap(),
        platform: Some("linux/amd64".parse().unwrap()),
        auth: RegistryAuth::Anonymous,
    };
    let (sender, mut told) = mpsc::channel(64);
    let first = tokio::spawn({
        let (images, request) = (ground.images.clone(), request("app:1"));
        async move { images.pull(request, sender).await }
    });
    while !matches!(told.recv().await.unwrap(), PullProgress::Layer { .. }) {}
    let (sender, mut told) = mpsc::channel(64);
    let second = tokio::spawn({
        let (images, request) = (ground.images.clone(), request("app:2"));
        async move { images.pull(request, sender).await }
    });
    while !matches!(
        told.recv().await.unwrap(),
        PullProgress::Layer { status: LayerStatus::Downloading { .. }, .. }
    ) {}
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    go_on.notify_one();
    second.await.unwrap().unwrap();
    assert_eq!(ground.registry.asked(&path).len(), 1);
    assert!(ground.images.find(&ground.registry.reference("app:1")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_follows_dockers_rules() {
    let ground = Ground::new().await;
    let (id, manifest) = ground.registry.image("1", &one_layer());
    let digest = digest_of(manifest.to_string().as_bytes());
    let name = |rest: &str| ground.registry.reference(rest);
    let reference = |rest: &str| name(rest).parse::<Reference>().unwrap();
    ground.pull("app:1").await.0.unwrap();
    let image = ground.images.find(&name("app:1")).unwrap();
    let layers = image.diff_ids();
    ground.images.tag(id, reference("other:2")).await.unwrap();
    let user = |running| ContainerUse {
        container: holm_api::ContainerId::from_bytes([1; 32]),
        image: id,
        layers: layers.clone(),
        running,
    };

    let by_id = ground.images.remove(&id.to_string(), false, vec![]).await.unwrap_err();
    assert_eq!(
        by_id.to_string(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            id.short()
        )
    );
    let untagged = ground.images.remove(&name("other:2"), false, vec![user(true)]).await.unwrap();
    assert_eq!(untagged, [Removed::Untagged(reference("other:2"))]);
    let last = ground.images.remove(&name("app:1"), false, vec![user(false)]).await.unwrap_err();
    assert!(matches!(last, RemoveError::NameInUse { .. }));
    assert!(last.to_string().contains("(must force) - container 010101010101 is using its referenced image"));
    let running = ground.images.remove(&id.short(), true, vec![user(true)]).await.unwrap_err();
    assert_eq!(
        running.to_string(),
        format!(
            "conflict: unable to delete {} (cannot be forced) - image is being used by running container 010101010101",
            id.short()
        )
    );

    let forced = ground.images.remove(&name("app:1"), true, vec![user(false)]).await.unwrap();
    let names =
        [Removed::Untagged(reference("app:1")), Removed::Untagged(reference(&format!("app@{digest}")))];
    assert_eq!(forced, [&names[..], &[Removed::Deleted(id)]].concat(), "its container keeps the layer");
    assert_eq!(ground.count("layers/sha256"), 1);
    assert_eq!(ground.count("images/blobs/sha256"), 0);

    ground.pull("app:1").await.0.unwrap();
    let all = ground.images.remove(&id.hex(), false, vec![]).await.unwrap();
    assert_eq!(all, [&names[..], &[Removed::Deleted(id), Removed::Deleted(layers[0])]].concat());
    ground.assert_nothing_kept();
    let gone = ground.images.remove("nothing:7", false, vec![]).await.unwrap_err();
    assert_eq!(gone.to_string(), "No such image: nothing:7");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_found_by_everything_that_names_it() {
    let ground = Ground::new().await;
    let (id, manifest) = ground.registry.image("latest", &one_layer());
    let digest = digest_of(manifest.to_string().as_bytes());
    ground.pull("app").await.0.unwrap();
    let name = |rest: &str| ground.registry.reference(rest);
    for text in [
        id.to_string(),
        id.hex(),
        id.short(),
        id.hex()[..3].to_owned(),
        format!("sha256:{}", id.short()),
        name("app"),
        name("app:latest"),
        name(&format!("app@{digest}")),
    ] {
        assert_eq!(ground.images.find(&text).map(|image| image.id()), Ok(id), "{text}");
    }
    let told = |text: &str| ground.images.find(text).unwrap_err().to_string();
    assert_eq!(told("nothing"), "No such image: nothing:latest");
    assert_eq!(
        told("Nothing"),
        "invalid reference format: repository name (library/Nothing) must be lowercase"
    );
    let other = Digest::from_bytes([7; 32]).to_string();
    assert_eq!(told(&other), format!("No such image: {other}"));
}
