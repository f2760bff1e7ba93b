//! Pingora's heads, as policies change them.

use clearway_filters::policy::Head;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

#[derive(Debug)]
pub(super) struct Request<'h>(pub(super) &'h mut RequestHeader);

#[derive(Debug)]
pub(super) struct Response<'h>(pub(super) &'h mut ResponseHeader);

macro_rules! head {
    ($type:ident) => {
        impl Head for $type<'_> {
            fn headers(&self) -> &HeaderMap {
                &self.0.headers
            }

            fn set(&mut self, name: &HeaderName, value: HeaderValue) {
                let set = self.0.insert_header(name.clone(), value);
                debug_assert!(set.is_ok(), "name and value are of their types already");
            }

            fn add(&mut self, name: &HeaderName, value: HeaderValue) {
                let added = self.0.append_header(name.clone(), value);
                debug_assert!(added.is_ok(), "name and value are of their types already");
            }

            fn remove(&mut self, name: &HeaderName) {
                self.0.remove_header(name);
            }
        }
    };
}

head!(Request);
head!(Response);
