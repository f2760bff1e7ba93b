//! Real servers: that calls arrive, however Redis is set up, and what callers see when it goes and comes back.

use clearway_filters::lease::Grants;
use clearway_testkit::redis::{Redis, RedisCluster, RedisSentinel};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

fn given(answer: Answer) -> Grants {
    let Answer::Given(grants) = answer else { panic!("nothing was given: {answer:?}") };
    *grants
}

/// Calls again until it is answered; a server takes a moment to go or come.
async fn eventually<T, F: Future<Output = Result<T, StoreError>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test]
async fn many_calls_at_once_travel_over_one_connection() {
    let redis = Redis::start();
    let store = store(&settings(&redis.url()));
    let incarnation = restored(&store, caller(1, 1), account(1)).await.unwrap();
    let takes: Vec<_> = (0..200).map(|n| take_day(caller(n, 2), Some(incarnation.clone()), account(1), 0, 1)).collect();
    let answers = futures_util::future::join_all(takes.iter().map(|take| store.take(take))).await;
    assert!(answers.into_iter().all(|answer| given(answer.unwrap()).account.day.unwrap().granted == 1));
    let connections = redis.command(&["INFO", "clients"]);
    assert!(connections.contains("connected_clients:2"), "{connections}");
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_scripts_is_told_them_again() {
    let redis = Redis::start();
    let store = store(&settings(&redis.url()));
    let incarnation = restored(&store, caller(1, 1), account(1)).await.unwrap();
    let take = |seq| take_day(caller(1, seq), Some(incarnation.clone()), account(1), 0, 1);
    given(store.take(&take(2)).await.unwrap());
    redis.command(&["SCRIPT", "FLUSH"]);
    given(store.take(&take(3)).await.unwrap());
    assert_eq!(store.beat(&beat(1)).await.unwrap().roster.unwrap().members, [node(1)]);
}

#[tokio::test]
async fn keys_carry_one_hash_tag_and_expire_by_themselves() {
    let redis = Redis::start();
    let store = store(&settings(&redis.url()));
    let incarnation = restored(&store, caller(1, 1), account(1)).await.unwrap();
    given(store.take(&take_day(caller(1, 2), Some(incarnation), account(1), 0, 1)).await.unwrap());
    store.beat(&beat(1)).await.unwrap();
    let keys = redis.command(&["KEYS", "*"]);
    let keys: Vec<&str> = keys.lines().filter(|line| line.starts_with("ratelimit:")).collect();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let ttl: i64 = redis.command(&["TTL", key]).trim().trim_start_matches(':').parse().unwrap();
        assert!((1..63 * 86_400).contains(&ttl), "{key} lives for {ttl} s");
        assert!(key.contains(&format!("{{q{}}}", bucket_of(&account(1)))) || key.contains("{fleet}"), "{key}");
    }
}

#[tokio::test]
async fn after_a_restart_with_or_without_its_data_it_asks_for_what_nodes_hold() {
    let mut redis = Redis::start();
    let store = store(&settings(&redis.url()));
    let mut incarnation = restored(&store, caller(1, 1), account(1)).await.unwrap();
    for (round, empty) in [(1, false), (2, true)] {
        let take = |seq| take_day(caller(1, seq), Some(incarnation.clone()), account(1), 0, 1);
        given(store.take(&take(round * 10)).await.unwrap());
        if empty {
            redis.restart_empty();
        } else {
            redis.restart();
        }
        let take = take(round * 10 + 1);
        let Answer::Lost(next) = eventually(|| store.take(&take)).await else { panic!("it forgets nothing") };
        assert_ne!(next, incarnation);
        incarnation = restored(&store, caller(1, round * 10 + 2), account(1)).await.unwrap();
        assert_eq!(incarnation, next);
    }
}

