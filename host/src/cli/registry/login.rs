//! `login`: tries a name and a password at a registry, and keeps them where they are good.

use std::io::{self, IsTerminal, Read};

use serde::Deserialize;

use super::warn_of_variable;
use crate::cli::client::Call;
use crate::cli::credentials::{HUB, Login, host};
use crate::cli::error::CliError;
use crate::cli::output::note::{Kind, note};
use crate::cli::prompt;
use crate::cli::session::{self, Session};

/// More is no password.
const LONGEST_PASSWORD: u64 = 1 << 20;
const NO_ACCOUNT: &str = "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.";
const TOKENS: &str = "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/";

/// The long description.
pub(crate) const ABOUT: &str =
    "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.";

/// `holm login`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "string")]
    password: Option<Secret>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// What was typed after `-p`: it does not show.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// What the engine answers to a good login.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    status: String,
    #[serde(default)]
    identity_token: String,
}

/// Logs in.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    check(&args)?;
    let username = args.username.unwrap_or_default();
    let password = match (args.password, args.password_stdin) {
        (Some(Secret(password)), _) => {
            session::warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            password
        }
        (None, true) => from_input()?,
        (None, false) => String::new(),
    };
    warn_of_variable(session);
    let server = match args.server.as_deref().unwrap_or_default() {
        "" | "docker.io" => HUB.to_owned(),
        HUB => HUB.to_owned(),
        other => host(other).to_owned(),
    };
    let mut kept = Login::default();
    if username.is_empty() && password.is_empty() {
        match session.credentials.get(&server).await {
            Ok(login) => kept = Login { server: server.clone(), ..login },
            // As nobody; what is wrong is told when the new login is to be kept.
            Err(error) => session::warn(&error.to_string()),
        }
        if !kept.username.is_empty()
            && !kept.password.is_empty()
            && let Some(status) = as_before(session, &kept).await?
        {
            return told(&status);
        }
    }
    let login = ask(username, password, &kept.username, &server).await?;
    let answer = try_login(session, &login).await?;
    keep(session, login, answer.identity_token).await?;
    told(&answer.status)
}

/// What contradicts itself, in Docker's words.
fn check(args: &Args) -> Result<(), CliError> {
    if args.password_stdin && args.password.is_some() {
        return Err(CliError::said(
            "conflicting options: cannot specify both --password and --password-stdin",
        ));
    }
    if args.password_stdin && args.username.is_none() {
        return Err(CliError::said("the --password-stdin option requires --username to be set"));
    }
    if args.username.as_deref() == Some("") {
        return Err(CliError::said("username is empty"));
    }
    match &args.password {
        Some(Secret(password)) if password.is_empty() => Err(CliError::said("password is empty")),
        _ => Ok(()),
    }
}

fn from_input() -> Result<String, CliError> {
    let mut text = String::new();
    let read = io::stdin().lock().take(LONGEST_PASSWORD).read_to_string(&mut text);
    read.map_err(|cause| CliError::Local { what: "cannot read the password".to_owned(), cause })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Tries the login that is kept. `None` where it is not good any more.
async fn as_before(session: &Session, kept: &Login) -> Result<Option<String>, CliError> {
    session::warn(&format!("Authenticating with existing credentials... [Username: {}]", kept.username));
    let hint = "To login with a different account, run 'docker logout' followed by 'docker login'";
    session::warn(&format!("{}\n", note(Kind::Info, hint, io::stderr().is_terminal())));
    match try_login(session, kept).await {
        Ok(answer) => {
            keep(session, kept.clone(), answer.identity_token).await?;
            Ok(Some(answer.status))
        }
        Err(CliError::Refused { status: 401, .. }) => {
            session::warn("Stored credentials invalid or expired");
            Ok(None)
        }
        Err(error) => {
            session::warn(&format!("Login did not succeed, error: {error}"));
            Ok(None)
        }
    }
}

/// Asks for what is missing.
async fn ask(username: String, password: String, usual: &str, server: &str) -> Result<Login, CliError> {
    let is_complete = !username.is_empty() && !password.is_empty();
    if !is_complete && !io::stdin().is_terminal() {
        return Err(CliError::said("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let mut username = username.trim().to_owned();
    if username.is_empty() {
        if server == HUB {
            session::warn("Holm has no web-based login - falling back to command line login...\n");
            session::print_line(&format!("{NO_ACCOUNT}\n{TOKENS}\n"))?;
        }
        let question = match usual {
            "" => "Username: ".to_owned(),
            usual => format!("Username ({usual}): "),
        };
        username = prompt::ask(&question).await?;
        if username.is_empty() {
            username = usual.to_owned();
        }
        if username.is_empty() {
            return Err(CliError::said("Error: Non-null Username Required"));
        }
    }
    let mut password = password.trim().to_owned();
    if password.is_empty() {
        if server == HUB {
            let hint = "A Personal Access Token (PAT) can be used instead.\nTo create a PAT, visit https://app.docker.com/settings\n\n";
            session::warn(note(Kind::Info, hint, io::stderr().is_terminal()).trim_end_matches('\n'));
        }
        password = prompt::ask_secretly("Password: ").await?;
        if password.is_empty() {
            return Err(CliError::said("Error: Password Required"));
        }
    }
    Ok(Login { server: server.to_owned(), username, password, ..Login::default() })
}

async fn try_login(session: &Session, login: &Login) -> Result<Answer, CliError> {
    session.client.send(Call::post("/auth").json(&login.body())?).await?.json().await
}

/// Keeps the login, or the token that stands for its password.
async fn keep(session: &Session, mut login: Login, token: String) -> Result<(), CliError> {
    if !token.is_empty() {
        login.password.clear();
        login.identity_token = token;
    }
    let kept = session.credentials.store(&login).await;
    kept.map_err(|error| CliError::said(format!("Error saving credentials: {error}")))
}

fn told(status: &str) -> Result<(), CliError> {
    if status.is_empty() { Ok(()) } else { session::print_line(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(username: Option<&str>, password: Option<&str>, password_stdin: bool) -> Args {
        Args {
            username: username.map(str::to_owned),
            password: password.map(|text| Secret(text.to_owned())),
            password_stdin,
            server: None,
        }
    }

    #[test]
    fn contradictions_are_told_in_dockers_words() {
        let told = |args| check(&args).unwrap_err().to_string();
        assert_eq!(
            told(args(Some("a"), Some("b"), true)),
            "conflicting options: cannot specify both --password and --password-stdin"
        );
        assert_eq!(told(args(None, None, true)), "the --password-stdin option requires --username to be set");
        assert_eq!(told(args(Some(""), None, false)), "username is empty");
        assert_eq!(told(args(Some("a"), Some(""), false)), "password is empty");
        assert!(check(&args(Some("a"), Some("b"), false)).is_ok());
    }

    #[test]
    fn a_password_does_not_show() {
        assert!(!format!("{:?}", args(None, Some("secret"), false)).contains("secret"));
    }
}
