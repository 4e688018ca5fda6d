//! Open connections, and which of them end before their clients want it: those without a whole request for too long,
//! and those whose client takes nothing of an answer. When all places are taken, those that have waited longest end
//! too. Invariant: a connection with a request under way is never closed for a newcomer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How often an accept checks again for a free place.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Divisor of the number of places: at most that part of them is freed at once, by closing connections that never
/// sent a request.
const ROOM_PART: usize = 64;
/// Length at which a list of tickets is first swept.
const SWEPT_TICKETS: usize = 64;

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a whole request.
    pub(super) idle: Duration,
    /// Without taking a byte of an answer that is ready.
    pub(super) stalled: Duration,
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    count: usize,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    began: Instant,
    state: Mutex<ConnectionsState>,
    ended: Notify,
}

#[derive(Debug)]
struct ConnectionsState {
    /// Requests under way, including those whose answers are still being sent.
    requests: usize,
    /// Whether there was ever a request.
    asked: bool,
    /// Since when there has been no request.
    waiting_since: Instant,
    tickets: Vec<Weak<Ticket>>,
}

/// A place among the open connections; given back when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    number: u64,
    all: Arc<Connections>,
    connection: Arc<Connection>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A request on its way, from its headers to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Ticket {
    connection: Arc<Connection>,
    /// Since when the client could take something, in ms since the connection began, plus one; 0 while the server is
    /// at work.
    ready_since: AtomicU64,
    /// The permit that admitted the request, if it needed one.
    admission: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Connections {
    pub(super) fn new(count: usize) -> Arc<Connections> {
        let places = Arc::new(Semaphore::new(count));
        Arc::new(Connections { places, count, next: AtomicU64::new(0), open: Mutex::default() })
    }

    /// A place for an accepted connection. Waits until one is free, and closes connections without a request under
    /// way to free one.
    pub(super) async fn enter(self: &Arc<Self>) -> (ConnectionSlot, Arc<Connection>) {
        loop {
            if let Ok(permit) = self.places.clone().try_acquire_owned() {
                return self.admit(Some(permit));
            }
            self.make_room();
            let freed = self.places.clone().acquire_owned();
            match tokio::time::timeout(LOOK_INTERVAL, freed).await {
                // The semaphore is never closed; if it were, connections would go uncounted.
                Ok(permit) => return self.admit(permit.ok()),
                Err(_) => continue,
            }
        }
    }

    fn admit(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> (ConnectionSlot, Arc<Connection>) {
        let connection = Arc::new(Connection::new());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(number, connection.clone());
        let place = ConnectionSlot { number, all: self.clone(), connection: connection.clone(), _permit: permit };
        (place, connection)
    }

    /// Ends connections that have no request under way: first the oldest of those that never had one, then the one
    /// that has been idle for longest.
    pub(super) fn make_room(&self) {
        let open = self.open.lock();
        let mut waiting: Vec<(bool, Instant, &Arc<Connection>)> =
            open.values().filter_map(Connection::waiting).collect();
        waiting.sort_unstable_by_key(|(asked, since, _)| (*asked, *since));
        let silent = waiting.iter().take_while(|(asked, ..)| !asked).count();
        let most = (self.count / ROOM_PART).clamp(1, silent.max(1));
        for (.., connection) in waiting.into_iter().take(most) {
            connection.ended.notify_one();
        }
    }

    /// Ends connections that exceed their patience; never returns.
    pub(super) async fn watch(self: Arc<Self>, patience: Patience) {
        let shortest = patience.idle.min(patience.stalled);
        let interval = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(2));
        loop {
            tokio::time::sleep(interval).await;
            let open = self.open.lock();
            for connection in open.values() {
                if let Some(why) = connection.overdue(patience) {
                    tracing::debug!(why, "closing a connection");
                    connection.ended.notify_one();
                }
            }
        }
    }
}

impl ConnectionSlot {
    /// Resolves once the connection is to be closed.
    pub(super) async fn ended(&self) {
        self.connection.ended().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.all.open.lock().remove(&self.number);
    }
}

impl Connection {
    fn new() -> Connection {
        let began = Instant::now();
        let state = ConnectionsState { requests: 0, asked: false, waiting_since: began, tickets: Vec::new() };
        Connection { began, state: Mutex::new(state), ended: Notify::new() }
    }

    /// Resolves once the connection is to be closed.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Whether it ever had a request, and since when it has had none; `None` while one is under way.
    fn waiting(self: &Arc<Self>) -> Option<(bool, Instant, &Arc<Self>)> {
        let state = self.state.lock();
        (state.requests == 0).then_some((state.asked, state.waiting_since, self))
    }

    fn overdue(&self, patience: Patience) -> Option<&'static str> {
        // IMPORTANT: the tickets are collected first. The drop of a ticket's last reference takes the lock.
        let tickets: Vec<Arc<Ticket>> = {
            let state = self.state.lock();
            if state.requests == 0 {
                return (state.waiting_since.elapsed() > patience.idle).then_some("no complete request came");
            }
            state.tickets.iter().filter_map(Weak::upgrade).collect()
        };
        let limit = u64::try_from(patience.stalled.as_millis()).unwrap_or(u64::MAX);
        let stalled = |ticket: &Arc<Ticket>| match ticket.ready_since.load(Ordering::Relaxed) {
            0 => false,
            since => self.now().saturating_sub(since) > limit,
        };
        tickets.iter().any(stalled).then_some("the client stopped reading an answer")
    }

    /// Milliseconds since the connection began, plus one.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The ticket of a new request.
    pub(super) fn ticket(self: &Arc<Self>) -> Arc<Ticket> {
        let ticket =
            Arc::new(Ticket { connection: self.clone(), ready_since: AtomicU64::new(0), admission: Mutex::new(None) });
        let mut state = self.state.lock();
        (state.requests, state.asked) = (state.requests + 1, true);
        if state.tickets.len() >= SWEPT_TICKETS.max(2 * state.requests) {
            state.tickets.retain(|ticket| ticket.strong_count() > 0);
        }
        state.tickets.push(Arc::downgrade(&ticket));
        ticket
    }
}

