//! A filter of one's own, in the format of `docker run --security-opt seccomp=<file>` (github.com/moby/profiles,
//! `seccomp.Seccomp`): rules with conditions, of which those remain that apply to this processor, this kernel and the
//! container's capabilities.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompBuilder, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::container::SpecError;

/// Rules of one name each that a profile may come to. The kernel takes no program of more than 4096 instructions, so
/// none that could be loaded has as many; one that has them would keep the shim busy for minutes.
const MOST_RULES: usize = 8192;

/// What the rules depend on.
pub(super) struct Surroundings<'a> {
    /// The container's capabilities, `CAP_…`.
    pub(super) capabilities: &'a [&'a str],
    /// Rust's name of the processor.
    pub(super) processor: &'a str,
    /// Version and revision.
    pub(super) kernel: (u64, u64),
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Vec<String>,
    flags: Vec<String>,
    listener_path: String,
    #[serde(deserialize_with = "null_is_empty")]
    arch_map: Vec<ArchMap>,
    #[serde(deserialize_with = "null_is_empty")]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    sub_architectures: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    /// Of old profiles, in place of `names`.
    name: String,
    #[serde(deserialize_with = "null_is_empty")]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_is_empty")]
    args: Vec<Argument>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(deserialize_with = "null_is_empty")]
    caps: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// As Go reads what may be left out.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a profile; `None` where it says nothing, which is no filter at all.
pub(super) fn load(text: &str, here: &Surroundings<'_>) -> Result<Option<LinuxSeccomp>, SpecError> {
    let profile: Profile = serde_json::from_str(text)
        .map_err(|error| SpecError::AtStart(format!("Decoding seccomp profile failed: {error}")))?;
    if profile.default_action.is_empty() && profile.syscalls.is_empty() {
        return Ok(None);
    }
    if !profile.listener_path.is_empty() {
        return Err(SpecError::Unsupported("a seccomp profile with a listenerPath"));
    }
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(invalid(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
             'architectures' or 'archMap'",
        ));
    }
    let mut architectures = profile.architectures;
    let own = native(here.processor);
    if let Some(map) = profile.arch_map.into_iter().find(|map| map.architecture == own) {
        architectures.push(map.architecture);
        architectures.extend(map.sub_architectures);
    }
    // First what the daemon finds, then what runc does.
    let rules = rules(profile.syscalls, here)?;
    let filter = LinuxSeccompBuilder::default()
        .default_action(parse::<LinuxSeccompAction>(&profile.default_action, "action")?)
        .architectures(parse_all::<Arch>(&architectures, "arch")?)
        .flags(parse_all::<LinuxSeccompFilterFlag>(&profile.flags, "flag")?)
        .syscalls(rules);
    let filter = match profile.default_errno_ret {
        Some(errno) => filter.default_errno_ret(errno),
        None => filter,
    };
    Ok(Some(filter.build().map_err(|error| invalid(&error.to_string()))?))
}

fn rules(all: Vec<Rule>, here: &Surroundings<'_>) -> Result<Vec<LinuxSyscall>, SpecError> {
    let mut kept = Vec::new();
    let mut count = 0;
    for mut rule in all {
        if !rule.name.is_empty() {
            if !rule.names.is_empty() {
                return Err(invalid(
                    "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
                ));
            }
            rule.names = vec![std::mem::take(&mut rule.name)];
        }
        if rule.applies(here)? {
            count += rule.names.len() * rule.args.len().max(1);
            if count > MOST_RULES {
                return Err(invalid(&format!("the seccomp profile has more than {MOST_RULES} rules")));
            }
            kept.push(rule.into_oci()?);
        }
    }
    Ok(kept)
}

impl Rule {
    fn applies(&self, here: &Surroundings<'_>) -> Result<bool, SpecError> {
        let has = |capability: &String| here.capabilities.contains(&capability.as_str());
        let runs = |arches: &[String]| arches.iter().any(|arch| arch == gos_name(here.processor));
        if let Some(excludes) = &self.excludes
            && ((!excludes.arches.is_empty() && runs(&excludes.arches))
                || excludes.caps.iter().any(has)
                || excludes.min_kernel()?.is_some_and(|least| here.kernel >= least))
        {
            return Ok(false);
        }
        let Some(includes) = &self.includes else { return Ok(true) };
        Ok((includes.arches.is_empty() || runs(&includes.arches))
            && includes.caps.iter().all(has)
            && includes.min_kernel()?.is_none_or(|least| here.kernel >= least))
    }

