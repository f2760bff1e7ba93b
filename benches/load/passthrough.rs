//! The floor: a Pingora proxy that does nothing but forward. Same allocator, same thread count and
//! same pool as the gateway it is compared with.
//!
//! `passthrough LISTEN UPSTREAM [--h2c]`, both as `address:port`.

use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    prelude::{HttpPeer, Opt, Result, Server},
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::configuration::ServerConf,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct PassThrough {
    upstream: std::net::SocketAddr,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(Ok(upstream))) = (args.next(), args.next().map(|a| a.parse())) else {
        eprintln!("passthrough LISTEN UPSTREAM [--h2c]");
        std::process::exit(2);
    };
    let h2c = args.next().is_some_and(|arg| arg == "--h2c");
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, PassThrough { upstream });
    if h2c && let Some(proxy) = service.app_logic_mut() {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        proxy.server_options = Some(options);
    }
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
