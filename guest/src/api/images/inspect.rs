//! `GET /images/{name}/json` and `/history`.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::api::version::ApiVersion;
use crate::image::Image;

/// An image with every field that Go writes.
pub(super) fn body(image: &Image, version: ApiVersion) -> Value {
    let config = image.config();
    let mut body = json!({
        "Id": image.id().to_string(),
        "RepoTags": image.repo_tags(),
        "RepoDigests": image.repo_digests(),
        "Parent": "",
        "Comment": config.comment.clone().unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_default(),
        "DockerVersion": config.docker_version.clone().unwrap_or_default(),
        "Author": config.author.clone().unwrap_or_default(),
        "Config": run_config(image),
        "Architecture": config.architecture,
    });
    if let Some(variant) = config.variant.as_deref().filter(|text| !text.is_empty()) {
        body["Variant"] = json!(variant);
    }
    body["Os"] = json!(config.os);
    body["Size"] = json!(image.size());
    if version < ApiVersion::one(44) {
        body["VirtualSize"] = json!(image.size());
    }
    body["GraphDriver"] = json!({ "Data": null, "Name": "overlay2" });
    let layers: Vec<String> = image.diff_ids().iter().map(ToString::to_string).collect();
    body["RootFS"] = json!({ "Type": "layers", "Layers": layers });
    body["Metadata"] = json!({ "LastTagTime": image.tagged().to_rfc3339_opts(SecondsFormat::AutoSi, true) });
    body
}

/// What a container gets, as Go writes it.
fn run_config(image: &Image) -> Value {
    let mut zero = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null,
        "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null,
        "Labels": null,
    });
    if let (Value::Object(fields), Ok(Value::Object(given))) =
        (&mut zero, serde_json::to_value(&image.config().config))
    {
        fields.extend(given.into_iter().filter(|(name, value)| {
            let is_set = matches!(name.as_str(), "ExposedPorts" | "Volumes");
            !(is_set && value.as_object().is_some_and(serde_json::Map::is_empty))
        }));
    }
    zero
}

/// Its making, the newest step first. Only the image itself has an id; the steps below are nobody's.
pub(super) fn history(image: &Image) -> Vec<Value> {
    let tags = image.repo_tags();
    let steps = image.history().into_iter().enumerate().map(|(index, step)| {
        json!({
            "Comment": step.comment,
            // Go's zero time in seconds, of a step that does not tell.
            "Created": step.created.map_or(-62_135_596_800, |at| at.timestamp()),
            "CreatedBy": step.created_by,
            "Id": if index == 0 { image.id().to_string() } else { "<missing>".to_owned() },
            "Size": step.size,
            "Tags": if index == 0 && !tags.is_empty() { json!(tags) } else { Value::Null },
        })
    });
    steps.collect()
}
