//! `--volume`: `source:target:options`, as far as a client has to understand it. What the options mean is the
//! engine's business.

/// The kinds of value that `--volume` has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VolumeSpec {
    /// A path in the container: an anonymous volume.
    Anonymous(String),
    /// Something mounted somewhere, in the engine's form. A relative folder is absolute here.
    Bind(String),
}

impl VolumeSpec {
    /// Reads one value.
    pub(crate) fn parse(spec: &str) -> Result<Self, String> {
        if spec.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        if spec.chars().count() <= 2 {
            return Ok(Self::Anonymous(spec.to_owned()));
        }
        let sections = sections(spec);
        let invalid = |why: &str| Err(format!("invalid spec: {spec}: {why}"));
        if sections.iter().any(String::is_empty) {
            return invalid("empty section between colons");
        }
        match sections.as_slice() {
            [_] => Ok(Self::Anonymous(spec.to_owned())),
            [source, _] | [source, _, _] => {
                let rest = spec.strip_prefix(source.as_str()).unwrap_or_default();
                Ok(Self::Bind(format!("{}{rest}", absolute(source))))
            }
            _ => invalid("too many colons"),
        }
    }
}

/// Parts between colons, where the colon of a drive (`C:\`) is none.
fn sections(spec: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for character in spec.chars() {
        let last = sections.len() - 1;
        let mut letters = sections[last].chars();
        let drive = letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none();
        if character == ':' && !drive {
            sections.push(String::new());
        } else {
            sections[last].push(character);
        }
    }
    sections
}

/// A folder of this computer that starts with a dot, from the root on; any other text as it is. Like Docker's,
/// it does not look at what is there, so links stay.
pub(crate) fn absolute(source: &str) -> String {
    if !source.starts_with('.') {
        return source.to_owned();
    }
    let Ok(mut path) = std::env::current_dir() else { return source.to_owned() };
    for part in std::path::Path::new(source).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(spec: &str) -> String {
        match VolumeSpec::parse(spec).unwrap() {
            VolumeSpec::Bind(text) => text,
            other => panic!("{spec}: {other:?}"),
        }
    }

    #[test]
    fn a_path_alone_is_an_anonymous_volume() {
        for spec in ["/data", ":", "/", "a:b"] {
            assert_eq!(VolumeSpec::parse(spec).unwrap(), VolumeSpec::Anonymous(spec.to_owned()));
        }
    }

    #[test]
    fn folders_that_start_with_a_dot_become_absolute() {
        let here = std::env::current_dir().unwrap();
        let above = here.parent().unwrap().display().to_string();
        assert_eq!(bind(".:/y"), format!("{}:/y", here.display()));
        assert_eq!(bind("./a/./b:/y:ro"), format!("{}/a/b:/y:ro", here.display()));
        assert_eq!(bind("../x:/y"), format!("{above}/x:/y"));
        assert_eq!(bind("/etc:/y:rshared,z"), "/etc:/y:rshared,z");
        assert_eq!(bind("name:/y"), "name:/y");
    }

    #[test]
    fn empty_and_surplus_sections_are_refused() {
        let error = |spec: &str| VolumeSpec::parse(spec).unwrap_err();
        assert_eq!(error(""), "invalid empty volume spec");
        assert_eq!(error("aa::bb"), "invalid spec: aa::bb: empty section between colons");
        assert_eq!(error("aa:bb:cc:dd:ee"), "invalid spec: aa:bb:cc:dd:ee: too many colons");
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_text_crashes_it() {
            bolero::check!().with_type::<String>().for_each(|text| {
                let _ = VolumeSpec::parse(text);
            });
        }
    }
}
