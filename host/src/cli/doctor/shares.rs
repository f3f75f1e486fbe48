//! Folders, files and sockets of this computer that containers have mounted: whether each is still what it was,
//! whether it may be written to where that was asked for, and whether somebody serves and watches it.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::rules::{Check, Verdict, check};
use crate::cli::environment::SharedPath;
use crate::cli::output::table::short_id;

const NAME: &str = "shares";
/// How long this computer may take to look at one: a network's server may be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is at a share's path by now.
#[derive(Debug)]
struct Look {
    /// Or why nothing is.
    there: io::Result<Option<(u64, u64)>>,
    writable: io::Result<()>,
}

/// Looks at each, and tells of the first that is worst.
pub(super) async fn check_all(shares: Vec<SharedPath>) -> Check {
    let mut looked = Vec::new();
    for share in shares {
        let path = share.path.clone();
        let looking = tokio::task::spawn_blocking(move || look(Path::new(&path)));
        let look = match timeout(PATIENCE, looking).await {
            Ok(Ok(look)) => look,
            Ok(Err(panicked)) => silent(&io::Error::other(panicked)),
            Err(_) => silent(&io::Error::other(format!("no answer within {} s", PATIENCE.as_secs()))),
        };
        looked.push((share, look));
    }
    verdict(&looked)
}

fn look(path: &Path) -> Look {
    let there = std::fs::metadata(path).map(|metadata| crate::os::identity(&metadata));
    Look { there, writable: crate::os::may_write(path) }
}

fn silent(error: &io::Error) -> Look {
    Look { there: Err(io::Error::other(error.to_string())), writable: Ok(()) }
}

fn verdict(looked: &[(SharedPath, Look)]) -> Check {
    let found: Vec<Check> = looked.iter().filter_map(|(share, look)| trouble(share, look)).collect();
    let worst = found.iter().find(|one| one.verdict == Verdict::Wrong).or(found.first());
    if let Some(worst) = worst {
        let others = found.len() - 1;
        let more = if others > 0 { format!("; {others} more are not well") } else { String::new() };
        return Check { found: format!("{}{more}", worst.found), ..worst.clone() };
    }
    match looked {
        [] => check(NAME, Verdict::Fine, "containers have nothing of this computer mounted", ""),
        [(share, _)] => {
            check(NAME, Verdict::Fine, format!("{} is there, served and watched", share.path), "")
        }
        all => check(NAME, Verdict::Fine, format!("{} paths are there, served and watched", all.len()), ""),
    }
}

/// What is wrong with one, if anything.
fn trouble(share: &SharedPath, look: &Look) -> Option<Check> {
    let path = &share.path;
    let users: Vec<&str> = share.containers.iter().map(|id| short_id(id)).collect();
    let restart = format!("type `holm restart {}`", users.join(" "));
    let tell = |verdict, found: String, advice: String| Some(check(NAME, verdict, found, advice));
    let identity = match &look.there {
        Ok(identity) => identity,
        Err(error) => {
            let found = format!("{path} is gone, and containers have it mounted: {error}");
            return tell(Verdict::Wrong, found, format!("make it again, and {restart}"));
        }
    };
    if share.identity.is_some() && share.identity != *identity {
        let found = format!("{path} was replaced, and containers still have the old one");
        return tell(Verdict::Doubtful, found, restart);
    }
    let has_files = share.kind != "socket";
    if has_files && !share.served {
        return tell(Verdict::Wrong, format!("nobody serves {path} to the machine"), restart);
    }
    if let (Err(error), true, false) = (&look.writable, has_files, share.read_only) {
        let found = format!("{path} was shared to be written to, and you may not: {error}");
        return tell(Verdict::Wrong, found, "change its permissions, or bind it with `:ro`".to_owned());
    }
    if has_files && !share.watched {
        let found = format!("this computer tells nothing of changes in {path}: containers see them late");
        let advice = "look for `cannot be watched` in daemon.log; too many programs may watch files already";
        return tell(Verdict::Doubtful, found, advice.to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(path: &str) -> SharedPath {
        SharedPath {
            path: path.to_owned(),
            kind: "folder".to_owned(),
            identity: Some((1, 2)),
            served: true,
            watched: true,
            containers: vec!["0123456789abcdef".repeat(4)],
            ..SharedPath::default()
        }
    }

    fn well() -> Look {
        Look { there: Ok(Some((1, 2))), writable: Ok(()) }
    }

    fn told(share: SharedPath, look: Look) -> (Verdict, String, String) {
        let told = verdict(&[(share, look)]);
        (told.verdict, told.found, told.advice)
    }

    #[test]
    fn what_is_there_served_and_watched_is_fine() {
        assert_eq!(verdict(&[]).verdict, Verdict::Fine);
        assert_eq!(
            verdict(&[(share("/a"), well()), (share("/b"), well())]).found,
            "2 paths are there, served and watched"
        );
        let socket = SharedPath {
            kind: "socket".into(),
            identity: None,
            watched: false,
            served: false,
            ..share("/s")
        };
        assert_eq!(told(socket, well()).0, Verdict::Fine);
    }

    #[test]
    fn a_folder_that_is_gone_or_another_one_is_told_with_its_containers() {
        let (verdict, found, advice) =
            told(share("/a"), Look { there: Err(io::ErrorKind::NotFound.into()), writable: Ok(()) });
        assert!(verdict == Verdict::Wrong && found.contains("/a is gone"), "{found}");
        assert_eq!(advice, "make it again, and type `holm restart 0123456789ab`");
        let (verdict, found, _) = told(share("/a"), Look { there: Ok(Some((1, 3))), writable: Ok(()) });
        assert!(verdict == Verdict::Doubtful && found.contains("was replaced"), "{found}");
    }

    #[test]
    fn what_cannot_be_written_to_is_wrong_only_where_that_was_asked_for() {
        let refused = || Look { writable: Err(io::ErrorKind::PermissionDenied.into()), ..well() };
        assert_eq!(told(share("/a"), refused()).0, Verdict::Wrong);
        assert_eq!(told(SharedPath { read_only: true, ..share("/a") }, refused()).0, Verdict::Fine);
    }

    #[test]
    fn the_worst_is_told_and_the_others_are_counted() {
        let unwatched = SharedPath { watched: false, ..share("/a") };
        let unserved = SharedPath { served: false, ..share("/b") };
        let all = verdict(&[(unwatched, well()), (unserved, well()), (share("/c"), well())]);
        assert_eq!(all.verdict, Verdict::Wrong);
        assert_eq!(all.found, "nobody serves /b to the machine; 1 more are not well");
    }

    #[tokio::test]
    async fn a_folder_of_this_computer_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let here = SharedPath { identity: look(folder.path()).there.unwrap(), ..share(&path) };
        assert_eq!(check_all(vec![here.clone()]).await.verdict, Verdict::Fine);
        drop(folder);
        assert_eq!(check_all(vec![here]).await.verdict, Verdict::Wrong);
    }
}
