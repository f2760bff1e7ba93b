//! Apps: what developers offer to other accounts. An app has one live version, which the catalogue shows, and one
//! proposal, which is written, checked, reviewed and published in its place; older versions stay as a record.
//!
//! - [`State`] and its table say what may follow what: pure, and there is no way around review.
//! - `act` does it, in the caller's transaction, with the audit entry and the event; `probe` runs the automatic checks.
//!
//! What people find, install and rate is not here: `catalogue`, `installations` and `reviews`.

mod act;
mod check;
mod content;
mod error;
mod http;
mod link;
mod model;
mod probe;
mod state;
mod store;
mod update;
mod view;

pub use act::{NewApp, Which, create, edit, step};
pub use content::{Category, Content, Number, Permission, PermissionDiff, PriceModel, Pricing};
pub use error::AppError;
pub use http::{aliases, routes};
pub use model::{App, Finding, Version, Whole};
pub use probe::{check_until, sweep};
pub use state::{Act, By, Refused, Standing, State};
pub use store::{client_of, find, is_client};
pub use update::ContentUpdate;
