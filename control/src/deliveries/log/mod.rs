//! The log that people read: deliveries with how far they are, and their attempts with what was sent and answered.

mod http;
mod store;
mod view;

pub(super) use http::{routes, state};
pub(super) use store::{Delivery, backlog, find};
pub(super) use view::{DeliveryDetails, DeliveryView, details};
