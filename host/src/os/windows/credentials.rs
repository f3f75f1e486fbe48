//! Where this system keeps secrets, as Docker's helper programs call it.

/// The variable with the folders of programs, as messages name it.
pub(crate) const SEARCH_PATH: &str = "%PATH%";

/// Stores in the order in which they are thought of, each with the program that has to be there for that.
pub(crate) const CREDENTIAL_STORES: [(&str, Option<&str>); 1] = [("wincred", None)];

/// A place that every user of this computer may write to is none to read certificates from.
pub(crate) const SYSTEM_CERTIFICATES: Option<&str> = None;
