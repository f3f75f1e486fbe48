//! What a client says of mounts, taken apart: `source:target:mode`, and the structured form (moby,
//! `daemon/volume/mounts`). Nothing here looks at the disk.

use std::collections::BTreeMap;

use holm_api::models::{Mount, MountBindOptionsPropagationEnum as PropagationName, MountType};

use super::tmpfs;
use super::{Bind, Propagation};
use crate::engine::EngineError;

/// A mount that a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Absolute and clean.
    pub(super) destination: String,
    pub(super) what: What,
    pub(super) writable: bool,
    /// As it was written, for inspect.
    pub(super) mode: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Bind(Bind),
    Volume(WantedVolume),
    Tmpfs {
        /// As mount(8) takes them.
        options: String,
    },
    Image {
        reference: String,
        /// A folder or file in it; empty for all of it.
        subpath: String,
    },
}

/// A volume, which may not be there yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WantedVolume {
    /// `None`: an anonymous one.
    pub(super) name: Option<String>,
    pub(super) driver: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) options: Option<BTreeMap<String, String>>,
    /// A folder in it; empty for all of it.
    pub(super) subpath: String,
    /// Whether an empty one gets what the image has at its place.
    pub(super) copies: bool,
}

/// The word after the second colon of `-v`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mode {
    read_only: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
}

/// `-v`: `/in`, `name:/in`, `/host:/in`, each but the first with a mode. What is none, moby takes for a fault of its
/// own, and so do we: clients tell 400 from 500.
pub(super) fn bind(raw: &str, driver: &str) -> Result<Wanted, EngineError> {
    let invalid = || EngineError::Internal(format!("invalid volume specification: '{raw}'"));
    let parts = parts(raw);
    let (source, target, mode) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [_, mode] if Mode::parse(mode).is_some() => return Err(invalid()),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(invalid()),
    };
    if parts.first().is_none_or(|first| first.is_empty()) {
        return Err(invalid());
    }
    let parsed = Mode::parse(mode).ok_or_else(|| EngineError::Internal(format!("invalid mode: {mode}")))?;
    let destination = destination(target).map_err(|why| {
        let kind = if is_path(source) { "bind" } else { "volume" };
        EngineError::Internal(format!(
            "invalid volume specification: '{raw}': invalid mount config for type {kind:?}: {why}"
        ))
    })?;
    let what = if is_path(source) {
        What::Bind(Bind {
            source: cleaned(source),
            creates: true,
            propagation: parsed.propagation.unwrap_or_default(),
            ..Bind::default()
        })
    } else {
        if parsed.propagation.is_some() {
            return Err(EngineError::Internal(format!(
                "invalid volume specification: '{raw}': invalid mount config for type \"volume\": field BindOptions must not be specified"
            )));
        }
        What::Volume(WantedVolume {
            name: (!source.is_empty()).then(|| source.to_owned()),
            driver: driver.to_owned(),
            copies: !parsed.no_copy,
            ..WantedVolume::default()
        })
    };
    Ok(Wanted { destination, what, writable: !parsed.read_only, mode: mode.to_owned() })
}

/// `source:target:mode`, where a drive letter's colon belongs to the source: no volume has a name of one letter.
fn parts(raw: &str) -> Vec<&str> {
    let drive = if has_drive(raw) { 2 } else { 0 };
    let (drive, rest) = raw.split_at(drive);
    let mut parts: Vec<&str> = rest.splitn(4, ':').collect();
    if let Some(first) = parts.first_mut() {
        *first = &raw[..drive.len() + first.len()];
    }
    parts
}

/// `C:\\` or `C:/`.
fn has_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}

/// Whether it is a path of the computer's: of its own system, or of Windows, which the host decides.
fn is_path(source: &str) -> bool {
    source.starts_with('/') || source.starts_with(r"\\") || has_drive(source)
}

/// A path of Windows stays as it was written.
fn cleaned(source: &str) -> String {
    if source.starts_with('/') { clean(source) } else { source.to_owned() }
}

