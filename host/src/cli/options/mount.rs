//! `--mount`: comma-separated `key=value` pairs that describe one mount.

use serde_json::{Map, Value, json};

use super::{absolute, bytes, csv};

/// One mount as the engine takes it.
pub(crate) fn mount(text: &str) -> Result<Value, String> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in csv::fields(text)? {
        mount.set(&field)?;
    }
    mount.check()?;
    Ok(mount.into_json())
}

/// Options by the type of mount that they belong to, under their names in the API.
#[derive(Default)]
struct Mount {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind: Map<String, Value>,
    volume: Map<String, Value>,
    image: Map<String, Value>,
    tmpfs: Map<String, Value>,
    labels: Map<String, Value>,
    driver: Map<String, Value>,
    driver_options: Map<String, Value>,
}

impl Mount {
    fn set(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        let Some(value) = value else {
            match key.as_str() {
                "readonly" | "ro" => self.read_only = true,
                "volume-nocopy" => option(&mut self.volume, "NoCopy", true),
                "bind-nonrecursive" => option(&mut self.bind, "NonRecursive", true),
                _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
            }
            return Ok(());
        };
        let invalid = || format!("invalid value for {key}: {value}");
        match key.as_str() {
            "type" => self.kind = value.to_lowercase(),
            "source" | "src" => self.source = absolute(value),
            "target" | "dst" | "destination" => self.target = value.to_owned(),
            "readonly" | "ro" => self.read_only = boolean(value).ok_or_else(invalid)?,
            "consistency" => self.consistency = value.to_lowercase(),
            "bind-propagation" => option(&mut self.bind, "Propagation", value.to_lowercase()),
            "bind-nonrecursive" => {
                option(&mut self.bind, "NonRecursive", boolean(value).ok_or_else(invalid)?);
            }
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => option(&mut self.bind, "NonRecursive", true),
                "writable" => option(&mut self.bind, "ReadOnlyNonRecursive", true),
                "readonly" => option(&mut self.bind, "ReadOnlyForceRecursive", true),
                _ => {
                    return Err(format!(
                        "{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
                        invalid()
                    ));
                }
            },
            "volume-subpath" => option(&mut self.volume, "Subpath", value),
            "volume-nocopy" => option(&mut self.volume, "NoCopy", boolean(value).ok_or_else(invalid)?),
            "volume-label" => pair(&mut self.labels, value),
            "volume-driver" => option(&mut self.driver, "Name", value),
            "volume-opt" => pair(&mut self.driver_options, value),
            "image-subpath" => option(&mut self.image, "Subpath", value),
            "tmpfs-size" => option(&mut self.tmpfs, "SizeBytes", bytes(value).map_err(|_| invalid())?),
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| invalid())?;
                option(&mut self.tmpfs, "Mode", mode);
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.kind.is_empty() {
            return Err("type is required".to_owned());
        }
        if self.target.is_empty() {
            return Err("target is required".to_owned());
        }
        let volume = [&self.volume, &self.labels, &self.driver, &self.driver_options];
        let given = |kind: &str| match kind {
            "volume" => volume.iter().any(|options| !options.is_empty()),
            "bind" => !self.bind.is_empty(),
            "image" => !self.image.is_empty(),
            _ => !self.tmpfs.is_empty(),
        };
        for kind in ["volume", "bind", "image", "tmpfs"] {
            if self.kind != kind && given(kind) {
                return Err(format!("cannot mix '{kind}-*' options with mount type '{}'", self.kind));
            }
        }
        let needs = |option: &str, other: &str| {
            Err(format!("option 'bind-recursive={option}' requires '{other}' to be specified in conjunction"))
        };
        if self.bind.contains_key("ReadOnlyNonRecursive") && !self.read_only {
            return needs("writable", "readonly");
        }
        if self.bind.contains_key("ReadOnlyForceRecursive") {
            if !self.read_only {
                return needs("readonly", "readonly");
            }
            if self.bind.get("Propagation") != Some(&json!("rprivate")) {
                return needs("readonly", "bind-propagation=rprivate");
            }
        }
        Ok(())
    }

    fn into_json(mut self) -> Value {
        add(&mut self.driver, "Options", self.driver_options);
        add(&mut self.volume, "Labels", self.labels);
        add(&mut self.volume, "DriverConfig", self.driver);
        let mut mount = Map::new();
        for (name, text) in [
            ("Type", self.kind),
            ("Source", self.source),
            ("Target", self.target),
            ("Consistency", self.consistency),
        ] {
            if !text.is_empty() {
                option(&mut mount, name, text);
            }
        }
        if self.read_only {
            option(&mut mount, "ReadOnly", true);
        }
        add(&mut mount, "BindOptions", self.bind);
        add(&mut mount, "VolumeOptions", self.volume);
        add(&mut mount, "ImageOptions", self.image);
        add(&mut mount, "TmpfsOptions", self.tmpfs);
        mount.into()
    }
}

fn option(options: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    options.insert(name.to_owned(), value.into());
}

fn add(options: &mut Map<String, Value>, name: &str, part: Map<String, Value>) {
    if !part.is_empty() {
        option(options, name, part);
    }
}

fn pair(options: &mut Map<String, Value>, text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if !key.is_empty() {
        option(options, key, value);
    }
}

/// As Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_source_starts_with_a_dot() {
        let here = std::env::current_dir().unwrap();
        let source = |text: &str| mount(&format!("type=bind,src={text},dst=/x")).unwrap()["Source"].clone();
        assert_eq!(source("./a"), here.join("a").to_str().unwrap());
        assert_eq!(source("a"), "a");
    }

    #[test]
    fn options_of_several_types_do_not_mix() {
        let error = |text: &str| mount(text).unwrap_err();
        assert_eq!(error("type=bind"), "target is required");
        assert_eq!(
            error("type=tmpfs,target=/a,volume-nocopy"),
            "cannot mix 'volume-*' options with mount type 'tmpfs'"
        );
        assert_eq!(error("type=bind,target=/a,foo=1"), "unexpected key 'foo' in 'foo=1'");
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_text_crashes_it() {
            bolero::check!().with_type::<String>().for_each(|text| {
                let _ = mount(text);
                let _ = mount(&format!("type=bind,target=/x,{text}"));
            });
        }
    }
}