    fn into_oci(self) -> Result<LinuxSyscall, SpecError> {
        if self.names.is_empty() {
            return Err(invalid("a rule of the seccomp profile names no system call"));
        }
        let action = parse::<LinuxSeccompAction>(&self.action, "action")?;
        if action == LinuxSeccompAction::ScmpActNotify {
            return Err(SpecError::Unsupported("SCMP_ACT_NOTIFY in a seccomp profile"));
        }
        let mut args = Vec::new();
        for Argument { index, value, value_two, op } in self.args {
            // libcontainer takes the mask from the second value and what is to be left from the first; runc, for
            // which profiles are written, does it the other way round.
            let (value, value_two) =
                if op == "SCMP_CMP_MASKED_EQ" { (value_two, value) } else { (value, value_two) };
            parse::<LinuxSeccompOperator>(&op, "operator")?;
            args.push(json!({ "index": index, "value": value, "valueTwo": value_two, "op": op }));
        }
        let mut rule = json!({ "names": self.names, "action": action });
        if !args.is_empty() {
            rule["args"] = Value::Array(args);
        }
        if let Some(errno) = self.errno_ret {
            rule["errnoRet"] = errno.into();
        }
        serde_json::from_value(rule).map_err(|error| invalid(&error.to_string()))
    }
}

impl Condition {
    fn min_kernel(&self) -> Result<Option<(u64, u64)>, SpecError> {
        let Some(text) = self.min_kernel.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = |text: &str| text.parse::<u8>().ok().map(u64::from);
        let version = text
            .split_once('.')
            .and_then(|(kernel, major)| Some((number(kernel)?, number(major)?)))
            .filter(|version| *version != (0, 0));
        version.map(Some).ok_or_else(|| {
            invalid(&format!(
                "Decoding seccomp profile failed: invalid kernel version: {text:?}, expected \"<kernel>.<major>\""
            ))
        })
    }
}

/// One of the specification's words, or runc's refusal of what is none.
fn parse<T: DeserializeOwned>(word: &str, what: &str) -> Result<T, SpecError> {
    serde_json::from_value(Value::from(word))
        .map_err(|_| invalid(&format!("string {word} is not a valid {what} for seccomp")))
}

fn parse_all<T: DeserializeOwned>(words: &[String], what: &str) -> Result<Vec<T>, SpecError> {
    words.iter().map(|word| parse(word, what)).collect()
}

fn invalid(text: &str) -> SpecError {
    SpecError::AtStart(text.to_owned())
}

/// A processor as libseccomp calls it.
fn native(processor: &str) -> &'static str {
    match processor {
        "aarch64" => "SCMP_ARCH_AARCH64",
        "riscv64" => "SCMP_ARCH_RISCV64",
        _ => "SCMP_ARCH_X86_64",
    }
}

