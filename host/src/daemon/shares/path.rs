//! What a client calls a folder of this computer, in its own words: a path of this system, or one of the other forms
//! that Docker's clients have for it. Pure; whether it exists is asked elsewhere.

/// Whose paths they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    Linux,
    MacOs,
    Windows,
}

/// Bytes of the longest path that is looked at: PATH_MAX.
const LONGEST: usize = 4096;
/// Under which Docker Desktop's machine has the computer's folders; Compose files and scripts know it.
const DESKTOP: [&str; 2] = ["/host_mnt", "/run/desktop/mnt/host"];

impl HostKind {
    /// This computer's.
    pub(super) const fn here() -> Self {
        match () {
            () if cfg!(windows) => Self::Windows,
            () if cfg!(target_os = "macos") => Self::MacOs,
            () => Self::Linux,
        }
    }
}

/// Why text is no path of this computer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::daemon) enum PathError {
    #[error("mount path must be absolute")]
    Relative,
    #[error("a path of Windows on a computer that has another system")]
    OfWindows,
    #[error("a folder of the network: give it a drive letter, or mount it in the container")]
    Network,
    #[error("a path holds no NUL and at most {LONGEST} bytes")]
    Unusable,
}

/// The path as this system writes it, without `.` and `..`.
pub(super) fn native(kind: HostKind, text: &str) -> Result<String, PathError> {
    if text.len() > LONGEST || text.contains('\0') {
        return Err(PathError::Unusable);
    }
    if let Some((drive, rest)) = with_drive(text) {
        return match kind {
            HostKind::Windows => Ok(windows(drive, rest)),
            HostKind::Linux | HostKind::MacOs => Err(PathError::OfWindows),
        };
    }
    match kind {
        HostKind::Linux => absolute(text),
        HostKind::MacOs => absolute(text).map(|path| under(&path, &DESKTOP[..1]).unwrap_or(path)),
        HostKind::Windows if text.starts_with(r"\\") => Err(PathError::Network),
        HostKind::Windows => {
            let text = text.replace('\\', "/");
            let path = absolute(&text)?;
            // `/mnt/c` is what WSL calls it, `/c` and `//c` what Git's shell does.
            let path = under(&path, &[DESKTOP[0], DESKTOP[1], "/mnt"]).unwrap_or(path);
            let (drive, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
            match drive.as_bytes() {
                [letter] if letter.is_ascii_alphabetic() => Ok(windows(*letter, rest)),
                _ => Err(PathError::Relative),
            }
        }
    }
}

/// `C:\Users`, `C:/Users`: the letter, and what comes after the colon.
fn with_drive(text: &str) -> Option<(u8, &str)> {
    match text.as_bytes() {
        [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => Some((*letter, &text[2..])),
        _ => None,
    }
}

fn windows(drive: u8, rest: &str) -> String {
    let rest = clean(&rest.replace('\\', "/")).join("\\");
    format!("{}:\\{rest}", char::from(drive.to_ascii_uppercase()))
}

fn absolute(text: &str) -> Result<String, PathError> {
    if !text.starts_with('/') {
        return Err(PathError::Relative);
    }
    Ok(format!("/{}", clean(text).join("/")))
}

/// What is below one of the folders, as an absolute path.
fn under(path: &str, folders: &[&str]) -> Option<String> {
    let below = |folder: &&str| path.strip_prefix(folder).filter(|rest| rest.starts_with('/'));
    folders.iter().find_map(below).map(str::to_owned)
}

fn clean(path: &str) -> Vec<&str> {
    let mut clean = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_windows_folder_is_the_same_folder() {
        for text in [
            r"C:\Users\me",
            r"c:\Users\.\me\x\..",
            "C:/Users/me",
            "/c/Users/me",
            "//c/Users/me",
            "/C/Users//me/",
            "/mnt/c/Users/me",
            "/host_mnt/c/Users/me",
            "/run/desktop/mnt/host/c/Users/me",
        ] {
            assert_eq!(native(HostKind::Windows, text).as_deref(), Ok(r"C:\Users\me"), "{text}");
        }
        assert_eq!(native(HostKind::Windows, "/d").as_deref(), Ok(r"D:\"));
    }

    #[test]
    fn what_names_no_drive_is_nothing_on_windows() {
        for text in ["/home/me", "relative", "/mnt", ""] {
            assert_eq!(native(HostKind::Windows, text), Err(PathError::Relative), "{text}");
        }
        assert_eq!(native(HostKind::Windows, r"\\server\share"), Err(PathError::Network));
    }

    #[test]
    fn on_macos_desktops_own_name_for_a_folder_is_understood() {
        assert_eq!(native(HostKind::MacOs, "/Users/me/../you").as_deref(), Ok("/Users/you"));
        assert_eq!(native(HostKind::MacOs, "/host_mnt/Users/me").as_deref(), Ok("/Users/me"));
        assert_eq!(native(HostKind::MacOs, "/host_mntx").as_deref(), Ok("/host_mntx"));
        assert_eq!(native(HostKind::MacOs, r"C:\Users"), Err(PathError::OfWindows));
    }

    #[test]
    fn on_linux_a_path_is_what_it_says() {
        assert_eq!(native(HostKind::Linux, "/mnt/c/x/./y//").as_deref(), Ok("/mnt/c/x/y"));
        assert_eq!(native(HostKind::Linux, "/../..").as_deref(), Ok("/"));
        assert_eq!(native(HostKind::Linux, "c"), Err(PathError::Relative));
        assert_eq!(native(HostKind::Linux, "/a\0b"), Err(PathError::Unusable));
        assert_eq!(native(HostKind::Linux, &"/a".repeat(3000)), Err(PathError::Unusable));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_text_is_an_absolute_path_or_refused() {
        bolero::check!().with_type::<String>().for_each(|text| {
            for (kind, separator) in
                [(HostKind::Linux, '/'), (HostKind::MacOs, '/'), (HostKind::Windows, '\\')]
            {
                if let Ok(path) = native(kind, text) {
                    assert!(path.split(separator).skip(1).all(|name| name != ".." && name != "."), "{path}");
                }
            }
        });
    }
}