impl Ticket {
    /// The server is at work; the client can take nothing.
    pub(super) fn is_ours(&self) {
        self.ready_since.store(0, Ordering::Relaxed);
    }

    /// The client took something, or can take something from now on.
    pub(super) fn is_theirs(&self) {
        self.ready_since.store(self.connection.now(), Ordering::Relaxed);
    }

    /// The client took something that was ready for it.
    fn was_taken(&self) {
        if self.ready_since.load(Ordering::Relaxed) != 0 {
            self.is_theirs();
        }
    }

    /// Keeps an admission until the last byte of the answer is sent.
    pub(super) fn keep(&self, admission: OwnedSemaphorePermit) {
        *self.admission.lock() = Some(admission);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.connection.state.lock();
        state.requests = state.requests.saturating_sub(1);
        state.waiting_since = Instant::now();
    }
}

/// Bytes of an answer that the connection holds; the request is under way until they are dropped.
pub(super) struct OnItsWay {
    bytes: axum::body::Bytes,
    ticket: Arc<Ticket>,
}

impl OnItsWay {
    pub(super) fn bytes(bytes: axum::body::Bytes, ticket: Arc<Ticket>) -> axum::body::Bytes {
        axum::body::Bytes::from_owner(OnItsWay { bytes, ticket })
    }
}

impl AsRef<[u8]> for OnItsWay {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.ticket.was_taken();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn is_ended(connection: &Connection) -> bool {
        connection.ended().now_or_never().is_some()
    }

    #[tokio::test]
    async fn who_never_asked_makes_room_before_who_is_idle_and_nobody_with_a_request_does() {
        let all = Connections::new(3);
        let (busy_place, busy) = all.enter().await;
        let (idle_place, idle) = all.enter().await;
        let (silent_place, silent) = all.enter().await;
        let ticket = busy.ticket();
        drop(idle.ticket());
        all.make_room();
        assert_eq!([&busy, &idle, &silent].map(|connection| is_ended(connection)), [false, false, true]);
        drop(silent_place);
        let (_place, newer) = all.enter().await;
        drop(newer.ticket());
        all.make_room();
        assert_eq!([&busy, &idle, &newer].map(|connection| is_ended(connection)), [false, true, false]);
        drop((ticket, busy_place, idle_place));
        assert_eq!(all.open.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_place_is_waited_for_where_all_have_requests_under_way() {
        let all = Connections::new(1);
        let (place, connection) = all.enter().await;
        let ticket = connection.ticket();
        let entering = tokio::spawn({
            let all = all.clone();
            async move { all.enter().await.0.number }
        });
        tokio::time::sleep(3 * LOOK_INTERVAL).await;
        assert!(!entering.is_finished() && !is_ended(&connection));
        drop((ticket, place));
        assert_eq!(entering.await.unwrap(), 1);
    }

    #[test]
    fn only_who_could_take_something_is_stalled() {
        let connection = Arc::new(Connection::new());
        let patience = Patience { idle: Duration::from_secs(60), stalled: Duration::from_millis(5) };
        let ticket = connection.ticket();
        let after_a_while = || {
            std::thread::sleep(Duration::from_millis(20));
            connection.overdue(patience)
        };
        assert_eq!(after_a_while(), None, "the handler has it");
        ticket.is_theirs();
        assert_eq!(after_a_while(), Some("the client stopped reading an answer"));
        ticket.is_ours();
        assert_eq!(after_a_while(), None);
        drop(ticket);
        let impatient = Patience { idle: Duration::from_millis(5), ..patience };
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(connection.overdue(impatient), Some("no complete request came"));
    }
}
