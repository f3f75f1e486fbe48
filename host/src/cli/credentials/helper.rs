//! Programs that keep secrets in the system's own store (docker/docker-credential-helpers): the name of what to do
//! as the one argument, a server or a login on standard input, the answer on standard output.

use std::env::consts::EXE_SUFFIX;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::login::Login;
use crate::os;

/// They may ask the user to unlock something, who may be looking for the password.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of the longest answer; a token has some thousand.
const LONGEST_ANSWER: u64 = 1 << 20;
/// What stands for a name where the secret is an identity token.
const TOKEN: &str = "<token>";
const NOT_FOUND: &str = "credentials not found in native keychain";

/// One of these programs.
#[derive(Clone, Debug)]
pub(super) struct Helper {
    /// Without the platform's ending.
    program: String,
}

/// Why one did not do as it was asked, in Docker's words. A good answer is never part of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    /// It could not be run, or it said no.
    #[error("error {doing} credentials - err: {cause}, out: `{said}`")]
    Failed {
        /// `getting`, `storing` or `erasing`.
        doing: &'static str,
        /// How it ended.
        cause: String,
        /// What it complained of.
        said: String,
    },
    /// Its answer makes no sense.
    #[error("{program} answers what is no login")]
    Senseless {
        /// Its name.
        program: String,
    },
}

impl Helper {
    /// The one with this name: `pass` means `docker-credential-pass`.
    pub(super) fn new(name: &str) -> Self {
        Self { program: format!("docker-credential-{name}") }
    }

    #[cfg(test)]
    pub(super) fn at(path: &str) -> Self {
        Self { program: path.to_owned() }
    }

    /// The login for a server; an empty one where it has none.
    pub(super) async fn get(&self, server: &str) -> Result<Login, HelperError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Kept {
            #[serde(default)]
            username: String,
            secret: String,
        }
        let answer = match self.ask("get", "getting", server.as_bytes()).await {
            Ok(answer) => answer,
            Err(HelperError::Failed { said, .. }) if said == NOT_FOUND => return Ok(Login::default()),
            Err(error) => return Err(error),
        };
        let kept: Kept = serde_json::from_slice(&answer)
            .map_err(|_| HelperError::Senseless { program: self.program.clone() })?;
        let login = Login { server: server.to_owned(), ..Login::default() };
        Ok(match kept.username.as_str() {
            TOKEN => Login { identity_token: kept.secret, ..login },
            _ => Login { username: kept.username, password: kept.secret, ..login },
        })
    }

    /// Keeps a login.
    pub(super) async fn store(&self, login: &Login) -> Result<(), HelperError> {
        let (username, secret) = match login.identity_token.as_str() {
            "" => (login.username.as_str(), login.password.as_str()),
            token => (TOKEN, token),
        };
        let text = json!({ "ServerURL": login.server, "Username": username, "Secret": secret }).to_string();
        self.ask("store", "storing", text.as_bytes()).await.map(drop)
    }

    /// Forgets a login.
    pub(super) async fn erase(&self, server: &str) -> Result<(), HelperError> {
        self.ask("erase", "erasing", server.as_bytes()).await.map(drop)
    }

    async fn ask(&self, action: &str, doing: &'static str, input: &[u8]) -> Result<Vec<u8>, HelperError> {
        let failed = |cause: String, said: &[u8]| HelperError::Failed {
            doing,
            cause,
            said: String::from_utf8_lossy(said).trim().to_owned(),
        };
        let (status, answer) = match timeout(PATIENCE, self.run(action, input)).await {
            Ok(Ok(ran)) => ran,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                let (program, path) = (&self.program, os::SEARCH_PATH);
                return Err(failed(format!("exec: \"{program}\": executable file not found in {path}"), b""));
            }
            Ok(Err(error)) => return Err(failed(error.to_string(), b"")),
            Err(_) => {
                return Err(failed(format!("no answer within {} seconds", PATIENCE.as_secs()), b""));
            }
        };
        match status.code() {
            Some(0) => Ok(answer),
            Some(code) => Err(failed(format!("exit status {code}"), &answer)),
            None => Err(failed(status.to_string(), &answer)),
        }
    }

    /// Ends with this future, whatever it still waits for.
    async fn run(&self, action: &str, input: &[u8]) -> io::Result<(ExitStatus, Vec<u8>)> {
        let mut child = Command::new(format!("{}{EXE_SUFFIX}", self.program))
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("no input or output");
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let telling = async move {
            match stdin.write_all(input).await {
                // It has read enough to know what it wants to say.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                written => written,
            }
        };
        let mut answer = Vec::new();
        let mut bounded = stdout.take(LONGEST_ANSWER);
        let (told, read) = tokio::join!(telling, bounded.read_to_end(&mut answer));
        told?;
        read?;
        Ok((child.wait().await?, answer))
    }
}
