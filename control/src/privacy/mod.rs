//! What the law gives people over what is stored of them (GDPR, articles 15, 17 and 20): to have all of it, and to have it
//! erased but for what has to be kept.

mod erase;
mod export;
mod http;

pub use self::{
    erase::{Erased, ErasedView, erase},
    http::routes,
};
