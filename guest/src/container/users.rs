//! Who a container's first process is: `name`, `uid`, `name:group` and so on, looked up in the image's own
//! `/etc/passwd` and `/etc/group` by the rules and with the words of Docker (`moby/sys/user`).

/// A user as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups: the group itself, those that the user is a member of, those asked for.
    pub groups: Vec<u32>,
    /// Home folder; `/` where nobody says.
    pub home: String,
}

/// Why there is no such user. The messages are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such name in `/etc/passwd`.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such name in `/etc/group`.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number over 2³¹ − 1.
    #[error("uids and gids must be in range 0-2147483647")]
    OutOfRange,
}

/// Resolves `user` (empty is root) and the groups added to it. The files' contents are the image's word: lines
/// that make no sense are passed over.
pub fn resolve(user: &str, add: &[String], passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, UserError> {
    let (name, group_name) = user.split_once(':').unwrap_or((user, ""));
    let (name, group_name) = (name.trim(), group_name.split(':').next().unwrap_or_default().trim());
    let uid = number(name)?;
    let gid = number(group_name)?;

    let entry = lines(passwd).filter_map(PasswdLine::parse).find(|line| match uid {
        Some(uid) => line.uid == uid,
        None if name.is_empty() => line.uid == 0,
        None => line.name == name.as_bytes(),
    });
    let mut resolved = match &entry {
        Some(line) => {
            ResolvedUser { uid: line.uid, gid: line.gid, groups: Vec::new(), home: line.home.clone() }
        }
        None if uid.is_none() && !name.is_empty() => return Err(UserError::NoUser(name.to_owned())),
        None => ResolvedUser { uid: uid.unwrap_or(0), gid: 0, groups: Vec::new(), home: "/".to_owned() },
    };

    let mut members = Vec::new();
    if group_name.is_empty() {
        let of_user = |line: &GroupLine<'_>| entry.as_ref().is_some_and(|user| line.has(user.name));
        members.extend(lines(group).filter_map(GroupLine::parse).filter(of_user).map(|line| line.gid));
    } else {
        resolved.gid = find_group(group_name, gid, group)?;
    }
    resolved.groups.push(resolved.gid);
    for extra in add {
        members.push(find_group(extra, number(extra)?, group)?);
    }
    for member in members {
        if !resolved.groups.contains(&member) {
            resolved.groups.push(member);
        }
    }
    Ok(resolved)
}

fn find_group(name: &str, gid: Option<u32>, group: &[u8]) -> Result<u32, UserError> {
    if let Some(gid) = gid {
        return Ok(gid);
    }
    let found = lines(group).filter_map(GroupLine::parse).find(|line| line.name == name.as_bytes());
    found.map(|line| line.gid).ok_or_else(|| UserError::NoGroup(name.to_owned()))
}

/// `None` for what is a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id.unsigned_abs())),
        _ => Err(UserError::OutOfRange),
    }
}

struct PasswdLine<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: String,
}

impl<'a> PasswdLine<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b':');
        let name = fields.next()?;
        let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
        let home =
            fields.nth(1).map(|home| String::from_utf8_lossy(home).into_owned()).filter(|h| !h.is_empty());
        Some(Self { name, uid, gid, home: home.unwrap_or_else(|| "/".to_owned()) })
    }
}

struct GroupLine<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl<'a> GroupLine<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b':');
        Some(Self {
            name: fields.next()?,
            gid: id(fields.nth(1)?)?,
            members: fields.next().unwrap_or_default(),
        })
    }

    fn has(&self, user: &[u8]) -> bool {
        self.members.split(|&b| b == b',').any(|member| member == user)
    }
}

fn id(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse::<i32>().ok()?.try_into().ok()
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty() && line[0] != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\n  www:x:33:34::/var/www:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nwww-data:x:34:\nadm:x:4:bob,www\nextra:x:90:www\n";

    fn groups(user: &str, add: &[&str]) -> Result<ResolvedUser, UserError> {
        resolve(user, &add.iter().map(ToString::to_string).collect::<Vec<_>>(), PASSWD, GROUP)
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> ResolvedUser {
        ResolvedUser { uid, gid, groups: groups.to_vec(), home: home.to_owned() }
    }

    #[test]
    fn nothing_asked_is_root() {
        assert_eq!(groups("", &[]), Ok(user(0, 0, &[0], "/root")));
        assert_eq!(resolve("", &[], b"", b""), Ok(user(0, 0, &[0], "/")));
    }

    #[test]
    fn a_name_brings_its_groups_and_home_and_so_does_its_number() {
        let www = user(33, 34, &[34, 4, 90], "/var/www");
        assert_eq!(groups("www", &[]), Ok(www.clone()));
        assert_eq!(groups("33", &[]), Ok(www));
    }

    #[test]
    fn a_group_that_is_asked_for_replaces_all_of_them() {
        assert_eq!(groups("www:adm", &[]), Ok(user(33, 4, &[4], "/var/www")));
        assert_eq!(groups("www:77", &[]), Ok(user(33, 77, &[77], "/var/www")));
        assert_eq!(groups("1000:1000", &[]), Ok(user(1000, 1000, &[1000], "/")));
        assert_eq!(groups(":adm", &[]), Ok(user(0, 4, &[4], "/root")));
    }

    #[test]
    fn added_groups_come_after() {
        assert_eq!(groups("1000", &["extra", "5", "0"]), Ok(user(1000, 0, &[0, 90, 5], "/")));
    }

    #[test]
    fn who_is_not_there_is_named_in_dockers_words() {
        let message = |result: Result<ResolvedUser, UserError>| result.unwrap_err().to_string();
        assert_eq!(
            message(groups("bob", &[])),
            "unable to find user bob: no matching entries in passwd file"
        );
        assert_eq!(
            message(groups("www:nope", &[])),
            "unable to find group nope: no matching entries in group file"
        );
        assert_eq!(
            message(groups("", &["nope"])),
            "unable to find group nope: no matching entries in group file"
        );
        assert_eq!(message(groups("2147483648", &[])), "uids and gids must be in range 0-2147483647");
        assert_eq!(groups("-1", &[]), Err(UserError::OutOfRange));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_file_of_an_image_panics() {
            bolero::check!().with_type::<(String, Vec<u8>, Vec<u8>)>().for_each(|(user, passwd, group)| {
                let _ = resolve(user, std::slice::from_ref(user), passwd, group);
            });
        }
    }
}
