//! Names and ids: made up, checked, and reserved in one table, so that of a hundred clients who want the same
//! name at once exactly one gets it.

mod words;

use std::collections::HashMap;

use holm_api::{ContainerId, ExecId};

use super::EngineError;

/// Tries with a digit at the end before the id itself has to serve as a name.
const TRIES: usize = 6;

/// Which names are taken, by whom.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_name: HashMap<String, ContainerId>,
}

impl Names {
    /// Takes `name`, without a slash, for `id`.
    pub(crate) fn reserve(&mut self, name: &str, id: &ContainerId) -> Result<(), EngineError> {
        if let Some(owner) = self.by_name.get(name) {
            return Err(EngineError::NameInUse { name: name.to_owned(), id: owner.to_string() });
        }
        self.by_name.insert(name.to_owned(), id.clone());
        Ok(())
    }

    /// Takes a name that nobody has.
    pub(crate) fn generate(&mut self, id: &ContainerId) -> Result<String, EngineError> {
        for attempt in 0..TRIES {
            let [a, b, c] = random()?;
            let mut name = pleasant(a, b);
            if attempt > 0 {
                name.push_str(&(c % 10).to_string());
            }
            if self.reserve(&name, id).is_ok() {
                return Ok(name);
            }
        }
        let name = id.short().to_owned();
        self.reserve(&name, id)?;
        Ok(name)
    }

    /// Lets others have `name`, if it is `id`'s.
    pub(crate) fn release(&mut self, name: &str, id: &ContainerId) {
        if self.by_name.get(name) == Some(id) {
            self.by_name.remove(name);
        }
    }

    /// Whose name it is.
    pub(crate) fn owner(&self, name: &str) -> Option<&ContainerId> {
        self.by_name.get(name)
    }
}

/// A name as a client gives it, its one leading slash taken off: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn checked(text: &str) -> Result<&str, EngineError> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let mut bytes = name.bytes();
    let valid = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() >= 2
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if valid {
        Ok(name)
    } else {
        Err(EngineError::Invalid(format!(
            "Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )))
    }
}

/// A new id. One that is all digits would be read as a number by those who see its short form, so it is not
/// made, as in Docker.
pub(crate) fn new_id() -> Result<ContainerId, EngineError> {
    loop {
        let id = ContainerId::from_bytes(random_bytes()?);
        if !id.short().bytes().all(|b| b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// Likewise for a further process, whose id nobody sees short.
pub(crate) fn new_exec_id() -> Result<ExecId, EngineError> {
    Ok(ExecId::from_bytes(random_bytes()?))
}

fn pleasant(adjective: u32, surname: u32) -> String {
    let adjective = words::ADJECTIVES[adjective as usize % words::ADJECTIVES.len()];
    let surname = words::SURNAMES[surname as usize % words::SURNAMES.len()];
    // Steve Wozniak is not boring.
    let adjective = if (adjective, surname) == ("boring", "wozniak") { "brilliant" } else { adjective };
    format!("{adjective}_{surname}")
}

fn random<const N: usize>() -> Result<[u32; N], EngineError> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = u32::from_ne_bytes(random_bytes()?);
    }
    Ok(numbers)
}

/// From the kernel.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| EngineError::Internal(format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_refused_in_dockers_words_until_it_is_released() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        let mut names = Names::default();
        names.reserve("web", &one).unwrap();
        assert_eq!(
            names.reserve("web", &two).unwrap_err().to_string(),
            format!(
                "Conflict. The container name \"/web\" is already in use by container \"{one}\". You have to remove (or rename) that container to be able to reuse that name."
            )
        );
        names.release("web", &two);
        assert_eq!(names.owner("web"), Some(&one));
        names.release("web", &one);
        names.reserve("web", &two).unwrap();
    }

    #[test]
    fn names_follow_dockers_pattern() {
        for good in ["ab", "/web-1", "A.b_c-d", "00"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "-a", "a b", "ä", "//ab", "a/b"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert_eq!(
            checked("a b").unwrap_err().to_string(),
            "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
    }

    #[test]
    fn a_generated_name_is_two_words_and_reserved() {
        let id = new_id().unwrap();
        let mut names = Names::default();
        let name = names.generate(&id).unwrap();
        assert_eq!(name.split('_').count(), 2);
        assert!(checked(&name).is_ok());
        assert_eq!(names.owner(&name), Some(&id));
    }

    #[test]
    fn steve_wozniak_is_not_boring() {
        let find = |list: &[&str], word| list.iter().position(|w| *w == word).unwrap() as u32;
        let (boring, wozniak) = (find(words::ADJECTIVES, "boring"), find(words::SURNAMES, "wozniak"));
        assert_eq!(pleasant(boring, wozniak), "brilliant_wozniak");
    }
}
