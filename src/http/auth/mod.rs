//! Who may do what: keys, how requests show them, what each route needs, how often a key may ask. One layer
//! before all handlers; without keys it lets everybody pass. Invariants: a refusal says the same words
//! whatever exists in the store, because it is made before anything is looked up; a key's own text is never
//! logged, answered or kept.

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

/// Who asks, as far as a key tells; every request carries it.
#[derive(Debug, Clone)]
pub(super) enum Requester {
    /// No key is asked for here.
    Anybody,
    /// No valid key was shown. Only open routes are reached so.
    Stranger,
    /// The holder of this key.
    Holder(Arc<Key>),
}

impl Requester {
    /// Whether nothing in the store is hidden from it.
    pub(super) fn sees_everything(&self) -> bool {
        match self {
            Requester::Anybody => true,
            Requester::Stranger => false,
            Requester::Holder(key) => key.bound.is_none(),
        }
    }

    /// The key's name, and what it is bound to.
    pub(super) fn key(&self) -> Option<(&str, Option<&Bound>)> {
        let Requester::Holder(key) = self else { return None };
        Some((&key.name, key.bound.as_ref()))
    }
}

/// Lets a request pass if its key allows what its route needs, and not too often.
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
    // A path without a route is answered 404 by the router, whoever asks.
    let Some(route) = request.extensions().get::<MatchedPath>() else { return Ok(identity) };
    let (Need::Key(scope), place) = front.permissions.of(request.method(), route.as_str()) else { return Ok(identity) };
    // Wrong keys are counted too, by their address.
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
