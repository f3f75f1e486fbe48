//! What happened, for `docker events`: the last of it kept in a ring, the rest of it told as it happens. A
//! subscriber who does not keep up is cut off, so that nothing queues without bound.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::broadcast;

/// As many as moby keeps; also how far a subscriber may be behind.
const KEPT: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network, mostly one that a container joins or leaves.
    Network,
    /// A volume.
    Volume,
}

/// Whom it happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Actor {
    /// Full id, or an image's reference.
    #[serde(rename = "ID")]
    pub(crate) id: String,
    /// Labels, name, image and what belongs to the action.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// One event, in the fields of the Engine API and in the older ones that clients still read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// What it is about.
    #[serde(rename = "Type")]
    pub(crate) subject: Subject,
    /// What happened: `create`, `start`, `die`, …
    #[serde(rename = "Action")]
    pub(crate) action: String,
    /// Whom it happened to.
    #[serde(rename = "Actor")]
    pub(crate) actor: Actor,
    scope: &'static str,
    time: i64,
    /// Nanoseconds since the Unix epoch.
    #[serde(rename = "timeNano")]
    pub(crate) time_nano: i64,
}

impl Event {
    fn new(subject: Subject, action: &str, actor: Actor, at: DateTime<Utc>) -> Self {
        let old = matches!(subject, Subject::Container | Subject::Image);
        Self {
            status: old.then(|| action.to_owned()),
            id: old.then(|| actor.id.clone()),
            from: (subject == Subject::Container).then(|| actor.attributes.get("image").cloned()).flatten(),
            subject,
            action: action.to_owned(),
            actor,
            scope: "local",
            time: at.timestamp(),
            time_nano: at.timestamp_nanos_opt().unwrap_or(i64::MAX),
        }
    }
}

/// The ring and its subscribers.
#[derive(Debug)]
pub(crate) struct Events {
    ring: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

/// What a subscriber gets first, and where it gets the rest.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Kept events, the oldest first.
    pub(crate) past: Vec<Arc<Event>>,
    /// All that follow, without a gap.
    pub(crate) live: broadcast::Receiver<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { ring: Mutex::default(), live: broadcast::channel(KEPT).0 }
    }
}

impl Events {
    /// Keeps and tells an event.
    pub(crate) fn tell(&self, subject: Subject, action: &str, actor: Actor) {
        let event = Arc::new(Event::new(subject, action, actor, Utc::now()));
        let mut ring = self.ring();
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(event.clone());
        // Under the lock, so that a new subscriber misses nothing and gets nothing twice. Nobody listening is
        // no error.
        let _ = self.live.send(event);
    }

    /// All that is kept and all that follows.
    pub(crate) fn subscribe(&self) -> Subscription {
        let ring = self.ring();
        Subscription { past: ring.iter().cloned().collect(), live: self.live.subscribe() }
    }

    /// How many listen.
    pub(crate) fn subscribers(&self) -> usize {
        self.live.receiver_count()
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        // Pushing and popping leave the ring whole at every step.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(id: usize) -> Actor {
        let image = ("image".to_owned(), "busybox".to_owned());
        Actor { id: id.to_string(), attributes: BTreeMap::from([image]) }
    }

    #[test]
    fn the_ring_keeps_the_newest() {
        let events = Events::default();
        for id in 0..KEPT + 3 {
            events.tell(Subject::Container, "start", actor(id));
        }
        let past = events.subscribe().past;
        assert_eq!(past.len(), KEPT);
        assert_eq!(past[0].actor.id, "3");
    }

    #[test]
    fn a_subscriber_sees_what_follows_and_is_cut_off_when_it_lags() {
        let events = Events::default();
        let mut subscription = events.subscribe();
        events.tell(Subject::Image, "pull", actor(1));
        assert_eq!(subscription.live.try_recv().unwrap().action, "pull");
        for id in 0..=KEPT {
            events.tell(Subject::Container, "start", actor(id));
        }
        assert!(matches!(subscription.live.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }

    #[test]
    fn a_container_event_has_the_old_fields_too() {
        let event = Event::new(Subject::Container, "die", actor(1), DateTime::UNIX_EPOCH);
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"status":"die","id":"1","from":"busybox","Type":"container","Action":"die","Actor":{"ID":"1","Attributes":{"image":"busybox"}},"scope":"local","time":0,"timeNano":0}"#
        );
    }
}
