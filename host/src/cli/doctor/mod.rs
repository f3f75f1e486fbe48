//! `holm doctor`: looks at everything between containers and the world, and says what to do.
//!
//! ```text
//!   this computer ─┐
//!   the daemon   ──┼─► facts ─► rules ─► a line each   (shares.rs: folders of this computer)
//!   the engine   ──┘
//! ```

mod rules;
mod shares;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use holm_api::diagnosis::{Diagnosis, PATH};
use holm_api::network::HOST_NAMES;
use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::arguments::{Caller, TABLE_FORMAT_HELP};
use super::client::Call;
use super::environment::{SharedPath, Surroundings};
use super::error::CliError;
use super::output::rows::{Column, Format, Row, template_error};
use super::session::{self, Session};
use rules::{Check, Subnet, Verdict};

/// How long this computer's resolver, or a proxy, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the engine may take, which asks registries meanwhile.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

const COLUMNS: [Column; 4] =
    [("Check", "CHECK"), ("Status", "STATUS"), ("Found", "FOUND"), ("Advice", "WHAT TO DO")];
const TABLE: &str = "table {{.Check}}\t{{.Status}}\t{{.Found}}{{if .Advice}}: {{.Advice}}{{end}}";

/// `holm doctor`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    name: String,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    config: Option<Vec<Pool>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Pool {
    subnet: String,
}

/// Starts the machine where it does not run, looks, and tells. Status 1 says that something is wrong.
pub(crate) fn run(args: &Args, caller: &Caller<'_>) -> Result<(), CliError> {
    let format = Format::parse(&args.format, TABLE).map_err(template_error)?;
    caller.ensure_daemon()?;
    // Somebody else's daemon has nothing to say of this computer.
    let daemon = &caller.environment.daemon;
    let (surroundings, shares) = match caller.names_a_host() {
        true => (Surroundings::default(), Vec::new()),
        false => {
            ((daemon.surroundings)().map_err(CliError::Daemon)?, (daemon.shares)().map_err(CliError::Daemon)?)
        }
    };
    let checks = caller.with_session(async |session| examine(&surroundings, shares, session).await)?;
    let rows: Vec<Row> = checks.iter().map(row).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)?;
    if checks.iter().any(|check| check.verdict == Verdict::Wrong) { Err(CliError::Exit(1)) } else { Ok(()) }
}

fn row(check: &Check) -> Row {
    Row::default()
        .with("Check", check.name)
        .with("Status", check.verdict.word())
        .with("Found", check.found.as_str())
        .with("Advice", check.advice.as_str())
}

async fn examine(
    surroundings: &Surroundings,
    shares: Vec<SharedPath>,
    session: &Session,
) -> Result<Vec<Check>, CliError> {
    // Whatever an earlier request cost is no difference of clocks.
    session.client.version().await?;
    let networks: Vec<Network> = session.client.send(Call::get("/networks")).await?.json().await?;
    let asking = async { session.client.send(Call::get(PATH)).await?.json::<Diagnosis>().await };
    let before = now();
    let diagnosis = timeout(ENGINE_PATIENCE, asking)
        .await
        .map_err(|_| CliError::Silent { host: session.client.host().to_owned() })??;
    let after = now();

    let mut checks = Vec::new();
    // The last one is the registry itself; those before it are mirrors.
    if let Some(probe) =
        diagnosis.registries.iter().find(|probe| probe.failure.is_none()).or(diagnosis.registries.last())
    {
        checks.push(rules::names(probe, &here(&probe.host).await));
    }
    checks.push(rules::registry(&diagnosis.registries));
    checks.push(rules::proxies(&call_all(&surroundings.proxies).await));
    checks.push(rules::mtu(&diagnosis.links));
    checks.push(rules::subnets(&subnets(&networks), crate::os::routes().as_deref()));
    checks.push(rules::clock(before, diagnosis.time, after));
    checks.push(rules::disk(surroundings.disk_free, &diagnosis));
    checks.push(shares::check_all(shares).await);
    Ok(checks)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What this computer's resolver says of a name.
async fn here(host: &str) -> Result<Vec<IpAddr>, String> {
    match timeout(PATIENCE, lookup_host((host, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn call_all(proxies: &[String]) -> Vec<(String, Result<(), String>)> {
    let mut called = Vec::new();
    for proxy in proxies {
        let result = match address_of(proxy) {
            Some((host, port)) => match timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
            },
            None => Err("this is no address".to_owned()),
        };
        called.push((without_login(proxy), result));
    }
    called
}

/// Where a proxy listens. One on this computer has another name in the machine.
fn address_of(proxy: &str) -> Option<(String, u16)> {
    let uri: http::Uri = proxy.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let host = if HOST_NAMES.contains(&host) { "localhost" } else { host };
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some((host.to_owned(), uri.port_u16().unwrap_or(usual)))
}

/// A report is often shown to others.
fn without_login(proxy: &str) -> String {
    match proxy.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, address)) => format!("{scheme}://{address}"),
        None => proxy.to_owned(),
    }
}

fn subnets(networks: &[Network]) -> Vec<Subnet> {
    let pools = networks.iter().flat_map(|network| {
        network.ipam.config.iter().flatten().map(move |pool| (network.name.as_str(), pool.subnet.as_str()))
    });
    let read = pools.filter_map(|(name, subnet)| {
        let (address, bits) = subnet.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
        Some(Subnet { network: name.to_owned(), address, bits })
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_this_computer_is_called_here_and_shown_without_its_password() {
        assert_eq!(address_of("http://host.docker.internal:3128"), Some(("localhost".to_owned(), 3128)));
        assert_eq!(address_of("https://proxy.lan"), Some(("proxy.lan".to_owned(), 443)));
        assert_eq!(without_login("http://me:secret@proxy:3128"), "http://proxy:3128");
    }

    #[test]
    fn only_subnets_that_can_be_read_are_compared() {
        let networks: Vec<Network> = serde_json::from_str(
            r#"[{"Name":"a","IPAM":{"Config":[{"Subnet":"172.18.0.0/16"},{"Subnet":"fd00::/64"}]}},{"Name":"host","IPAM":{"Config":null}}]"#,
        )
        .unwrap();
        let expected = Subnet { network: "a".to_owned(), address: Ipv4Addr::new(172, 18, 0, 0), bits: 16 };
        assert_eq!(subnets(&networks), [expected]);
    }
}
