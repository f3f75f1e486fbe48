use std::fs;

use super::*;

struct Ground {
    folder: tempfile::TempDir,
    credentials: Credentials,
}

impl Ground {
    /// With this `config.json`, and these variables.
    fn new(config: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let config_folder = ConfigFolder::locate(Some(path), &BTreeMap::new());
        if !config.is_empty() {
            fs::write(folder.path().join("config.json"), config).unwrap();
        }
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let credentials = Credentials { config: config_folder, variables };
        Self { folder, credentials }
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.path().join("config.json")).unwrap()).unwrap()
    }
}

fn login(server: &str) -> Login {
    Login {
        server: server.to_owned(),
        username: "me".to_owned(),
        password: "secret".to_owned(),
        ..Login::default()
    }
}

#[tokio::test]
async fn a_login_is_kept_beside_what_others_wrote_and_forgotten_again() {
    let ground = Ground::new(r#"{"psFormat":"x","new":{"a":1}}"#, &[]);
    ground.credentials.store(&login("r.lan")).await.unwrap();
    assert_eq!(
        ground.config(),
        json!({ "psFormat": "x", "new": { "a": 1 }, "auths": { "r.lan": { "auth": "bWU6c2VjcmV0" } } })
    );
    assert_eq!(ground.credentials.of_registry("r.lan").await.unwrap(), login("r.lan"));
    assert_eq!(ground.credentials.of_registry("other").await.unwrap(), Login::default());
    ground.credentials.erase("r.lan").await.unwrap();
    assert_eq!(ground.config()["auths"], json!({}));
}

#[tokio::test]
async fn docker_hub_has_one_name_and_old_files_have_urls() {
    let ground = Ground::new(
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2VjcmV0"},"http://r.lan:5000/v1/":{"auth":"bWU6c2VjcmV0"}}}"#,
        &[],
    );
    for registry in ["docker.io", "index.docker.io", "r.lan:5000"] {
        assert_eq!(ground.credentials.of_registry(registry).await.unwrap().password, "secret", "{registry}");
    }
}

#[tokio::test]
async fn a_file_that_makes_no_sense_has_no_login_and_is_not_written_over() {
    let ground = Ground::new("bad", &[]);
    assert_eq!(ground.credentials.get("r.lan").await.unwrap(), Login::default());
    assert!(ground.credentials.store(&login("r.lan")).await.is_err());
    assert_eq!(fs::read_to_string(ground.folder.path().join("config.json")).unwrap(), "bad");
}

#[tokio::test]
async fn the_variable_goes_before_the_file_and_its_secret_stays_out_of_complaints() {
    let ground = Ground::new(
        r#"{"auths":{"r.lan":{"auth":"b3RoZXI6eA=="}}}"#,
        &[(VARIABLE, r#"{"auths":{"r.lan":{"auth":"bWU6c2VjcmV0"}}}"#)],
    );
    assert_eq!(ground.credentials.get("r.lan").await.unwrap(), login("r.lan"));
    assert_eq!(ground.credentials.get("other").await.unwrap(), Login::default());
    for wrong in ["bWU6c2VjcmV0", r#"{"auths":{"r":{"auth":"bWU6c2VjcmV0","password":"bWU6c2VjcmV0"}}}"#] {
        assert!(!parse_variable(wrong).unwrap_err().contains("bWU6"), "{wrong}");
    }
    assert!(parse_variable(r#"{"auths":{"r":{}}}"#).unwrap_err().contains("missing key `auth` for r"));
}

#[tokio::test]
async fn a_helper_that_is_missing_is_told_in_dockers_words() {
    let ground = Ground::new(r#"{"credsStore":"holm-has-none-of-this-name"}"#, &[]);
    let path = os::SEARCH_PATH;
    assert_eq!(
        ground.credentials.get("r.lan").await.unwrap_err().to_string(),
        format!(
            "error getting credentials - err: exec: \"docker-credential-holm-has-none-of-this-name\": \
             executable file not found in {path}, out: ``"
        )
    );
}

#[cfg(unix)]
mod with_a_helper {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A helper that keeps one login in a file beside it.
    const SCRIPT: &str = r#"#!/bin/sh
kept="$(dirname "$0")/kept"
case "$1" in
store) cat > "$kept" ;;
get) server=$(cat)
     if [ "$server" = broken ]; then echo "the door is shut"; exit 3; fi
     if [ "$server" = silly ]; then echo "secret but no JSON"; exit 0; fi
     if grep -q "\"$server\"" "$kept" 2>/dev/null; then cat "$kept"; else
     echo "credentials not found in native keychain"; exit 1; fi ;;
erase) rm -f "$kept" ;;
esac
"#;

    fn install(folder: &std::path::Path, name: &str) {
        let path = folder.join(format!("docker-credential-{name}"));
        fs::write(&path, SCRIPT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn a_helper_keeps_gives_and_forgets() {
        let folder = tempfile::tempdir().unwrap();
        // By its path, since the search path is the whole process's.
        install(folder.path(), "test");
        let helper = Helper::at(folder.path().join("docker-credential-test").to_str().unwrap());
        assert_eq!(helper.get("r.lan").await.unwrap(), Login::default());
        helper.store(&login("r.lan")).await.unwrap();
        assert_eq!(helper.get("r.lan").await.unwrap(), login("r.lan"));
        let token = Login { identity_token: "t".to_owned(), password: String::new(), ..login("r.lan") };
        helper.store(&token).await.unwrap();
        assert_eq!(helper.get("r.lan").await.unwrap().identity_token, "t");
        helper.erase("r.lan").await.unwrap();
        assert_eq!(helper.get("r.lan").await.unwrap(), Login::default());
        assert_eq!(
            helper.get("broken").await.unwrap_err().to_string(),
            "error getting credentials - err: exit status 3, out: `the door is shut`"
        );
        assert!(!helper.get("silly").await.unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn the_systems_store_is_taken_where_nothing_was_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let (name, with) = os::CREDENTIAL_STORES[0];
        let path = folder.path().to_str().unwrap();
        let found = |config: &str| {
            let ground = Ground::new(config, &[("PATH", path)]);
            let settings = ground.credentials.config.read().unwrap();
            ground.credentials.found_store(&settings)
        };
        assert_eq!(found("{}"), None);
        install(folder.path(), name);
        if let Some(with) = with {
            fs::write(folder.path().join(with), "").unwrap();
        }
        assert_eq!(found("{}"), Some(name));
        assert_eq!(found(r#"{"auths":{}}"#), Some(name));
        assert_eq!(found(r#"{"auths":{"r":{}}}"#), None);
        assert_eq!(found(r#"{"credHelpers":{"r":"x"}}"#), None);
    }
}
