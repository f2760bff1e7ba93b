//! What a gateway costs that asks Redis about each request, as others do: the pass-through of this folder with one
//! script call before it forwards. Same allocator, thread count and pool.
//!
//! It does less than such a gateway has to: a key is taken as it comes, and counted in fixed windows of a second, a day and
//! a month of its own, by one EVALSHA on one connection that all requests share.
//!
//! `asking-redis LISTEN UPSTREAM REDIS`: twice `address:port`, and `redis://address:port`.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType,
    prelude::{HttpPeer, Opt, Result, Server},
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::configuration::ServerConf,
};
use redis::{Client, Script, aio::MultiplexedConnection};
use tokio::sync::OnceCell;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Counts in all windows or in none. KEYS: a counter each; ARGV: its limit and its seconds to live, each.
const COUNT: &str = "
for i = 1, #KEYS do
  if tonumber(redis.call('GET', KEYS[i]) or '0') >= tonumber(ARGV[2 * i - 1]) then return 0 end
end
for i = 1, #KEYS do
  if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[2 * i]) end
end
return 1";
/// Seconds of a window, and a limit that no bench reaches.
const WINDOWS: [(u64, u64); 3] = [(1, 5_000_000), (86_400, 1_000_000_000_000), (31 * 86_400, 10_000_000_000_000)];

struct AskingRedis {
    upstream: std::net::SocketAddr,
    redis: Client,
    connection: OnceCell<MultiplexedConnection>,
    count: Script,
}

impl AskingRedis {
    async fn is_admitted(&self, key: &str) -> redis::RedisResult<bool> {
        let connect = || self.redis.get_multiplexed_async_connection();
        let mut connection = self.connection.get_or_try_init(connect).await?.clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut call = self.count.prepare_invoke();
        for (seconds, limit) in WINDOWS {
            call.key(format!("count:{{{key}}}:{seconds}:{}", now / seconds)).arg(limit).arg(2 * seconds);
        }
        Ok(call.invoke_async::<u8>(&mut connection).await? == 1)
    }
}

#[async_trait]
impl ProxyHttp for AskingRedis {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        let key = session.req_header().headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match self.is_admitted(key).await {
            Ok(true) => Ok(false),
            Ok(false) => session.respond_error(429).await.map(|()| true),
            Err(e) => Err(Error::because(ErrorType::InternalError, "Redis does not answer", e)),
        }
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().unwrap_or_default();
    let (listen, upstream, redis) = (next(), next().parse(), Client::open(next()));
    let (Ok(upstream), Ok(redis)) = (upstream, redis) else {
        eprintln!("asking-redis LISTEN UPSTREAM REDIS");
        std::process::exit(2);
    };
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), conf);
    server.bootstrap();
    let proxy = AskingRedis { upstream, redis, connection: OnceCell::new(), count: Script::new(COUNT) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