/// The structured form. Whether a folder to bind exists is not asked here.
pub(super) fn mount(mount: &Mount) -> Result<Wanted, EngineError> {
    let kind = mount.typ;
    let refuse = |why: String| {
        let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
        EngineError::Invalid(format!("invalid mount config for type {kind:?}: {why}"))
    };
    check_exclusive(mount, kind).map_err(EngineError::Invalid)?;
    let target = mount.target.as_deref().unwrap_or_default();
    if target.is_empty() {
        return Err(refuse("field Target must not be empty".to_owned()));
    }
    let destination = destination(target).map_err(refuse)?;
    let writable = mount.read_only != Some(true);
    let source = mount.source.clone().unwrap_or_default();
    let (what, mode) = match kind {
        Some(MountType::BIND) => (What::Bind(structured_bind(mount, source).map_err(refuse)?), ""),
        // moby shows this mode of every volume, as if SELinux were on.
        Some(MountType::VOLUME) => (What::Volume(structured_volume(mount, source).map_err(refuse)?), "z"),
        Some(MountType::TMPFS) => {
            if !source.is_empty() {
                return Err(refuse("field Source must not be specified".to_owned()));
            }
            let options = tmpfs::structured(mount.tmpfs_options.as_ref(), !writable).map_err(refuse)?;
            (What::Tmpfs { options }, "")
        }
        Some(MountType::IMAGE) => (structured_image(mount, source).map_err(refuse)?, ""),
        _ => return Err(refuse("mount type unknown".to_owned())),
    };
    // Nobody writes into an image.
    let writable = writable && !matches!(what, What::Image { .. });
    Ok(Wanted { destination, what, writable, mode: mode.to_owned() })
}

fn check_exclusive(mount: &Mount, kind: Option<MountType>) -> Result<(), String> {
    let shown = kind.map_or_else(String::new, |kind| kind.to_string());
    let extra = |field: &str| Err(format!("{field} must not be specified on mount type {shown:?}"));
    if kind != Some(MountType::BIND) && mount.bind_options.is_some() {
        return extra("BindOptions");
    }
    if kind != Some(MountType::VOLUME) && mount.volume_options.is_some() {
        return extra("VolumeOptions");
    }
    if kind != Some(MountType::IMAGE) && mount.image_options.is_some() {
        return extra("ImageOptions");
    }
    if kind != Some(MountType::TMPFS) && mount.tmpfs_options.is_some() {
        return extra("TmpfsOptions");
    }
    Ok(())
}

