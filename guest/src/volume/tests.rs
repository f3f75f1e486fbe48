use super::mounted::is_mounted;
use super::*;

fn volumes() -> (tempfile::TempDir, Volumes) {
    let folder = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(folder.path()).unwrap();
    (folder, volumes)
}

fn named(name: &str) -> CreateVolume {
    CreateVolume { name: Some(name.to_owned()), ..CreateVolume::default() }
}

fn create(
    volumes: &Volumes,
    wish: CreateVolume,
    keeper: Option<&str>,
) -> Result<(Arc<Volume>, bool), String> {
    volumes.create(wish, || Ok([0xab; 32]), keeper).map_err(|error| error.to_string())
}

#[test]
fn a_volume_is_there_after_a_restart_with_all_that_was_said_of_it() {
    let (folder, volumes) = volumes();
    let labels = Some(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    let (made, new) = create(&volumes, CreateVolume { labels, ..named("db") }, None).unwrap();
    assert!(new);
    fs::write(volumes.data(&made.name).join("file"), b"kept").unwrap();
    drop(volumes);
    let volumes = Volumes::open(folder.path()).unwrap();
    assert_eq!(volumes.list(), std::slice::from_ref(&made));
    assert_eq!(fs::read(volumes.data(&made.name).join("file")).unwrap(), b"kept");
}

#[test]
fn a_name_that_is_taken_is_the_volume_that_has_it() {
    let (_folder, volumes) = volumes();
    let first = create(&volumes, named("db"), None).unwrap().0;
    assert_eq!(create(&volumes, named("db"), None).unwrap(), (first, false));
}

#[test]
fn a_volume_that_nobody_names_is_anonymous() {
    let (_folder, volumes) = volumes();
    let (made, _) = create(&volumes, CreateVolume::default(), None).unwrap();
    assert_eq!(made.name.as_str(), "ab".repeat(32));
    assert!(made.is_anonymous());
    assert!(!create(&volumes, named("db"), None).unwrap().0.is_anonymous());
}

#[test]
fn a_volume_stays_for_as_long_as_somebody_keeps_it() {
    let (folder, volumes) = volumes();
    let name = create(&volumes, named("db"), Some("one")).unwrap().0.name.clone();
    volumes.keep(&name, "two").unwrap();
    assert_eq!(volumes.keepers(&name), 2);
    let refused = |volumes: &Volumes| volumes.remove("db").unwrap_err().to_string();
    assert_eq!(refused(&volumes), "remove db: volume is in use - [one, two]");
    volumes.release(&name, "one");
    assert_eq!(refused(&volumes), "remove db: volume is in use - [two]");
    volumes.release(&name, "two");
    volumes.remove("db").unwrap();
    assert_eq!(volumes.remove("db").unwrap_err().to_string(), "get db: no such volume");
    assert_eq!(volumes.get("db").unwrap_err().to_string(), "get db: no such volume");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_made_is_refused_in_dockers_words() {
    let (_folder, volumes) = volumes();
    let refused = |wish| create(&volumes, wish, None).unwrap_err();
    assert!(refused(named("a/b")).starts_with("create a/b: \"a/b\" includes invalid characters"));
    assert_eq!(
        refused(CreateVolume { driver: "rexray".to_owned(), ..named("db") }),
        "create db: error looking up volume plugin rexray: plugin \"rexray\" not found"
    );
    let options = Some(BTreeMap::from([("o".to_owned(), "ro".to_owned())]));
    assert_eq!(
        refused(CreateVolume { options, ..named("db") }),
        "create db: missing required option: \"device\""
    );
    assert!(volumes.list().is_empty());
}

#[test]
fn half_made_and_half_removed_volumes_go_and_damaged_ones_stay_on_disk() {
    let (folder, volumes) = volumes();
    create(&volumes, named("db"), None).unwrap();
    fs::create_dir_all(folder.path().join("half/_data")).unwrap();
    fs::create_dir(folder.path().join("torn")).unwrap();
    fs::write(folder.path().join("torn/volume.json"), b"{").unwrap();
    let volumes = Volumes::open(folder.path()).unwrap();
    let names: Vec<_> = volumes.list().iter().map(|volume| volume.name.to_string()).collect();
    assert_eq!(names, ["db"]);
    assert!(!folder.path().join("half").exists() && folder.path().join("torn").exists());
}

#[test]
fn a_file_system_is_mounted_for_its_first_user_and_gone_after_its_last() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts: run it as root");
    let (_folder, volumes) = volumes();
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=64k,mode=700")]
        .map(|(k, v)| (k.into(), v.into()));
    let wish = CreateVolume { options: Some(options.into()), ..named("scratch") };
    let name = create(&volumes, wish, None).unwrap().0.name.clone();
    let file = volumes.data(&name).join("file");
    // A mount namespace of this thread's own: a test that fails leaves nothing mounted.
    let mounted = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private =
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        volumes.mount(&name, "one", None).unwrap();
        volumes.mount(&name, "two", None).unwrap();
        fs::write(&file, b"there").unwrap();
        assert_eq!(
            volumes.remove("scratch").unwrap_err().to_string(),
            "remove scratch: volume is in use - [one, two]"
        );
        volumes.unmount(&name, "one").unwrap();
        assert!(file.exists());
        volumes.unmount(&name, "two").unwrap();
        assert!(!file.exists());
        volumes.mount(&name, "three", None).unwrap();
        volumes.table().get_mut(&name).unwrap().mounted_by.clear();
        volumes.unmount_leftovers();
        assert!(!is_mounted(&volumes.data(&name)));
    });
    mounted.join().unwrap();
}

#[test]
fn a_folder_of_the_computers_is_refused_where_it_cannot_be_seen() {
    let (_folder, volumes) = volumes();
    let options = [("type", "none"), ("device", "/srv"), ("o", "bind")].map(|(k, v)| (k.into(), v.into()));
    let wish = CreateVolume { options: Some(options.into()), ..named("srv") };
    let name = create(&volumes, wish, None).unwrap().0.name.clone();
    assert!(matches!(volumes.mount(&name, "one", None), Err(MountError::HostFolder(_))));
}
