//! Portfolios: projects that an account shows beside its apps. A project is seen by everybody once it is published, and as it
//! is then: there is no review, because nothing is installed from it. Deliberately small.

mod act;
mod http;
mod model;
mod store;

pub use act::{ProjectError, create, publish, remove, update};
pub use http::routes;
pub use model::{Project, ProjectUpdate};
pub use store::{forget, of_account};
