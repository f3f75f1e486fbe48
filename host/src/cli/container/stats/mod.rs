//! `stats`: what containers use, once or as a table that is drawn again and again.
//!
//! ```text
//!   list, events ─► one reader a container ─► board ─► a frame every half second
//! ```

mod board;
mod figures;

use std::cell::RefCell;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::Value;

use super::{AT_ONCE, container_path};
use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::output::rows::{Format, template_error};
use crate::cli::session::{self, Session};
use board::Board;
use figures::Reading;

/// `holm stats`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t\
                     {{.BlockIO}}\t{{.PIDs}}";
/// How often the table is drawn.
const FRAME: Duration = Duration::from_millis(500);
/// A container that says nothing for so long has its figures taken off.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

/// Prints what the containers use.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let wanted = if args.format.is_empty() { &session.settings.stats_format } else { &args.format };
    let format = Format::parse(wanted, TABLE).map_err(template_error)?;
    let board = RefCell::new(Board::default());
    if args.no_stream {
        return once(&args, &format, &board, session).await;
    }
    if args.containers.is_empty() {
        return watch(&args, &format, &board, session).await;
    }
    let mut readers = FuturesUnordered::new();
    for container in &args.containers {
        board.borrow_mut().add(container);
        readers.push(read(session, container.clone(), &board));
    }
    let mut frames = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            Some(result) = readers.next() => result?,
            _ = frames.tick() => {
                if board.borrow().is_complete() {
                    draw(&args, &format, &board)?;
                }
            }
        }
    }
}

/// One reading of each, all at once.
async fn once(
    args: &Args,
    format: &Format,
    board: &RefCell<Board>,
    session: &Session,
) -> Result<(), CliError> {
    let named = !args.containers.is_empty();
    let containers = if named { args.containers.clone() } else { list(args, session).await? };
    for container in &containers {
        board.borrow_mut().add(container);
    }
    let read_one = async |container: &String| {
        let call = Call::get(container_path(container, "/stats")?).query("stream", "0");
        let reading: Reading = session.client.send(call).await?.json().await?;
        board.borrow_mut().set(container, &reading);
        Ok(())
    };
    let results: Vec<Result<(), CliError>> =
        futures_util::stream::iter(&containers).map(read_one).buffered(AT_ONCE).collect().await;
    if named {
        CliError::all(results.into_iter().filter_map(Result::err).collect())?;
    }
    session::print(&frame(args, format, board)?)
}

/// All containers, those that come and go meanwhile too.
async fn watch(
    args: &Args,
    format: &Format,
    board: &RefCell<Board>,
    session: &Session,
) -> Result<(), CliError> {
    // Listened to before the list is made, so that no start falls between the two.
    let only_containers = filter::parameter(&[Filter::new("type", "container")]);
    let call = Call::get("/events").option("filters", only_containers);
    let mut events = session.client.send(call).await?.lines();
    let mut readers = FuturesUnordered::new();
    for container in list(args, session).await? {
        if board.borrow_mut().add(&container) {
            readers.push(read(session, container, board));
        }
    }
    let mut frames = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            event = events.next() => {
                // A daemon that goes away ends the table, not with an error.
                let Ok(Some(event)) = event else { return Ok(()) };
                if let Some(container) = heed(args, &event, board) {
                    readers.push(read(session, container, board));
                }
            }
            // One that cannot be read any more is gone, and its event takes it off.
            Some(_) = readers.next() => {}
            _ = frames.tick() => {
                if board.borrow().is_complete() {
                    draw(args, format, board)?;
                }
            }
        }
    }
}

/// Does what an event asks for; a container that is new is to be read from now on.
fn heed(args: &Args, event: &Value, board: &RefCell<Board>) -> Option<String> {
    let id = event["Actor"]["ID"].as_str()?;
    match event["Action"].as_str()? {
        "start" => board.borrow_mut().add(id).then(|| id.to_owned()),
        "create" if args.all => board.borrow_mut().add(id).then(|| id.to_owned()),
        "destroy" => {
            board.borrow_mut().remove(id);
            None
        }
        "die" if !args.all => {
            board.borrow_mut().remove(id);
            None
        }
        _ => None,
    }
}

async fn list(args: &Args, session: &Session) -> Result<Vec<String>, CliError> {
    let call = Call::get("/containers/json").flag("all", args.all);
    let listed: Vec<Listed> = session.client.send(call).await?.json().await?;
    Ok(listed.into_iter().map(|container| container.id).collect())
}

/// Puts a container's readings on the board until they end.
async fn read(session: &Session, container: String, board: &RefCell<Board>) -> Result<(), CliError> {
    let call = Call::get(container_path(&container, "/stats")?).query("stream", "1");
    let mut readings = match session.client.send(call).await {
        Ok(reply) => reply.lines(),
        Err(error) => {
            board.borrow_mut().lose(&container);
            return Err(error);
        }
    };
    loop {
        match tokio::time::timeout(SILENCE, readings.next()).await {
            Ok(Ok(Some(reading))) => match serde_json::from_value::<Reading>(reading) {
                Ok(reading) => board.borrow_mut().set(&container, &reading),
                Err(error) => return Err(CliError::Transport(Box::new(error))),
            },
            Ok(_) => {
                board.borrow_mut().lose(&container);
                return Ok(());
            }
            Err(_) => board.borrow_mut().lose(&container),
        }
    }
}

fn frame(args: &Args, format: &Format, board: &RefCell<Board>) -> Result<String, CliError> {
    let rows = board.borrow().rows(!args.no_trunc);
    format.render(&board::COLUMNS, &rows).map_err(template_error)
}

/// Draws over what was there: from the top, each line to its end, and nothing below.
fn draw(args: &Args, format: &Format, board: &RefCell<Board>) -> Result<(), CliError> {
    let text = frame(args, format, board)?;
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    session::print(&format!("\x1b[H{lines}\x1b[J"))
}
