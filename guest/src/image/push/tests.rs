use super::fake::Uploads;
use super::*;
use crate::image::PullRequest;
use crate::image::fake::{FakeRegistry, digest_of, gzip, layer, open, settings};

/// A store with one image of two layers, pulled from one registry, and another registry to push to.
struct Ground {
    _folder: tempfile::TempDir,
    images: Images,
    id: Digest,
    manifest: Vec<u8>,
    /// What was sent for the layers, the lowest first.
    layers: Vec<Vec<u8>>,
    target: Uploads,
}

impl Ground {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path(), settings());
        let source = FakeRegistry::start().await;
        let noise: Vec<u8> =
            (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let tars = [layer("a", &noise), layer("b", b"small")];
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let sent: Vec<_> = tars.into_iter().zip(layers.clone()).collect();
        let (_, manifest) = source.image("1", &sent);
        let request = PullRequest {
            reference: source.reference("app:1").parse().unwrap(),
            platform: Some("linux/amd64".parse().unwrap()),
            auth: RegistryAuth::Anonymous,
        };
        let (progress, _) = mpsc::channel(1);
        let id = images.pull(request, progress).await.unwrap();
        let manifest = manifest.to_string().into_bytes();
        Self { _folder: folder, images, id, manifest, layers, target: Uploads::start().await }
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.target.address).parse().unwrap()
    }

    async fn tag(&self, rest: &str) {
        self.images.tag(self.id, self.reference(rest)).await.unwrap();
    }

    async fn push(&self, rest: &str) -> (Result<(), PushError>, Vec<PushProgress>) {
        let request =
            PushRequest { reference: self.reference(rest), platform: None, auth: RegistryAuth::Anonymous };
        let (sender, mut receiver) = mpsc::channel(64);
        let pushing = self.images.push(request, sender);
        let telling = async {
            let mut told = Vec::new();
            while let Some(progress) = receiver.recv().await {
                told.push(progress);
            }
            told
        };
        tokio::join!(pushing, telling)
    }

    fn has(&self, repository: &str, bytes: &[u8]) -> bool {
        let key = (repository.to_owned(), digest_of(bytes));
        self.target.content().blobs.get(&key).is_some_and(|blob| blob == bytes)
    }
}

fn layers(told: &[PushProgress]) -> Vec<LayerPush> {
    let statuses = told.iter().filter_map(|progress| match progress {
        PushProgress::Layer { status: LayerPush::Pushing { .. } | LayerPush::Waiting, .. } => None,
        PushProgress::Layer { status, .. } => Some(status.clone()),
        _ => None,
    });
    statuses.collect()
}

#[tokio::test]
async fn what_came_goes_on_as_it_came() {
    let ground = Ground::new().await;
    ground.tag("team/app:2").await;
    let (pushed, told) = ground.push("team/app:2").await;
    pushed.unwrap();
    for blob in &ground.layers {
        assert!(ground.has("team/app", blob));
    }
    let key = ("team/app".to_owned(), "2".to_owned());
    let (kind, manifest) = ground.target.content().manifests[&key].clone();
    assert_eq!((kind.as_str(), &manifest), (OCI_MANIFEST, &ground.manifest));
    let digest = digest_of(&manifest);
    assert_eq!(told.first(), Some(&PushProgress::RefersTo(format!("{}/team/app", ground.target.address))));
    assert_eq!(
        told.last(),
        Some(&PushProgress::Pushed { tag: "2".to_owned(), digest, size: manifest.len() })
    );
    assert_eq!(layers(&told)[..2], [LayerPush::Preparing, LayerPush::Preparing]);
    assert_eq!(layers(&told)[2..], [LayerPush::Pushed, LayerPush::Pushed]);
    let names = ground.images.get(&ground.id).unwrap().repo_digests();
    assert!(names.contains(&ground.reference("team/app").with_digest(digest).familiar()), "{names:?}");
    // Once a blob, and the configuration.
    assert_eq!(ground.target.asked("PATCH").len(), 3);

    let (again, told) = ground.push("team/app:2").await;
    again.unwrap();
    assert_eq!(layers(&told)[2..], [LayerPush::AlreadyExists, LayerPush::AlreadyExists]);
    assert_eq!(ground.target.asked("PATCH").len(), 3);
}

#[tokio::test]
async fn a_connection_that_is_lost_is_taken_up_where_the_registry_got() {
    let ground = Ground::new().await;
    ground.tag("app:1").await;
    // Both layers go at the same time, and which comes first is open: each is cut once.
    ground.target.content().cuts = vec![10, 10];
    ground.push("app:1").await.0.unwrap();
    for blob in &ground.layers {
        assert!(ground.has("app", blob));
    }
    let patches = ground.target.asked("PATCH");
    for blob in &ground.layers {
        let rest = format!(" 10-{}", blob.len() - 1);
        assert!(patches.iter().any(|patch| patch.ends_with(&rest)), "{rest} is not in {patches:?}");
    }
}

