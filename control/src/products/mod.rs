//! Products: what a store's catalogue is made of. Every change of one is an event, in the same transaction.
//!
//! A product has one price, in millionths of its currency: money is never a fraction. How many there are may be counted, or
//! left open. Deliberately small: no variants, no taxes, no stock movements.

mod act;
mod http;
mod model;
mod store;

pub use act::{ProductError, create, remove, update};
pub use http::routes;
pub use model::{NewProduct, Product, ProductUpdate};
