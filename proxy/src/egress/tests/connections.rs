//! Whom is connected to, and which connections are used again.

use super::*;

/// Addresses that stand for a public one and a private one: the settings allow the first and not the second.
const PUBLIC: &str = "127.0.0.1";
const PRIVATE: &str = "127.0.0.2";

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_later_is_refused_then() {
    let public =
        Receiver::at(&format!("{PUBLIC}:0"), |_, _| Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec())).await;
    let private = Receiver::at(&format!("{PRIVATE}:{}", public.address.port()), |_, _| ok()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, first, then) = (asked.clone(), public.address, private.address);
    let resolver = Resolver::by(move |_, _| {
        let found = if count.fetch_add(1, Ordering::SeqCst) == 0 { first } else { then };
        Box::pin(async move { Ok(vec![found]) })
    });
    let poster = Poster::new(Arc::new(Egress { resolver, ..Egress::new(&settings()).unwrap() }));
    let url = format!("http://rebinding.example:{}/", public.address.port());
    assert_eq!(post(&poster, &url).await.status, Some(200));
    let outcome = loop {
        // The connection that rests goes to the address that was vetted; once it has ended, the name is asked again.
        let outcome = post(&poster, &url).await;
        if outcome.status != Some(200) {
            break outcome;
        }
    };
    assert_failed(&outcome, Failure::AddressRefused);
    assert_eq!(outcome.address, Some(PRIVATE.parse().unwrap()));
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once for each connection: what was vetted is what is connected to");
    assert_eq!(private.connections(), 0);
}

#[tokio::test]
async fn of_a_names_addresses_only_those_that_may_be_are_connected_to() {
    let public = Receiver::at(&format!("{PUBLIC}:0"), |_, _| ok()).await;
    let private = Receiver::at(&format!("{PRIVATE}:{}", public.address.port()), |_, _| ok()).await;
    let poster = resolving(&settings(), &[("both.example", &[private.address, public.address]), ("none.example", &[])]);
    let port = public.address.port();
    assert_eq!(post(&poster, &format!("http://both.example:{port}/")).await.status, Some(200));
    assert_eq!((public.connections(), private.connections()), (1, 0));
    assert_failed(&post(&poster, &format!("http://none.example:{port}/")).await, Failure::Dns);
    assert_failed(&post(&poster, &format!("http://missing.example:{port}/")).await, Failure::Dns);
}

#[tokio::test]
async fn a_name_whose_servers_are_silent_is_asked_for_once_at_a_time() {
    let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, told) = (asked.clone(), answer.clone());
    let resolver = Resolver::by(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let told = told.clone();
        Box::pin(async move {
            told.notified().await;
            Ok(Vec::new())
        })
    });
    let connect_timeout = Duration::from_millis(30);
    let settings = EgressSettings { connect_timeout, ..settings() };
    let poster = Poster::new(Arc::new(Egress { resolver, ..Egress::new(&settings).unwrap() }));
    let url = "http://silent.example:1/";
    for _ in 0..3 {
        assert_failed(&post(&poster, url).await, Failure::ConnectTimeout);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "attempts that were given up leave no look-up of their own behind");
    answer.notify_one();
    while asked.load(Ordering::SeqCst) == 1 {
        // Once it has been answered, the next attempt asks anew.
        post(&poster, url).await;
    }
}

#[tokio::test]
async fn an_address_in_place_of_a_name_is_judged_too_however_it_is_written() {
    let poster = poster(&EgressSettings { allow: Vec::new(), ..settings() });
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "[64:ff9b::a00:1]", "0.0.0.0"] {
        assert_failed(&post(&poster, &format!("http://{host}:1/")).await, Failure::AddressRefused);
    }
    // Some resolvers take these for 127.0.0.1; others say that there is no such name.
    for host in ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"] {
        let failure = post(&poster, &format!("http://{host}:1/")).await.failure;
        assert!(matches!(failure, Some(Failure::AddressRefused | Failure::Dns | Failure::WebhookUnknown)), "{host}: {failure:?}");
    }
}

#[tokio::test]
async fn plain_http_and_other_ports_are_what_the_settings_say() {
    let receiver = Receiver::start(|_, _| ok()).await;
    let http = EgressSettings { allow_http: false, ..settings() };
    assert_failed(&post(&poster(&http), &receiver.url()).await, Failure::AddressRefused);
    let ports = EgressSettings { ports: vec![443], ..settings() };
    assert_failed(&post(&poster(&ports), &receiver.url()).await, Failure::AddressRefused);
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let receiver = Receiver::start(|_, _| ok()).await;
    let poster = poster(&settings());
    for _ in 0..5 {
        assert_eq!(post(&poster, &receiver.url()).await.status, Some(200));
    }
    assert_eq!((receiver.connections(), receiver.got().len(), poster.pool.resting()), (1, 5, 1));
}

#[tokio::test]
async fn a_connection_that_ended_while_it_rested_is_made_again_at_once_and_once() {
    // The second message meets a connection that the receiver gives up; its repetition is taken.
    let receiver = Receiver::start(|n, _| if n == 1 { Reply::Close } else { ok() }).await;
    let poster = poster(&settings());
    assert_eq!(post(&poster, &receiver.url()).await.status, Some(200));
    assert_eq!(post(&poster, &receiver.url()).await.status, Some(200));
    let ids: Vec<_> = receiver.got().iter().map(|got| got.headers["webhook-id"].clone()).collect();
    assert_eq!((ids.len(), receiver.connections()), (3, 2));
    assert_eq!(ids[1], ids[2], "the receiver can tell that it is the same message");

    let never = Receiver::start(|n, _| if n == 0 { ok() } else { Reply::Close }).await;
    assert_eq!(post(&poster, &never.url()).await.status, Some(200));
    assert_failed(&post(&poster, &never.url()).await, Failure::Broken);
    assert_eq!(never.got().len(), 3, "no more than once");
    assert_failed(&post(&poster, &never.url()).await, Failure::Broken);
    assert_eq!(never.got().len(), 4, "a new connection that ends is a failure");
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let (gone, listener) = Receiver::bind("127.0.0.1:0").await;
    drop(listener);
    let outcome = post(&poster(&settings()), &gone.url()).await;
    assert_failed(&outcome, Failure::Connect);
    assert_eq!(outcome.address, Some(gone.address.ip()));
}