#[tokio::test]
async fn an_upload_that_the_registry_has_forgotten_begins_anew() {
    let ground = Ground::new().await;
    ground.tag("app:1").await;
    {
        let mut content = ground.target.content();
        content.cuts = vec![10, 10];
        content.forgets = true;
    }
    ground.push("app:1").await.0.unwrap();
    for blob in &ground.layers {
        assert!(ground.has("app", blob));
    }
    // Two of them twice, the configuration once.
    assert_eq!(ground.target.asked("POST").len(), 5);
}

#[tokio::test]
async fn a_registry_that_never_takes_all_of_it_is_given_up() {
    let ground = Ground::new().await;
    ground.tag("app:1").await;
    {
        let mut content = ground.target.content();
        content.cuts = vec![0; 100];
        content.forgets = true;
    }
    let error = ground.push("app:1").await.0.unwrap_err();
    assert!(
        matches!(error, PushError::Registry(RegistryError::Transport { method: "Patch", .. })),
        "{error}"
    );
    assert!(ground.target.content().manifests.is_empty());
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again() {
    let ground = Ground::new().await;
    ground.tag("app:1").await;
    ground.target.content().busy = 2;
    ground.push("app:1").await.0.unwrap();
    assert!(ground.has("app", &ground.layers[0]));
}

#[tokio::test]
async fn a_layer_is_mounted_from_where_it_is_known_to_be() {
    let ground = Ground::new().await;
    ground.tag("first:1").await;
    ground.tag("second:1").await;
    ground.tag("third:1").await;
    ground.push("first:1").await.0.unwrap();
    let (pushed, told) = ground.push("second:1").await;
    pushed.unwrap();
    let mounted = LayerPush::MountedFrom("first".to_owned());
    assert_eq!(layers(&told)[2..], [mounted.clone(), mounted]);
    assert!(ground.has("second", &ground.layers[0]));

    // Where it may not be read, the upload that the registry offers instead is used.
    ground.target.content().closed = ["first", "second"].map(str::to_owned).into();
    let posts = ground.target.asked("POST").len();
    let (pushed, told) = ground.push("third:1").await;
    pushed.unwrap();
    assert_eq!(layers(&told)[2..], [LayerPush::Pushed, LayerPush::Pushed]);
    assert_eq!(ground.target.asked("POST").len(), posts + 3);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_registrys_words() {
    let ground = Ground::new().await;
    ground.tag("app:1").await;
    let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    ground.target.content().refuses = Some((403, body.to_owned()));
    let error = ground.push("app:1").await.0.unwrap_err();
    assert_eq!(error.to_string(), "denied: requested access to the resource is denied");
    assert!(error.hint().unwrap().contains("holm login"));
}

#[tokio::test]
async fn all_tags_of_a_repository_go_in_their_order() {
    let ground = Ground::new().await;
    for name in ["app:b", "app:a", "other:c"] {
        ground.tag(name).await;
    }
    let (pushed, told) = ground.push("app").await;
    pushed.unwrap();
    let tags = told.iter().filter_map(|progress| match progress {
        PushProgress::Pushed { tag, .. } => Some(tag.as_str()),
        _ => None,
    });
    assert_eq!(tags.collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn what_is_no_image_of_ours_is_told_in_dockers_words() {
    let ground = Ground::new().await;
    ground.tag("app:1").await;
    let host = ground.target.address;
    let told = async |rest: &str| ground.push(rest).await.0.unwrap_err().to_string();
    assert_eq!(told("none:1").await, format!("An image does not exist locally with the tag: {host}/none"));
    assert_eq!(told("app:2").await, format!("tag does not exist: {host}/app:2"));
    let digest = Digest::from_bytes([1; 32]);
    assert_eq!(told(&format!("app@{digest}")).await, "cannot push a digest reference");
    assert!(ground.target.content().asked.is_empty());

    let request = PushRequest {
        reference: ground.reference("app:1"),
        platform: Some("linux/arm64".parse().unwrap()),
        auth: RegistryAuth::Anonymous,
    };
    let (progress, mut told) = mpsc::channel(1);
    let error = ground.images.push(request, progress).await.unwrap_err().to_string();
    assert!(
        error.ends_with("its platform (linux/amd64) does not match the specified platform (linux/arm64)")
    );
    assert_eq!(told.recv().await, None);
}
