//! Where this system keeps secrets, as Docker's helper programs call it.

/// The variable with the folders of programs, as messages name it.
pub(crate) const SEARCH_PATH: &str = "$PATH";

/// Stores in the order in which they are thought of, each with the program that has to be there for that.
#[cfg(target_os = "macos")]
pub(crate) const CREDENTIAL_STORES: [(&str, Option<&str>); 1] = [("osxkeychain", None)];
/// Stores in the order in which they are thought of, each with the program that has to be there for that.
#[cfg(not(target_os = "macos"))]
pub(crate) const CREDENTIAL_STORES: [(&str, Option<&str>); 2] =
    [("pass", Some("pass")), ("secretservice", None)];

/// Where dockerd looks for certificates of registries.
pub(crate) const SYSTEM_CERTIFICATES: Option<&str> = Some("/etc/docker/certs.d");
