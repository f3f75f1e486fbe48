//! The rules one by one, and what holds after any sequence of events.

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn running(policy: RestartPolicy) -> Life {
    let mut life = Life::default();
    assert_eq!(life.apply(Event::Start, policy), Ok(Action::Launch));
    assert_eq!(life.apply(Event::Started { pid: 7, at: at(100) }, policy), Ok(Action::Rest));
    life
}

fn exit(life: &mut Life, code: i32, seconds: i64, policy: RestartPolicy) -> Action {
    life.apply(Event::Exited { code, oom_killed: false, at: at(seconds) }, policy).unwrap()
}

#[test]
fn a_container_without_policy_rests_after_its_exit() {
    let mut life = running(RestartPolicy::No);
    assert_eq!(exit(&mut life, 3, 101, RestartPolicy::No), Action::Settled);
    assert_eq!((life.word(), life.exit_code, life.exits), ("exited", 3, 1));
}

#[test]
fn each_pause_is_twice_the_last_until_it_ran_for_ten_seconds() {
    let policy = RestartPolicy::Always;
    let mut life = running(policy);
    let mut now = 100;
    for millis in [100, 200, 400, 800] {
        assert_eq!(exit(&mut life, 0, now + 1, policy), Action::Pause(Duration::from_millis(millis)));
        now += 1;
        life.apply(Event::BackOffOver, policy).unwrap();
        life.apply(Event::Started { pid: 8, at: at(now) }, policy).unwrap();
    }
    assert_eq!(exit(&mut life, 0, now + 10, policy), Action::Pause(Duration::from_millis(100)));
}

#[test]
fn on_failure_counts_its_tries_and_success_ends_them() {
    let policy = RestartPolicy::OnFailure(Some(1));
    let mut life = running(policy);
    assert!(matches!(exit(&mut life, 1, 101, policy), Action::Pause(_)));
    life.apply(Event::BackOffOver, policy).unwrap();
    life.apply(Event::Started { pid: 8, at: at(102) }, policy).unwrap();
    assert_eq!(exit(&mut life, 1, 103, policy), Action::Settled);
    let mut life = running(policy);
    assert_eq!(exit(&mut life, 0, 101, policy), Action::Settled);
}

#[test]
fn what_a_client_stopped_is_not_started_by_policy() {
    for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped, RestartPolicy::OnFailure(None)] {
        let mut life = running(policy);
        life.apply(Event::Stop, policy).unwrap();
        assert_eq!(exit(&mut life, 137, 101, policy), Action::Settled);
    }
}

#[test]
fn after_a_restart_of_the_engine_always_runs_again_and_unless_stopped_only_if_it_was_not() {
    let mut life = running(RestartPolicy::No);
    life.apply(Event::Stop, RestartPolicy::No).unwrap();
    exit(&mut life, 0, 101, RestartPolicy::No);
    assert!(life.starts_with_engine(RestartPolicy::Always));
    assert!(!life.starts_with_engine(RestartPolicy::UnlessStopped));
    life.stopped_by_client = false;
    assert!(life.starts_with_engine(RestartPolicy::UnlessStopped));
    assert!(!life.starts_with_engine(RestartPolicy::OnFailure(None)));
    assert!(!Life::default().starts_with_engine(RestartPolicy::Always));
}

#[test]
fn a_stop_between_two_runs_cancels_the_second() {
    let policy = RestartPolicy::Always;
    let mut life = running(policy);
    exit(&mut life, 1, 101, policy);
    assert_eq!(life.word(), "restarting");
    assert_eq!(life.apply(Event::Stop, policy), Ok(Action::Settled));
    assert_eq!(life.apply(Event::BackOffOver, policy), Ok(Action::Rest));
    assert_eq!(life.word(), "exited");
}

#[test]
fn a_failed_first_start_leaves_it_created_and_a_later_one_exited() {
    let policy = RestartPolicy::No;
    let mut life = Life::default();
    life.apply(Event::Start, policy).unwrap();
    let failed = Event::StartFailed { code: 127, message: "not found".to_owned() };
    assert_eq!(life.apply(failed.clone(), policy), Ok(Action::Settled));
    assert_eq!((life.word(), life.exit_code), ("created", 127));

    let mut life = running(policy);
    exit(&mut life, 0, 101, policy);
    life.apply(Event::Start, policy).unwrap();
    life.apply(failed, policy).unwrap();
    assert_eq!((life.word(), life.exit_code), ("exited", 127));
}

