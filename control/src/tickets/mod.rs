//! Support tickets: what an account asks whoever runs Clearway, and their answers. A ticket is open while the operator is to
//! answer, answered while the account is, and closed by either; whoever writes opens it again. Deliberately small: no mail
//! comes in, nobody is assigned.

mod act;
mod http;
mod model;
mod store;

pub use act::{TicketError, close, open, write};
pub use http::routes;
pub use model::{Message, State, Ticket};
pub use store::{by_author, forget, forget_author};
