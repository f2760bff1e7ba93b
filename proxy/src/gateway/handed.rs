//! A request that was decided when its head was read, on its way to Pingora: what is known of it goes along.

use std::cell::Cell;

use super::exchange::Exchange;

tokio::task_local! {
    static DECIDED: Cell<Option<Box<Exchange>>>;
}

/// Runs `serve`, in which the request is found by [`take`].
pub(super) async fn along<F: Future>(exchange: Option<Box<Exchange>>, serve: F) -> F::Output {
    match exchange {
        Some(exchange) => DECIDED.scope(Cell::new(Some(exchange)), serve).await,
        None => serve.await,
    }
}

/// The request being served, once, if it has been decided.
pub(super) fn take() -> Option<Box<Exchange>> {
    DECIDED.try_with(Cell::take).ok().flatten()
}
