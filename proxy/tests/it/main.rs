//! The gateway as a whole: started in this process, over real sockets, with bytes in and bytes out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking, its helpers too")]

mod access_log;
mod acme;
mod authority;
mod bodies;
mod cache;
mod charge;
mod client;
mod compression;
mod crash;
mod curl;
mod egress;
mod excess;
mod grpc;
mod h2;
mod headers;
mod json;
mod keys;
mod limits;
mod operating;
mod policies;
mod pools;
mod proofs;
mod release;
mod rig;
mod routing;
mod siege;
mod signatures;
mod smuggling;
mod spans;
mod status;
mod streams;
mod tls;
mod upgrade;
mod upstream;
mod ways;