fn structured_bind(mount: &Mount, source: String) -> Result<Bind, String> {
    if source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    if !is_path(&source) {
        return Err(format!("invalid mount path: '{source}' mount path must be absolute"));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    let read_only = mount.read_only == Some(true);
    let (flat, forced) =
        (options.read_only_non_recursive == Some(true), options.read_only_force_recursive == Some(true));
    match (read_only, flat, forced) {
        (false, true, _) => {
            return Err("mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive".to_owned());
        }
        (false, _, true) => {
            return Err("mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive".to_owned());
        }
        (_, true, true) => {
            return Err("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
                .to_owned());
        }
        _ => {}
    }
    Ok(Bind {
        source: cleaned(&source),
        creates: options.create_mountpoint == Some(true),
        propagation: match options.propagation {
            Some(PropagationName::PRIVATE) => Propagation::Private,
            Some(PropagationName::SHARED) => Propagation::Shared,
            Some(PropagationName::RSHARED) => Propagation::RecursiveShared,
            Some(PropagationName::SLAVE) => Propagation::Slave,
            Some(PropagationName::RSLAVE) => Propagation::RecursiveSlave,
            Some(PropagationName::RPRIVATE | PropagationName::EMPTY) | None => Propagation::RecursivePrivate,
        },
        flat: options.non_recursive == Some(true),
        read_only_top: flat,
    })
}

fn structured_volume(mount: &Mount, source: String) -> Result<WantedVolume, String> {
    let options = mount.volume_options.clone().unwrap_or_default();
    let subpath = options.subpath.unwrap_or_default();
    if !subpath.is_empty() {
        if source.is_empty() {
            return Err("must not set Subpath when using anonymous volumes".to_owned());
        }
        if !is_local(&subpath) {
            return Err("subpath must be a relative path within the volume".to_owned());
        }
    }
    let driver = options.driver_config.unwrap_or_default();
    Ok(WantedVolume {
        name: (!source.is_empty()).then_some(source),
        driver: driver.name.unwrap_or_default(),
        labels: options.labels.map(|labels| labels.into_iter().collect()),
        options: driver.options.map(|options| options.into_iter().collect()),
        subpath,
        copies: options.no_copy != Some(true),
    })
}

fn structured_image(mount: &Mount, source: String) -> Result<What, String> {
    if source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let subpath =
        mount.image_options.as_ref().and_then(|options| options.subpath.clone()).unwrap_or_default();
    if !is_local(&subpath) {
        return Err("subpath must be a relative path within the volume".to_owned());
    }
    Ok(What::Image { reference: source, subpath })
}

/// The place of a folder that an image, or `-v` with nothing but a target, wants to be a volume.
pub(super) fn anonymous(target: &str) -> Wanted {
    let volume = WantedVolume { copies: true, ..WantedVolume::default() };
    Wanted { destination: clean(target), what: What::Volume(volume), writable: true, mode: String::new() }
}

/// `--volumes-from`: a container, and whether its volumes may be written to.
pub(super) fn volumes_from(text: &str) -> Result<(&str, bool), EngineError> {
    if text.is_empty() {
        return Err(EngineError::Invalid("volumes-from specification cannot be an empty string".to_owned()));
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    match Mode::parse(mode) {
        Some(Mode { read_only, no_copy: false, propagation: None }) => Ok((container, !read_only)),
        _ => Err(EngineError::Invalid(format!("invalid mode: {mode}"))),
    }
}

/// A mount's place: absolute, clean, and not the root.
pub(super) fn destination(target: &str) -> Result<String, String> {
    let clean = clean(target);
    if clean == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    if !target.starts_with('/') {
        return Err(format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    if target.contains('\0') {
        return Err("invalid mount path: a path holds no NUL".to_owned());
    }
    Ok(clean)
}

/// As Go's `path.Clean` writes an absolute path.
pub(in crate::engine) fn clean(path: &str) -> String {
    let mut clean: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    if path.starts_with('/') { format!("/{}", clean.join("/")) } else { clean.join("/") }
}

/// Go's `filepath.IsLocal`: by its text, it never leaves where it starts.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i32;
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    !path.starts_with('/') && !path.contains('\0')
}

impl Mode {
    /// `None` where it is no mode. Labels and consistency mean nothing here, as on most hosts.
    fn parse(text: &str) -> Option<Self> {
        let mut mode = Self::default();
        let mut seen = [0; 5];
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let kind = match word {
                "ro" | "rw" => {
                    mode.read_only = word == "ro";
                    0
                }
                "z" | "Z" => 1,
                "nocopy" => {
                    mode.no_copy = true;
                    2
                }
                "consistent" | "cached" | "delegated" => 3,
                other => {
                    mode.propagation = Some(Propagation::parse(other)?);
                    4
                }
            };
            seen[kind] += 1;
        }
        seen.iter().all(|count| *count <= 1).then_some(mode)
    }
}

#[cfg(test)]
mod tests {
    use holm_api::models::{MountBindOptions, MountImageOptions, MountTmpfsOptions, MountVolumeOptions};

    use super::*;

    fn refused(raw: &str) -> String {
        bind(raw, "").unwrap_err().to_string()
    }

    fn volume(wanted: &Wanted) -> &WantedVolume {
        match &wanted.what {
            What::Volume(volume) => volume,
            other => panic!("no volume: {other:?}"),
        }
    }

    #[test]
    fn one_to_three_parts_are_a_target_a_source_and_a_mode() {
        let one = bind("/data", "").unwrap();
        assert_eq!((one.destination.as_str(), volume(&one).name.as_deref()), ("/data", None));
        let named = bind("db:/var/../data/:ro,nocopy", "").unwrap();
        assert_eq!((named.destination.as_str(), named.writable), ("/data", false));
        assert_eq!((volume(&named).name.as_deref(), volume(&named).copies), (Some("db"), false));
        let host = bind("/srv//a:/data:rslave,z", "").unwrap();
        let What::Bind(found) = host.what else { panic!("no bind") };
        assert_eq!((found.source.as_str(), found.propagation), ("/srv/a", Propagation::RecursiveSlave));
        assert!(found.creates);
    }

    #[test]
    fn a_path_of_windows_is_a_source_with_a_colon_of_its_own() {
        for (raw, source, writable) in [
            (r"C:\Users\me:/data", r"C:\Users\me", true),
            ("c:/Users/me:/data:ro", "c:/Users/me", false),
            ("//c/Users/me:/data", "/c/Users/me", true),
        ] {
            let wanted = bind(raw, "").unwrap();
            let What::Bind(found) = wanted.what else { panic!("no bind: {raw}") };
            assert_eq!((found.source.as_str(), wanted.destination.as_str()), (source, "/data"));
            assert_eq!(wanted.writable, writable);
        }
    }

    #[test]
    fn what_is_no_volume_is_refused_in_mobys_words() {
        for raw in ["", ":/data", "/data:rw", "a:b:c:d", "/a:/b:ro:rw"] {
            assert_eq!(refused(raw), format!("invalid volume specification: '{raw}'"));
        }
        assert_eq!(refused("/a:/b:wr"), "invalid mode: wr");
        assert_eq!(refused("/a:/b:ro,rw"), "invalid mode: ro,rw");
        assert_eq!(
            refused("/a:/"),
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"
        );
        assert_eq!(
            refused("a1:b"),
            "invalid volume specification: 'a1:b': invalid mount config for type \"volume\": invalid mount path: 'b' mount path must be absolute"
        );
    }

    #[test]
    fn a_structured_mount_has_only_what_belongs_to_its_type() {
        let of = |typ, change: fn(&mut Mount)| {
            let mut wish = Mount {
                typ: Some(typ),
                target: Some("/data".to_owned()),
                source: (typ == MountType::BIND).then(|| "/srv".to_owned()),
                ..Mount::default()
            };
            change(&mut wish);
            mount(&wish).map_err(|error| error.to_string())
        };
        assert!(of(MountType::VOLUME, |_| {}).is_ok());
        assert!(of(MountType::BIND, |_| {}).is_ok());
        assert_eq!(
            of(MountType::VOLUME, |wish| wish.bind_options = Some(MountBindOptions::default())),
            Err("BindOptions must not be specified on mount type \"volume\"".to_owned())
        );
        assert_eq!(
            of(MountType::BIND, |wish| wish.source = None),
            Err("invalid mount config for type \"bind\": field Source must not be empty".to_owned())
        );
        assert_eq!(
            of(MountType::BIND, |wish| wish.target = None),
            Err("invalid mount config for type \"bind\": field Target must not be empty".to_owned())
        );
        assert_eq!(
            of(MountType::TMPFS, |wish| wish.source = Some("a".to_owned())),
            Err("invalid mount config for type \"tmpfs\": field Source must not be specified".to_owned())
        );
        assert_eq!(
            of(MountType::VOLUME, |wish| {
                wish.volume_options =
                    Some(MountVolumeOptions { subpath: Some("a".to_owned()), ..Default::default() });
            }),
            Err(
                "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes"
                    .to_owned()
            )
        );
        assert_eq!(
            of(MountType::NPIPE, |_| {}),
            Err("invalid mount config for type \"npipe\": mount type unknown".to_owned())
        );
        let Ok(Wanted { what: What::Tmpfs { options }, .. }) = of(MountType::TMPFS, |wish| {
            wish.tmpfs_options = Some(MountTmpfsOptions {
                size_bytes: Some(64 << 20),
                mode: Some(0o1770),
                ..Default::default()
            });
        }) else {
            panic!("no tmpfs")
        };
        assert_eq!(options, "mode=1770,size=64m");
    }

    #[test]
    fn an_image_is_read_and_never_written() {
        let of = |source: &str, subpath: &str| {
            mount(&Mount {
                typ: Some(MountType::IMAGE),
                target: Some("/data".to_owned()),
                source: Some(source.to_owned()),
                image_options: Some(MountImageOptions { subpath: Some(subpath.to_owned()) }),
                ..Mount::default()
            })
        };
        let wanted = of("busybox", "bin").unwrap();
        assert!(!wanted.writable);
        let image = What::Image { reference: "busybox".to_owned(), subpath: "bin".to_owned() };
        assert_eq!(wanted.what, image);
        assert_eq!(
            of("", "").unwrap_err().to_string(),
            "invalid mount config for type \"image\": field Source must not be empty"
        );
        assert_eq!(
            of("busybox", "../etc").unwrap_err().to_string(),
            "invalid mount config for type \"image\": subpath must be a relative path within the volume"
        );
    }

    #[test]
    fn a_subpath_stays_in_its_volume() {
        for path in ["a", "a/../b", "./a/b/"] {
            assert!(is_local(path), "{path}");
        }
        for path in ["/a", "..", "a/../../b", "../a"] {
            assert!(!is_local(path), "{path}");
        }
    }

    #[test]
    fn volumes_come_from_a_container_read_only_or_not() {
        assert_eq!(volumes_from("web").unwrap(), ("web", true));
        assert_eq!(volumes_from("web:ro").unwrap(), ("web", false));
        assert_eq!(volumes_from("web:nocopy").unwrap_err().to_string(), "invalid mode: nocopy");
        assert_eq!(volumes_from("web:rslave").unwrap_err().to_string(), "invalid mode: rslave");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_text_is_a_mount_or_refused_and_no_place_leaves_the_root() {
        bolero::check!().with_type::<(String, String)>().for_each(|(text, other)| {
            for raw in [text.clone(), format!("{text}:/{other}"), format!("/{text}:/{other}:ro")] {
                if let Ok(wanted) = bind(&raw, "") {
                    let mut parts = wanted.destination.split('/');
                    assert_eq!(parts.next(), Some(""));
                    assert!(parts.all(|part| !matches!(part, "" | "." | "..")), "{}", wanted.destination);
                }
            }
            let _ = volumes_from(text);
        });
    }
}
