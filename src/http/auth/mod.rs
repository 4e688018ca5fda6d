//! Who may do what: keys, how requests present them, what each route needs, and how often a key may ask. All of this
//! is one layer before all handlers; without keys every request passes. Invariants: a refusal has the same words
//! whatever the store holds, because it is made before any lookup; the text of a key is never logged, answered or
//! stored.

mod expiry;
mod key;
mod keyring;
mod permissions;
mod presented;
mod rate;
mod refusal;
mod secret;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Front;
use super::access_log::Caller;
use super::client::Client;
use permissions::Need;
use rate::Who;
use refusal::Refusal;

pub(super) use key::Bound;
pub use key::{Key, KeyEntry, KeyScope};
pub use keyring::Keyring;
pub(super) use permissions::Permissions;
pub(super) use presented::{X_API_KEY, X_CHROMA_TOKEN};
pub use rate::Rate;
pub(super) use rate::RateLimiter;

/// The sender of a request, as far as its key shows; every request carries this value.
#[derive(Debug, Clone)]
pub(super) enum Requester {
    /// The server requires no key.
    Anybody,
    /// The request has no valid key. Only open routes admit such requests.
    Stranger,
    /// The holder of this key.
    Holder(Arc<Key>),
}

impl Requester {
    /// Whether this requester may see everything in the store.
    pub(super) fn sees_everything(&self) -> bool {
        match self {
            Requester::Anybody => true,
            Requester::Stranger => false,
            Requester::Holder(key) => key.bound.is_none(),
        }
    }

    /// How much this requester may do; `None` if nothing.
    pub(super) fn scope(&self) -> Option<KeyScope> {
        match self {
            Requester::Anybody => Some(KeyScope::Admin),
            Requester::Stranger => None,
            Requester::Holder(key) => Some(key.scope),
        }
    }

    /// The key's name, and the part of the store to which it is bound.
    pub(super) fn key(&self) -> Option<(&str, Option<&Bound>)> {
        let Requester::Holder(key) = self else { return None };
        Some((&key.name, key.bound.as_ref()))
    }
}

/// Lets a request pass if its key allows what its route needs, and if its rate is within the limit.
pub(super) async fn authorise(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match check(&front, &mut request).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(refusal) => refusal.response(&path),
    }
}

async fn check(front: &Front, request: &mut Request) -> Result<Requester, Refusal> {
    let keys = &front.settings.keys;
    let holder = presented::presented(request.headers()).and_then(|digest| keys.find(&digest, SystemTime::now()));
    let identity = match holder {
        Some(key) => Requester::Holder(key),
        None if keys.asks_for_keys() => Requester::Stranger,
        None => Requester::Anybody,
    };
    if let (Requester::Holder(key), Some(caller)) = (&identity, request.extensions().get::<Caller>()) {
        caller.is(&key.name);
    }
    // The router answers 404 for a path without a route, to every requester.
    let Some(route) = request.extensions().get::<MatchedPath>() else { return Ok(identity) };
    let (Need::Key(scope), place) = front.permissions.of(request.method(), route.as_str()) else { return Ok(identity) };
    // Requests with wrong keys are counted too, by their address.
    limit(front, request, &identity)?;
    match &identity {
        Requester::Anybody => {}
        Requester::Stranger => return Err(Refusal::Stranger),
        Requester::Holder(key) if key.scope < scope => return Err(Refusal::Forbidden),
        Requester::Holder(key) => {
            if let Some(bound) = &key.bound
                && !place.lies_within(bound, request).await
            {
                return Err(Refusal::Forbidden);
            }
        }
    }
    Ok(identity)
}

fn limit(front: &Front, request: &Request, identity: &Requester) -> Result<(), Refusal> {
    let Some(limiter) = &front.rate else { return Ok(()) };
    let who = match identity {
        Requester::Holder(key) => Who::Key(key.name.as_str().into()),
        _ => Who::at(request.extensions().get::<Client>().and_then(|client| client.address)),
    };
    limiter.take(who, Instant::now()).map_err(|wait| Refusal::TooOften { wait, rate: limiter.rate() })
}
