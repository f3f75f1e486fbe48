//! The host's half of the private link (`holm_api::link`): greets the guest, configures it, keeps its clock, and
//! turns what it says into events.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holm_api::link::{self, Configure, GuestMessage, HostMessage, LINK_VERSION, LinkError};
use holm_api::port;
use holm_vmm::{Machine, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep, timeout};

/// Between two tries to reach a guest that does not listen yet. Each costs one packet.
const RETRY: Duration = Duration::from_millis(10);
/// A guest that has greeted answers at once.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How often the guest's clock is set though nothing happened.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);
/// How often it is looked whether the computer slept.
const WAKE_CHECK: Duration = Duration::from_secs(5);
/// A wall clock that moved this much more than the monotonic one: the computer slept or was set.
const CLOCK_JUMP: Duration = Duration::from_millis(500);

/// Why the link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the guest speaks version {theirs} of the link and this program version {LINK_VERSION}")]
    OtherVersion { theirs: u32 },
    #[error("the guest broke the rules of the link: {0}")]
    BadMessage(#[from] LinkError),
    #[error("the guest sent {0} where it should not")]
    OutOfTurn(&'static str),
    #[error("the link to the guest broke")]
    Broken(#[from] io::Error),
}

/// A link on which both sides have said hello.
pub(super) struct Link {
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
}

impl Link {
    /// Tries until the guest listens; whoever calls has a deadline.
    pub(super) async fn open(machine: &dyn Machine) -> Result<Self, SessionError> {
        let stream = loop {
            match machine.connect(port::LINK.0).await {
                Ok(stream) => break stream,
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => sleep(RETRY).await,
                Err(e) => return Err(e.into()),
            }
        };
        let (reader, writer) = tokio::io::split(stream);
        let mut link = Self { reader, writer };
        link.send(&HostMessage::Hello { version: LINK_VERSION }).await?;
        let hello = timeout(HELLO_DEADLINE, receive(&mut link.reader)).await;
        match hello.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
            GuestMessage::Hello { version: LINK_VERSION, .. } => Ok(link),
            GuestMessage::Hello { version, .. } => Err(SessionError::OtherVersion { theirs: version }),
            _ => Err(SessionError::OutOfTurn("something before its hello")),
        }
    }

    /// Configures the guest and serves the link until it ends. What the guest says goes to `heard`; what is asked
    /// through `orders` goes to the guest.
    pub(super) async fn serve(
        mut self,
        configure: Configure,
        heard: mpsc::Sender<GuestMessage>,
        mut orders: mpsc::Receiver<HostMessage>,
    ) -> Result<(), SessionError> {
        self.send(&HostMessage::Configure(Box::new(configure))).await?;
        let (mut reader, mut writer) = (self.reader, self.writer);
        // Its own task: a half-read message must not be dropped because an order or a tick came first.
        let hear = async {
            loop {
                match receive(&mut reader).await? {
                    GuestMessage::Hello { .. } => return Err(SessionError::OutOfTurn("a second hello")),
                    message => {
                        if heard.send(message).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        };
        let speak = async {
            let mut clock = ClockWatch::new();
            let mut ticks = interval(WAKE_CHECK);
            loop {
                let message = tokio::select! {
                    order = orders.recv() => match order {
                        Some(order) => order,
                        None => return Ok(()),
                    },
                    _ = ticks.tick() => match clock.due() {
                        true => HostMessage::SetClock { unix_nanos: unix_nanos() },
                        false => continue,
                    },
                };
                write(&mut writer, &message).await?;
            }
        };
        tokio::select! {
            ended = hear => ended,
            ended = speak => ended,
        }
    }

    async fn send(&mut self, message: &HostMessage) -> Result<(), SessionError> {
        write(&mut self.writer, message).await
    }
}

async fn write(writer: &mut WriteHalf<Stream>, message: &HostMessage) -> Result<(), SessionError> {
    writer.write_all(&link::encode(message)?).await?;
    Ok(writer.flush().await?)
}

async fn receive(reader: &mut (impl AsyncRead + Unpin)) -> Result<GuestMessage, SessionError> {
    let mut prefix = [0; link::LENGTH_PREFIX];
    reader.read_exact(&mut prefix).await?;
    let mut body = vec![0; link::parse_length(prefix)?];
    reader.read_exact(&mut body).await?;
    Ok(link::decode(&body)?)
}

/// Nanoseconds since the Unix epoch, now.
pub(super) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells when the guest's clock wants setting: every minute, and when the wall clock ran away from the monotonic
/// one, which stands still while the computer sleeps.
struct ClockWatch {
    set: Instant,
    wall: u64,
}

impl ClockWatch {
    fn new() -> Self {
        Self { set: Instant::now(), wall: unix_nanos() }
    }

    fn due(&mut self) -> bool {
        let expected = self.wall.saturating_add(self.set.elapsed().as_nanos() as u64);
        let jumped = Duration::from_nanos(unix_nanos().abs_diff(expected)) > CLOCK_JUMP;
        let due = jumped || self.set.elapsed() >= CLOCK_INTERVAL;
        if due {
            *self = Self::new();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_is_due_at_once() {
        let mut clock = ClockWatch::new();
        assert!(!clock.due());
        clock.wall -= 3_000_000_000;
        assert!(clock.due());
        assert!(!clock.due(), "setting it once is enough");
    }

    #[tokio::test]
    async fn a_guest_message_over_the_limit_ends_the_link() {
        let error = receive(&mut &[0xff_u8; 8][..]).await.unwrap_err();
        assert!(matches!(error, SessionError::BadMessage(LinkError::TooLong(_))), "{error}");
    }
}