/// A processor as Go calls it.
fn gos_name(processor: &str) -> &str {
    match processor {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, capabilities: &[&str]) -> Result<Option<Value>, String> {
        let here = Surroundings { capabilities, processor: "x86_64", kernel: (6, 1) };
        let filter = load(text, &here).map_err(|error| error.to_string())?;
        Ok(filter.map(|filter| serde_json::to_value(filter).unwrap()))
    }

    fn names(text: &str, capabilities: &[&str]) -> Vec<String> {
        let filter = loaded(text, capabilities).unwrap().unwrap();
        let rules = filter["syscalls"].as_array().unwrap().clone();
        rules.iter().map(|rule| rule["names"][0].as_str().unwrap().to_owned()).collect()
    }

    fn rule_with(condition: &str) -> String {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO",
                "syscalls":[{{"names":["mount"],"action":"SCMP_ACT_ALLOW",{condition}}}]}}"#
        )
    }

    #[test]
    fn rules_remain_where_their_conditions_hold() {
        for (condition, without, with) in [
            (r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#, false, true),
            (r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#, true, false),
            (r#""includes":{"arches":["amd64","x32"]}"#, true, true),
            (r#""includes":{"arches":["s390x"]}"#, false, false),
            (r#""excludes":{"arches":["amd64"]}"#, false, false),
            (r#""includes":{"minKernel":"6.1"}"#, true, true),
            (r#""includes":{"minKernel":"6.2"}"#, false, false),
            (r#""excludes":{"minKernel":"4.8"}"#, false, false),
            (r#""includes":null,"excludes":{},"comment":"","args":null"#, true, true),
        ] {
            assert_eq!(!names(&rule_with(condition), &[]).is_empty(), without, "{condition}");
            assert_eq!(!names(&rule_with(condition), &["CAP_SYS_ADMIN"]).is_empty(), with, "{condition}");
        }
    }

    #[test]
    fn the_own_processor_brings_those_whose_programs_it_runs() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":38,"archMap":[
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
            {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}]}"#;
        let filter = loaded(text, &[]).unwrap().unwrap();
        assert_eq!(filter["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
        assert_eq!(
            (&filter["defaultAction"], &filter["defaultErrnoRet"]),
            (&json!("SCMP_ACT_ALLOW"), &json!(38))
        );
    }

    #[test]
    fn a_mask_stands_where_libcontainer_looks_for_it() {
        let text =
            rule_with(r#""args":[{"index":0,"value":2114060288,"op":"SCMP_CMP_MASKED_EQ"}],"errnoRet":1"#);
        let filter = loaded(&text, &[]).unwrap().unwrap();
        let argument = &filter["syscalls"][0]["args"][0];
        assert_eq!((&argument["value"], &argument["valueTwo"]), (&json!(0), &json!(2_114_060_288_u64)));
        assert_eq!(filter["syscalls"][0]["errnoRet"], 1);
    }

    #[test]
    fn the_old_form_names_one_call() {
        let text =
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"}]}"#;
        assert_eq!(names(text, &[]), ["read"]);
    }

    #[test]
    fn a_profile_that_says_nothing_is_no_filter() {
        assert_eq!(loaded("{}", &[]), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused_in_dockers_words() {
        let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
            "archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#;
        let two_names = r#"{"syscalls":[{"name":"a","names":["b"]}]}"#;
        for (text, words) in [
            ("", "Decoding seccomp profile failed: "),
            (r#"{"syscalls":1}"#, "Decoding seccomp profile failed: "),
            (both, "both 'architectures' and 'archMap' are specified in the seccomp profile"),
            (two_names, "both 'name' and 'names' are specified in the seccomp profile"),
            (r#"{"defaultAction":"X"}"#, "string X is not a valid action for seccomp"),
            (
                &rule_with(r#""includes":{"minKernel":"6"}"#),
                "Decoding seccomp profile failed: invalid kernel version",
            ),
            (&rule_with(r#""args":[{"op":"<"}]"#), "string < is not a valid operator for seccomp"),
            (
                r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x"}"#,
                "a seccomp profile with a listenerPath",
            ),
        ] {
            let refused = loaded(text, &[]).unwrap_err();
            assert!(refused.starts_with(words), "{refused}");
        }
    }

    #[test]
    fn a_profile_without_end_is_refused() {
        let names = vec!["read"; MOST_RULES + 1];
        let text = json!({ "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] });
        assert_eq!(
            loaded(&text.to_string(), &[]).unwrap_err(),
            "the seccomp profile has more than 8192 rules"
        );
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_profile_comes_is_read_or_refused() {
        let here = Surroundings { capabilities: &["CAP_SYS_ADMIN"], processor: "x86_64", kernel: (6, 1) };
        bolero::check!().with_type::<(Vec<u8>, String, String, u64)>().for_each(
            |(bytes, word, op, number)| {
                let _ = load(&String::from_utf8_lossy(bytes), &here);
                let shaped = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{
                "names": [word], "action": "SCMP_ACT_ALLOW", "errnoRet": number,
                "args": [{ "index": number, "value": number, "op": op }],
                "includes": { "minKernel": word, "arches": [op] },
            }] });
                let _ = load(&shaped.to_string(), &here);
            },
        );
    }
}
