//! The machine and its engine, killed at moments that a seed chooses, while images come, change and go: what was
//! acknowledged is there afterwards, what was not is wholly there or wholly absent, and nothing is left over.
//!
//! `HOLM_CRASHES` says how often (20), `HOLM_CRASH_SEED` where the numbers begin.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use holm_tests::home::{Home, Machine, end};
use holm_tests::image::{Image, Layer};
use holm_tests::registry::Registry;
use holm_tests::samples::ready;
use rustix::process::Signal;
use serde_json::json;

/// Images that are pulled, and as many that are loaded.
const IMAGES: usize = 3;
/// More than any of the commands takes; each is cut off at a part of what it took before.
const LONGEST: Duration = Duration::from_millis(1500);

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    There,
    Absent,
}

/// xorshift64: the same numbers for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Three layers, of which one is everybody's.
fn small(number: usize) -> Image {
    let layer = |name: String, byte: usize| {
        let content: Vec<u8> = (0..200_000).map(|n: usize| ((n * (byte + 3)) >> 3) as u8).collect();
        Layer::default().file(&name, 0o644, &content)
    };
    let layers = vec![
        layer("shared".to_owned(), 0),
        layer(format!("a{number}"), number),
        layer(format!("b{number}"), number + 50),
    ];
    Image::new(layers, json!({ "Cmd": ["/none"] })).unwrap()
}

/// Everything the commands work on.
fn prepared() -> (Registry, Home) {
    let (registry, home) = ready(Machine::Process).unwrap();
    for number in 0..2 * IMAGES {
        registry.push(&format!("library/small{number}"), "latest", &small(number)).unwrap();
    }
    for number in IMAGES..2 * IMAGES {
        let (name, file) = (format!("small{number}"), home.path().join(format!("{number}.tar")));
        home.holm(&["pull", "-q", &name]).ok();
        home.holm(&["save", "-o", file.to_str().unwrap(), &name]).ok();
        home.holm(&["rmi", &name]).ok();
    }
    home.holm(&["run", "--name", "base", "busybox", "sh", "-c", "echo something > /file"]).ok();
    (registry, home)
}

/// A command that makes the name what it is not, and what it makes of it.
fn command(home: &Home, name: &str, known: Known) -> (Vec<String>, Known) {
    let number = name.trim_start_matches(|letter: char| !letter.is_ascii_digit()).trim_end_matches(":latest");
    let words: &[&str] = match (known, name.starts_with("kept")) {
        (Known::There, _) => return (vec!["rmi".to_owned(), name.to_owned()], Known::Absent),
        (Known::Absent, true) => &["commit", "base", name],
        (Known::Absent, false) if number.parse::<usize>().unwrap() < IMAGES => &["pull", "-q", name],
        (Known::Absent, false) => {
            let file = home.path().join(format!("{number}.tar"));
            return (
                vec!["load".to_owned(), "-i".to_owned(), file.to_str().unwrap().to_owned()],
                Known::There,
            );
        }
    };
    (words.iter().map(|word| (*word).to_owned()).collect(), Known::There)
}

/// Names of images, after the store was found whole.
fn names_of_a_whole_store(home: &Home) -> Vec<String> {
    let told = home.holm(&["system", "check"]).ok();
    assert!(told.contains("All of it is whole."), "{told}");
    let list = home.holm(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    list.lines().map(str::to_owned).collect()
}

#[test]
fn a_store_is_whole_whenever_it_is_killed() {
    let (_registry, home) = prepared();
    let mut numbers = Numbers(number("HOLM_CRASH_SEED", 0x5eed));
    let small = (0..2 * IMAGES).map(|number| format!("small{number}:latest"));
    let kept = (0..IMAGES).map(|number| format!("kept{number}:latest"));
    let mut known: BTreeMap<String, Known> = small.chain(kept).map(|name| (name, Known::Absent)).collect();
    let mut took: BTreeMap<String, Duration> = BTreeMap::new();
    let mut cut_off = 0;
    for crash in 0..number("HOLM_CRASHES", 20) {
        let names: Vec<String> = known.keys().cloned().collect();
        let name = &names[numbers.below(names.len())];
        let (words, becomes) = command(&home, name, known[name]);
        let longest = took.get(&words[0]).copied().unwrap_or(LONGEST / 4).min(LONGEST);
        let delay = longest * u32::try_from(numbers.below(1000)).unwrap() / 800;
        let begun = Instant::now();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = home.command(&words);
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Time itself is what is random here; there is no event to wait for.
        thread::sleep(delay);
        if numbers.below(2) == 0 {
            end(home.engine().unwrap(), Signal::KILL).unwrap();
        } else {
            home.kill("machine_pid").unwrap();
        }
        let done = running.wait().unwrap().success();
        let there = names_of_a_whole_store(&home);
        let place = format!("crash {crash}, {delay:?} after the start of {words:?}");
        let now = |name| if there.contains(name) { Known::There } else { Known::Absent };
        for (other, state) in known.iter().filter(|(other, _)| *other != name) {
            assert_eq!(now(other), *state, "{other}, {place}");
        }
        let is_there = now(name);
        if done {
            assert_eq!(is_there, becomes, "{name} was acknowledged, {place}");
            took.insert(words[0].to_owned(), begun.elapsed());
        } else {
            cut_off += 1;
        }
        known.insert(name.clone(), is_there);
    }
    println!("{cut_off} commands were cut off, the others were done");
    assert!(cut_off > 0, "no command was cut off: the delays are too long");
    // What is there is more than whole: it works.
    for (name, _) in known.iter().filter(|(name, state)| name.starts_with("kept") && **state == Known::There)
    {
        assert_eq!(home.holm(&["run", "--rm", name, "cat", "/file"]).ok(), "something\n");
    }
}