#[tokio::test]
async fn a_server_that_is_away_fails_calls_and_one_that_comes_back_is_found() {
    let mut redis = Redis::start();
    let store = store(&settings(&redis.url()));
    store.beat(&beat(1)).await.unwrap();
    redis.stop();
    for _ in 0..3 {
        let why = store.beat(&beat(1)).await.unwrap_err();
        assert!(matches!(why, StoreError::Unreachable(_) | StoreError::Broken(_)), "{why}");
    }
    redis.restart();
    let first = beat(1);
    eventually(|| store.beat(&first)).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_not_waited_for() {
    let redis = Redis::start();
    let timeouts = Duration::from_millis(50);
    let settings = RedisSettings { call_timeout: timeouts, connect_timeout: timeouts, ..settings(&redis.url()) };
    let store = store(&settings);
    let first = beat(1);
    eventually(|| store.beat(&first)).await;
    redis.pause();
    assert_eq!(store.beat(&beat(1)).await.unwrap_err(), StoreError::TimedOut);
    let why = store.beat(&beat(1)).await.unwrap_err();
    assert!(matches!(why, StoreError::Unreachable(_)), "{why}");
    redis.resume();
    let first = beat(1);
    eventually(|| store.beat(&first)).await;
}

#[tokio::test]
async fn a_cluster_is_asked_at_the_server_of_each_bucket() {
    let cluster = RedisCluster::start();
    let settings = RedisSettings { cluster: cluster.urls()[..1].to_vec(), ..RedisSettings::default() };
    let store = store(&settings);
    store.beat(&beat(1)).await.unwrap();
    for n in 1..40 {
        let incarnation = restored(&store, caller(1, 1), account(n)).await.unwrap();
        given(store.take(&take_day(caller(1, 2), Some(incarnation), account(n), 0, 1)).await.unwrap());
    }
    let sizes = cluster.servers.iter().map(|server| server.command(&["DBSIZE"]));
    assert!(sizes.into_iter().all(|size| size.trim() != ":0"), "one server has it all");
}

#[tokio::test]
async fn sentinels_name_the_master_and_the_next_one() {
    let mut fleet = RedisSentinel::start();
    let settings =
        RedisSettings { sentinels: vec![fleet.url()], master: RedisSentinel::MASTER.into(), ..RedisSettings::default() };
    let store = store(&settings);
    let incarnation = restored(&store, caller(1, 1), account(1)).await.unwrap();
    given(store.take(&take_day(caller(1, 2), Some(incarnation.clone()), account(1), 0, 1)).await.unwrap());
    fleet.fail_over();
    let take = take_day(caller(1, 3), Some(incarnation), account(1), 1, 0);
    let answer = eventually(|| store.take(&take)).await;
    assert!(matches!(answer, Answer::Lost(_)), "a replica may lack what its master said last: {answer:?}");
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own_and_a_password_are_asked_for_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let [ca, other_ca] = [("ca.pem", ours.pem()), ("other.pem", other.pem())].map(|(name, pem)| write(name, &pem));
    let [cert, key] = [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())].map(|(name, pem)| write(name, &pem));
    let arg = |file: &PathBuf| file.display().to_string();
    let (ca_arg, cert_arg, key_arg) = (arg(&ca), arg(&cert), arg(&key));
    let redis = Redis::start_with(&[
        "--port",
        "0",
        "--tls-port",
        "{port}",
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        &ca_arg,
        "--tls-cert-file",
        &cert_arg,
        "--tls-key-file",
        &key_arg,
        "--user",
        "clearway",
        "on",
        ">secret",
        "~ratelimit:*",
        "+@all",
        "--user",
        "default",
        "off",
    ]);
    let settings = RedisSettings {
        url: format!("rediss://127.0.0.1:{}", redis.port()),
        user: "clearway".into(),
        password_file: Some(write("password", "secret\n")),
        ca_file: Some(ca),
        ..RedisSettings::default()
    };
    let good = store(&settings);
    let incarnation = restored(&good, caller(1, 1), account(1)).await.unwrap();
    given(good.take(&take_day(caller(1, 2), Some(incarnation), account(1), 0, 1)).await.unwrap());
    good.beat(&beat(1)).await.unwrap();

    for wrong in [
        RedisSettings { password_file: Some(write("wrong", "guess")), ..settings.clone() },
        RedisSettings { ca_file: Some(other_ca), ..settings.clone() },
        RedisSettings { url: format!("redis://127.0.0.1:{}", redis.port()), ca_file: None, ..settings },
    ] {
        let why = store(&wrong).beat(&beat(1)).await.unwrap_err();
        assert!(matches!(why, StoreError::Unreachable(_)), "{why}");
        assert!(!why.to_string().contains("guess") && !why.to_string().contains("secret"), "{why}");
    }
}

/// The words of the page's user, for `ACL SETUSER`.
fn user_of_the_page() -> Vec<&'static str> {
    let page = include_str!("../../../../../../docs/operations/redis.md");
    let line = page.lines().find_map(|line| line.strip_prefix("user clearway ")).expect("the page has a user");
    line.split(' ').map(|word| if word == ">PASSWORD" { ">secret" } else { word }).collect()
}

#[tokio::test]
async fn a_user_who_may_do_nothing_else_suffices() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let (redis, cluster) = (Redis::start(), RedisCluster::start());
    for server in cluster.servers.iter().chain([&redis]) {
        let words = [&["ACL", "SETUSER", "clearway", "reset"][..], &user_of_the_page()].concat();
        assert!(server.command(&words).starts_with("+OK"));
        server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
        for words in
            [&["FLUSHALL"][..], &["KEYS", "*"], &["SET", "ratelimit:x", "1"], &["HGETALL", "another"], &["CONFIG", "GET", "*"]]
        {
            let refused = server.command(&[&["ACL", "DRYRUN", "clearway"], words].concat());
            assert!(refused.contains("no permissions"), "{words:?}: {refused}");
        }
        assert!(server.command(&["ACL", "DRYRUN", "clearway", "ROLE"]).starts_with("+OK"), "for sentinels");
    }
    let user = RedisSettings { user: "clearway".into(), password_file: Some(password), ..RedisSettings::default() };
    for settings in [
        RedisSettings { url: redis.url(), ..user.clone() },
        RedisSettings { url: format!("{}/1", redis.url()), ..user.clone() },
        RedisSettings { cluster: cluster.urls()[..1].to_vec(), ..user },
    ] {
        let store = store(&settings);
        store.beat(&beat(1)).await.unwrap();
        for n in 1..20 {
            let incarnation = restored(&store, caller(1, 1), account(n)).await.unwrap();
            given(store.take(&take_day(caller(1, 2), Some(incarnation), account(n), 0, 1)).await.unwrap());
        }
    }
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    let open = |settings: &RedisSettings| RedisStore::open(settings, Policy::default()).map(drop);
    assert!(matches!(open(&RedisSettings::default()), Err(OpenError::NotSet)));
    let missing = RedisSettings { password_file: Some("/nowhere".into()), ..settings("redis://127.0.0.1:1") };
    assert_eq!(open(&missing).unwrap_err().to_string(), "/nowhere cannot be read");
    assert!(matches!(open(&settings("redis://127.0.0.1:1/x")), Err(OpenError::Settings(_))));
}
