//! How containers are ended: asked first, killed when they do not listen; and removed, and restarted.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal as UnixSignal;
use tokio::time::timeout;

use super::container::{Container, Purpose, Signal};
use super::mounts::AnonymousVolumes;
use super::state::State;
use super::{Engine, EngineError, Start};

/// Docker's patience where neither the client nor the container says otherwise.
const PATIENCE: i64 = 10;
/// How long the kernel may take to end a killed process. One that hangs in the kernel takes longer.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The kernel's own real-time signals begin here; the C library takes the first two for itself.
const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

/// How a client wants a container to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StopWish {
    /// `None`: the container's own, or SIGTERM.
    pub(crate) signal: Option<i32>,
    /// Seconds until it is killed, negative for never; `None`: the container's own, or ten.
    pub(crate) timeout: Option<i64>,
}

/// What a stop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It rests now.
    Now,
    /// It did already.
    AlreadyStopped,
}

/// A signal by name, with or without `SIG`, or by number. The words are moby's.
pub(crate) fn parse_signal(text: &str) -> Result<i32, EngineError> {
    let invalid = || EngineError::Invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            0 => Err(invalid()),
            1..=SIGRTMAX => Ok(number),
            _ => Err(EngineError::Invalid(format!("the linux daemon does not support signal {number}"))),
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    let known = match name {
        "CLD" => Ok(UnixSignal::SIGCHLD),
        "POLL" => Ok(UnixSignal::SIGIO),
        "IOT" => Ok(UnixSignal::SIGABRT),
        _ => format!("SIG{name}").parse(),
    };
    known.map(|signal| signal as i32).map_err(|_| invalid())
}

fn real_time(name: &str) -> Option<i32> {
    let number = match name {
        "RTMIN" => SIGRTMIN,
        "RTMAX" => SIGRTMAX,
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(up), _) => SIGRTMIN.checked_add(up.parse().ok()?)?,
            (_, Some(down)) => SIGRTMAX.checked_sub(down.parse().ok()?)?,
            _ => return None,
        },
    };
    (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number)
}

impl Engine {
    /// Asks a container to end and kills it when its time is up. Goes on when the client does not wait.
    pub(crate) async fn stop(
        self: &Arc<Self>,
        container: &Container,
        wish: StopWish,
    ) -> Result<Stop, EngineError> {
        let (engine, container) = (self.clone(), container.clone());
        carried_on(async move { engine.stop_now(&container, wish, Purpose::End).await }).await
    }

    /// Likewise, because the machine stops.
    pub(super) async fn stop_for_good(&self, container: &Container) {
        let stopped = async {
            container.shut_down().await?;
            self.stop_now(container, StopWish::default(), Purpose::ShutDown).await
        };
        match stopped.await {
            Ok(_) | Err(EngineError::NoSuchContainer(_)) => {}
            Err(error) => tracing::warn!("{} does not stop: {error}", container.id().short()),
        }
    }

    /// Sends a signal; with SIGKILL, waits for the end.
    pub(crate) async fn kill(&self, container: &Container, number: i32) -> Result<(), EngineError> {
        if !container.status().life.is_running() {
            return Err(EngineError::NotRunning(container.id().to_string()));
        }
        if number == UnixSignal::SIGKILL as i32 {
            return kill_and_wait(container, Purpose::End).await;
        }
        // With a stop signal of its own, any other is just a message to the program.
        let definition = container.definition();
        let own = definition.config.stop_signal.as_deref().filter(|text| !text.is_empty());
        let purpose = match own.map(parse_signal) {
            Some(Ok(own)) if own != number => Purpose::Tell,
            _ => Purpose::End,
        };
        container.signal(Signal { number, purpose }).await
    }

    /// Stops it if it runs, and starts it.
    pub(crate) async fn restart(
        self: &Arc<Self>,
        container: &Container,
        wish: StopWish,
    ) -> Result<(), EngineError> {
        let (engine, container) = (self.clone(), container.clone());
        carried_on(async move {
            container.keep_after_exit(true).await?;
            if let Err(error) = engine.stop_now(&container, wish, Purpose::End).await {
                container.keep_after_exit(false).await?;
                return Err(error);
            }
            let _: Start = container.start().await?;
            engine.tell_container(&container.definition(), "restart", []);
            Ok(())
        })
        .await
    }

    /// Removes a container; one that runs only by `force`.
    pub(crate) async fn remove(
        &self,
        container: &Container,
        force: bool,
        anonymous: AnonymousVolumes,
    ) -> Result<(), EngineError> {
        let container = container.clone();
        carried_on(async move {
            if force && container.status().life.is_running() {
                match kill_and_wait(&container, Purpose::End).await {
                    // It ended by itself, or went by its own `--rm`, in this moment.
                    Ok(()) | Err(EngineError::NotRunning(_) | EngineError::NoSuchContainer(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match container.remove(anonymous).await {
                Err(EngineError::NoSuchContainer(_)) if container.status().life.state == State::Removed => {
                    Ok(())
                }
                other => other,
            }
        })
        .await
    }

    async fn stop_now(
        &self,
        container: &Container,
        wish: StopWish,
        purpose: Purpose,
    ) -> Result<Stop, EngineError> {
        if !container.status().life.is_running() {
            return Ok(Stop::AlreadyStopped);
        }
        let definition = container.definition();
        let config = &definition.config;
        let number = match (wish.signal, config.stop_signal.as_deref()) {
            (Some(number), _) => number,
            (None, Some(text)) if !text.is_empty() => parse_signal(text)?,
            _ => UnixSignal::SIGTERM as i32,
        };
        match container.signal(Signal { number, purpose }).await {
            Ok(()) | Err(EngineError::NotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        let patience = wish.timeout.or(config.stop_timeout).unwrap_or(PATIENCE);
        let rested = match u64::try_from(patience) {
            Ok(seconds) => timeout(Duration::from_secs(seconds), at_rest(container)).await.is_ok(),
            Err(_never) => {
                at_rest(container).await;
                true
            }
        };
        if !rested {
            match kill_and_wait(container, purpose).await {
                // It ended just when its time was up.
                Ok(()) | Err(EngineError::NotRunning(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.tell_container(&container.definition(), "stop", []);
        Ok(Stop::Now)
    }
}

async fn kill_and_wait(container: &Container, purpose: Purpose) -> Result<(), EngineError> {
    container.signal(Signal { number: UnixSignal::SIGKILL as i32, purpose }).await?;
    timeout(KILL_DEADLINE, at_rest(container)).await.map_err(|_| {
        EngineError::Internal("tried to kill container, but did not receive an exit event".to_owned())
    })
}

async fn at_rest(container: &Container) {
    // Its task ends only when the container is gone, or the engine.
    let _ = container.watch().wait_for(|status| !status.life.is_running()).await;
}

/// Does `work` to its end, even where the client that wanted it goes away in between.
async fn carried_on<T: Send + 'static>(
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(EngineError::Internal(format!("{error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigusr1", 10),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("CLD", 17),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_in_mobys_words() {
        for text in ["", "0", "SIGNOPE", "RTMIN+31", "RTMAX-99999999999"] {
            assert_eq!(parse_signal(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
        assert_eq!(
            parse_signal("65").unwrap_err().to_string(),
            "the linux daemon does not support signal 65"
        );
    }
}
