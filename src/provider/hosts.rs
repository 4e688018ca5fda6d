//! The services that are called, each with its own turns, so that a slow one delays nobody else. Invariants: at most
//! so many calls are under way for a service, at most so many requests are sent to it at once, and at most
//! `MOST_HOSTS` services are called at once; what is beyond that is refused and does not wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::error::{Error, Result};

/// Services that are called at once.
const MOST_HOSTS: usize = 64;
/// The longest pause that a service imposes on all calls to it. After this time, one asks again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The setting of the calls for one service, for messages.
const WAITING: &str = "provider.waiting";

/// All services that are called, or were lately.
#[derive(Debug)]
pub(super) struct Hosts {
    requests_at_once: usize,
    waiting: usize,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// One service.
#[derive(Debug)]
struct Host {
    calls: Arc<Semaphore>,
    requests: Semaphore,
    /// Until when it has asked to be left alone.
    pause: Mutex<Option<Instant>>,
}

/// A call that was let in; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    host: Arc<Host>,
    _call: OwnedSemaphorePermit,
}

impl Hosts {
    pub(super) fn new(requests_at_once: usize, waiting: usize) -> Hosts {
        let bound = |count: usize| count.clamp(1, Semaphore::MAX_PERMITS);
        Hosts { requests_at_once: bound(requests_at_once), waiting: bound(waiting), hosts: Mutex::default() }
    }

    /// Lets a call in.
    ///
    /// # Errors
    /// `Unavailable` where too many are under way.
    pub(super) fn enter(&self, authority: &str) -> Result<Admitted> {
        let host = self.host(authority)?;
        let call = host.calls.clone().try_acquire_owned().map_err(|_| {
            let full = format!("expected fewer than {} calls to it at once: try again later ({WAITING})", self.waiting);
            Error::unavailable(format!("the embedding provider at {authority} is busy: {full}")).of_setting(WAITING)
        })?;
        Ok(Admitted { host, _call: call })
    }

    fn host(&self, authority: &str) -> Result<Arc<Host>> {
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.get(authority) {
            return Ok(host.clone());
        }
        if hosts.len() >= MOST_HOSTS {
            hosts.retain(|_, host| Arc::strong_count(host) > 1 || host.pause_left().is_some());
        }
        if hosts.len() >= MOST_HOSTS {
            let full =
                format!("expected at most {MOST_HOSTS} embedding providers at once, {authority} would be one more");
            return Err(Error::unavailable(format!("{full}: try again later")));
        }
        let host = Arc::new(Host {
            calls: Arc::new(Semaphore::new(self.waiting)),
            requests: Semaphore::new(self.requests_at_once),
            pause: Mutex::default(),
        });
        hosts.insert(authority.to_owned(), host.clone());
        Ok(host)
    }
}

impl Host {
    fn pause_left(&self) -> Option<Duration> {
        let left = (*self.pause.lock())?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Admitted {
    /// Waits for the service's pause to end and for a turn. `None` if the pause lasts beyond the deadline: waiting for
    /// it would be in vain.
    pub(super) async fn turn(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        loop {
            while let Some(left) = self.host.pause_left() {
                if Instant::now() + left >= deadline {
                    return None;
                }
                tokio::time::sleep(left).await;
            }
            let turn = self.host.requests.acquire().await.ok()?;
            // A request before this one may have been told to wait.
            if self.host.pause_left().is_none() {
                return Some(turn);
            }
        }
    }

    /// Keeps all calls from the service for as long as it asks, within reason.
    pub(super) fn pause(&self, asked: Duration) {
        let until = Instant::now() + asked.min(LONGEST_PAUSE);
        let mut pause = self.host.pause.lock();
        *pause = (*pause).max(Some(until));
    }

    /// How long the service wants to be left alone.
    pub(super) fn pause_left(&self) -> Option<Duration> {
        self.host.pause_left()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn calls_beyond_the_bound_are_refused_until_one_leaves_and_other_services_are_free() {
        let hosts = Hosts::new(1, 2);
        let (first, _second) = (hosts.enter("a").unwrap(), hosts.enter("a").unwrap());
        let refused = hosts.enter("a").unwrap_err();
        assert_eq!((refused.kind(), refused.setting()), (ErrorKind::Unavailable, Some(WAITING)));
        assert!(hosts.enter("b").is_ok());
        drop(first);
        assert!(hosts.enter("a").is_ok());
    }

    #[test]
    fn services_are_bounded_and_those_without_calls_make_room() {
        let hosts = Hosts::new(1, 1);
        let mut calls: Vec<Admitted> = (0..MOST_HOSTS).map(|n| hosts.enter(&n.to_string()).unwrap()).collect();
        assert_eq!(hosts.enter("more").unwrap_err().kind(), ErrorKind::Unavailable);
        // A pause that a service asked for is kept beyond its calls.
        calls.remove(1).pause(Duration::from_secs(60));
        assert_eq!(hosts.enter("more").unwrap_err().kind(), ErrorKind::Unavailable);
        drop(calls.remove(0));
        assert!(hosts.enter("more").is_ok());
        assert_eq!(hosts.hosts.lock().len(), MOST_HOSTS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_all_calls_to_the_service_and_ends() {
        let hosts = Hosts::new(4, 4);
        let (one, other) = (hosts.enter("a").unwrap(), hosts.enter("a").unwrap());
        one.pause(Duration::from_secs(7));
        one.pause(Duration::from_secs(3));
        let started = Instant::now();
        assert!(other.turn(soon()).await.is_some());
        assert_eq!(started.elapsed().as_secs(), 7);
        one.pause(Duration::from_secs(86_400));
        assert!(other.turn(soon()).await.is_none());
        assert_eq!(other.pause_left(), Some(LONGEST_PAUSE));
        assert!(hosts.enter("b").unwrap().turn(soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_once_are_bounded_for_each_service() {
        let hosts = Hosts::new(1, 4);
        let (one, other) = (hosts.enter("a").unwrap(), hosts.enter("a").unwrap());
        let turn = one.turn(soon()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_secs(1), other.turn(soon())).await.map(drop);
        assert!(waited.is_err());
        assert!(hosts.enter("b").unwrap().turn(soon()).await.is_some());
        drop(turn);
        assert!(other.turn(soon()).await.is_some());
    }
}