#[test]
fn a_running_container_is_not_removed_and_a_removed_one_not_started() {
    let policy = RestartPolicy::No;
    let mut life = running(policy);
    assert_eq!(life.apply(Event::Remove, policy), Err(Refusal::StillRunning));
    exit(&mut life, 0, 101, policy);
    assert_eq!(life.apply(Event::Remove, policy), Ok(Action::Delete));
    assert_eq!(life.apply(Event::Remove, policy), Err(Refusal::RemovalInProgress));
    assert_eq!(life.apply(Event::Start, policy), Err(Refusal::MarkedForRemoval));
    life.apply(Event::Removed, policy).unwrap();
    assert_eq!(life.state, State::Removed);
}

#[test]
fn a_paused_container_is_neither_started_nor_removed_and_may_still_end() {
    let policy = RestartPolicy::No;
    let mut life = running(policy);
    life.apply(Event::Paused, policy).unwrap();
    assert_eq!((life.word(), life.is_running(), life.pid()), ("paused", true, Some(7)));
    assert_eq!(life.apply(Event::Start, policy), Err(Refusal::Paused));
    assert_eq!(life.apply(Event::Remove, policy), Err(Refusal::StillRunning));
    let mut going_on = life.clone();
    going_on.apply(Event::Unpaused, policy).unwrap();
    assert_eq!((going_on.word(), going_on.pid()), ("running", Some(7)));
    assert_eq!(exit(&mut life, 137, 101, policy), Action::Settled);
    assert!(!life.is_paused());
}

/// An event from a byte, so that sequences of them can be made up.
fn event(byte: u8, now: i64) -> Event {
    match byte % 13 {
        0 => Event::Start,
        1 => Event::StartAgain,
        2 => Event::Started { pid: 1 + i32::from(byte), at: at(now) },
        3 => Event::StartFailed { code: 127, message: "no".to_owned() },
        4 | 5 => Event::Exited { code: i32::from(byte / 13) % 3, oom_killed: false, at: at(now) },
        6 => Event::BackOffOver,
        7 => Event::Stop,
        8 => Event::ShutDown,
        9 => Event::Remove,
        10 => Event::Paused,
        11 => Event::Unpaused,
        _ => [Event::Removed, Event::RemoveFailed][usize::from(byte / 13) % 2].clone(),
    }
}

mod fuzz {
    use super::*;

    #[test]
    fn no_sequence_of_events_breaks_the_rules() {
        let policies = [
            RestartPolicy::No,
            RestartPolicy::OnFailure(Some(2)),
            RestartPolicy::Always,
            RestartPolicy::UnlessStopped,
        ];
        bolero::check!().with_type::<(u8, Vec<u8>)>().for_each(|(choice, bytes)| {
            let policy = policies[usize::from(*choice) % policies.len()];
            let mut life = Life::default();
            for (step, byte) in bytes.iter().enumerate() {
                let before = life.clone();
                let outcome = life.apply(event(*byte, step as i64), policy);
                match outcome {
                    Err(_) => assert_eq!(before, life, "a refused event changes nothing"),
                    Ok(Action::Launch) => assert_eq!(life.state, State::Starting),
                    Ok(Action::Delete) => assert_eq!(life.state, State::Removing),
                    Ok(Action::Pause(pause)) => {
                        assert_eq!(life.state, State::Restarting);
                        assert!(!life.stopped_by_client && policy != RestartPolicy::No);
                        assert!((FIRST_BACK_OFF..=LONGEST_BACK_OFF).contains(&pause));
                    }
                    Ok(Action::Settled) => assert!(matches!(life.state, State::Created | State::Exited)),
                    Ok(Action::Rest) => {}
                }
                assert!(life.exits - before.exits <= 1);
                assert!(life.exits == before.exits || before.pid().is_some(), "only what ran can exit");
                if before.state == State::Removed {
                    assert_eq!(life.state, State::Removed, "nothing comes back");
                }
                if let RestartPolicy::OnFailure(Some(most)) = policy {
                    assert!(life.restart_count <= most);
                }
            }
        });
    }
}
