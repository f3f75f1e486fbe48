//! Waiting for a container's end. A waiter is registered when it is made, not when it is first polled, so that
//! the exit of a container started right after is its to see.

use super::container::Container;
use super::state::State;

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// That it does not run; at once where it does not.
    #[default]
    NotRunning,
    /// The next exit, even where it does not run yet.
    NextExit,
    /// That it is gone.
    Removed,
}

/// How the wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waited {
    /// The last exit's.
    pub(crate) code: i32,
    /// Why it could not be started, or removed.
    pub(crate) error: Option<String>,
}

impl Container {
    /// Resolves when it happened. Ends early only with the engine.
    pub(crate) fn wait(&self, what: WaitFor) -> impl Future<Output = Waited> + Send + 'static {
        let mut watch = self.watch();
        let exits = watch.borrow_and_update().life.exits;
        async move {
            let happened = watch
                .wait_for(|status| match (what, status.life.state) {
                    (_, State::Removed) | (WaitFor::Removed, State::Dead) => true,
                    (WaitFor::NotRunning, State::Starting) => false,
                    (WaitFor::NotRunning, _) => !status.life.is_running(),
                    (WaitFor::NextExit, _) => status.life.exits > exits,
                    (WaitFor::Removed, _) => false,
                })
                .await
                .map(|status| status.life.clone());
            let life = happened.unwrap_or_else(|_| watch.borrow().life.clone());
            let error = match (what, life.state) {
                (WaitFor::Removed, State::Dead) => Some("unable to remove filesystem".to_owned()),
                // It went as it was asked to; who started it has been told why it did not run.
                (WaitFor::Removed, _) => None,
                _ => Some(life.error).filter(|text| !text.is_empty()),
            };
            Waited { code: life.exit_code, error }
        }
    }
}
