//! What people say about themselves: name, address, password, and where they are signed in.

mod act;
mod forms;
mod http;
mod sessions_http;

pub use act::rename;
pub use http::routes;
