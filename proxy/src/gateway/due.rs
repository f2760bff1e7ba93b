//! The charge that waits for a request's body: where the body is read whole before anything goes to an upstream,
//! because it was signed or because a policy changes it, a request is charged once its body has passed. What is
//! refused for its body has cost nothing.
//!
//! Before it is read, the caller has been authenticated and allowed in, and its limits have been looked at: nobody
//! else has the gateway hold a body. Until it is charged, a request takes no place among the concurrent ones.

use std::net::IpAddr;

use bytes::Bytes;
use clearway_config::{Limits, OnQuotaStoreLoss};
use clearway_filters::{
    Reject,
    policy::body::is_longer,
    quota::{Now, Refused},
    signature::{BodyDigest, Refusal},
};
use pingora::{Error, ErrorType, Result, proxy::Session};

use super::{
    State, arrival,
    decide::{Charge, Stop},
    exchange::Exchange,
    json, now_ms,
    shortage::Patience,
    signed::Seal,
    whole_body::{self, Held, Unread},
};
use crate::{lease::Wanted, ledger::SlotId};

/// Whom a request is charged to, and what it may.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bill {
    Key {
        account: (SlotId, Limits),
        key: (SlotId, Limits),
    },
    Account((SlotId, Limits)),
    /// The address of an anonymous request, by its route's limits.
    Anonymous,
}

/// A request that passes if its body does.
#[derive(Debug)]
pub(crate) struct Due {
    pub(super) bill: Bill,
    /// In a fleet, while the store of quotas is lost.
    pub(super) on_loss: OnQuotaStoreLoss,
    pub(super) address: IpAddr,
    /// Of a request that is signed.
    pub(super) seal: Option<Seal>,
}

/// What is to be sent to upstreams.
struct Ready {
    body: Bytes,
    held: Held,
    /// Whether it is another one than came.
    changed: bool,
}

/// Reads the request's body where it has to be read whole, makes of it what upstreams are sent, and charges what has
/// waited for it. An error: the client has gone.
pub(super) async fn settle(state: &State, session: &mut Session, exchange: &mut Exchange) -> Result<Result<(), Stop>> {
    let due = exchange.due.take();
    let ready = match read(state, session, exchange, due.as_deref()).await {
        Ok(ready) => ready,
        Err(Some(reject)) => return Ok(Err(arrival::refused(state, exchange, reject))),
        Err(None) => return Error::e_explain(ErrorType::ConnectionClosed, "the client has left").map_err(Error::into_down),
    };
    if let Some(due) = due {
        match due.charge_within_grants(state, exchange).await {
            Ok(charge) => exchange.charged(charge),
            Err(reject) => return Ok(Err(arrival::refused(state, exchange, reject))),
        }
    }
    let body = ready.map(|Ready { body, held, changed }| {
        exchange.held = Some(held);
        exchange.rewritten = changed.then_some(body.len());
        body
    });
    if body.is_some() || json::changes_answers(exchange) {
        exchange.loan = Some(whole_body::lend(session, body));
    }
    Ok(Ok(()))
}

/// `None`: the body goes on as it comes. `Err(None)`: the client has gone.
async fn read(
    state: &State,
    session: &mut Session,
    exchange: &Exchange,
    due: Option<&Due>,
) -> Result<Option<Ready>, Option<Reject>> {
    let edits = json::edits(session, exchange)?;
    let digest = due.and_then(|due| due.seal.as_ref()?.digest.as_ref());
    if edits.is_none() && digest.is_none() {
        return Ok(None);
    }
    let of_policies = exchange.policies().and_then(|policies| policies.body_max());
    let of_signatures = digest.map(|_| state.signed_body_max);
    let maxima = of_policies.into_iter().chain(of_signatures).chain(edits.map(|json| json.size_max));
    let max = maxima.min().unwrap_or(0);
    if is_longer(&session.req_header().headers, max) {
        return Err(Some(Reject::BodyTooLarge));
    }
    let whole = whole_body::read(session, max, &state.bodies, &state.limits).await.map_err(unread)?;
    if digest.is_some_and(|digest: &BodyDigest| !digest.is_of(&whole.bytes)) {
        return Err(Some(Refusal::Digest.into()));
    }
    let Some(edits) = edits else { return Ok(Some(Ready { body: whole.bytes, held: whole.held, changed: false })) };
    let (body, mut held) = (json::edited(edits, &whole.bytes, exchange)?, whole.held);
    if !held.add(body.len()) {
        return Err(Some(Reject::Overloaded));
    }
    Ok(Some(Ready { body, held, changed: true }))
}

fn unread(unread: Unread) -> Option<Reject> {
    match unread {
        Unread::TooLarge => Some(Reject::BodyTooLarge),
        Unread::TooSlow => Some(Reject::BodyTooSlow),
        Unread::NoRoom => Some(Reject::Overloaded),
        Unread::Broken => None,
    }
}

impl Due {
    /// [`Due::charge`], having asked for more where what this node was granted is spent.
    async fn charge_within_grants(&self, state: &State, exchange: &Exchange) -> Result<Charge, Reject> {
        let mut patience = Patience::default();
        loop {
            let charged = self.charge(state, exchange);
            let wanted = charged.as_ref().err().and_then(|reject| Wanted::of(reject, || self.bill, self.on_loss));
            match wanted {
                Some(wanted) => patience.ask(state, &wanted).await?,
                None => return charged,
            }
        }
    }

    /// Charges the request, whose body has passed, by the clock of now: the body may have taken its time.
    fn charge(&self, state: &State, exchange: &Exchange) -> Result<Charge, Reject> {
        let (now_ms, request_id) = (now_ms(), exchange.request_id);
        let now = state.counted_at(now_ms);
        let admit = || match self.bill {
            Bill::Key { account, key } => state
                .ledger
                .admit(&now, request_id, self.address, (account.0, &account.1), (key.0, &key.1))
                .map(Charge::Admission),
            Bill::Account((slot, limits)) => {
                state.ledger.admit_account(&now, request_id, self.address, (slot, &limits)).map(Charge::Admission)
            }
            Bill::Anonymous => exchange.visit(&Now::at(now_ms), self.address).map(Charge::Visit),
        };
        match &self.seal {
            Some(seal) => seal.once(now_ms, &state.replays, admit),
            None => admit(),
        }
    }
}

impl Wanted {
    /// What a refused request wants, if the store has not been asked for it yet.
    pub(super) fn of(reject: &Reject, bill: impl FnOnce() -> Bill, on_loss: OnQuotaStoreLoss) -> Option<Box<Self>> {
        let Reject::LeaseShort(refused) = reject else { return None };
        let refused: Box<Refused> = refused.clone();
        let (account, key) = match bill() {
            Bill::Key { account, key } => (account, Some(key)),
            Bill::Account(account) => (account, None),
            Bill::Anonymous => return None,
        };
        Some(Box::new(Self { account, key, on_loss, refused }))
    }
}
