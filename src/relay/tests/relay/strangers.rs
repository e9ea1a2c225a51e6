//! Forged, foreign and broken input: it is not believed, and it stops nothing.

use super::router::{Router, request};
use super::{World, failed, paid};
use lango_core::message::{Outcome, UpBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn forged_callbacks_are_not_believed() {
    let mut world = World::new().await;
    let (other_order, other) = world.ask().await;
    world.call_back(&other.callback, paid(&other.checkout, 10, "NLJ7RT61SA")).await;
    world.router.outcome(&other_order).await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    // Somebody who does not know the secret.
    let guessed = format!("http://127.0.0.1:{}/callback/{}", world.relay.port, "0123456789abcdef".repeat(2));
    assert_eq!(world.call_back(&guessed, paid(&push.checkout, 10, "NLJ7RT61SV")).await, 404);
    assert_eq!(world.payment(&order).unwrap()["look_at"], serde_json::Value::Null);
    // Somebody who does, and little else.
    for (body, what) in [
        (paid(&push.checkout, 0, "NLJ7RT61SV"), "it names no amount in whole shillings (receipt NLJ7RT61SV, KSh 0)"),
        (paid(&other.checkout, 10, "NLJ7RT61SV"), "the request id is another payment's (receipt NLJ7RT61SV, KSh 10)"),
        (failed(&other.checkout, "1032"), "the request id is another payment's"),
        (
            paid(&push.checkout, 10, "NLJ7RT61SA"),
            &format!("the receipt is another payment's (receipt NLJ7RT61SA, KSh 10): it is payment kibera-7/{other_order}"),
        ),
        (paid(&push.checkout, 10, "?"), "it has no receipt (KSh 10)"),
        ("{\"Body\":".to_owned(), "the callback is not readable"),
        ("\u{0}".to_owned(), "the callback is not readable"),
    ] {
        assert_eq!(world.call_back(&push.callback, body).await, 200);
        let payment = world.payment_until(&order, "look_at", what).await;
        assert_eq!(payment["status"], "pending", "{what}");
    }
    let foreign = world.http.post(&push.callback).header("BusinessShortCode", "600000").body(paid(&push.checkout, 10, "NLJ7RT61SV"));
    assert_eq!(foreign.send().await.unwrap().status(), 200);
    world.payment_until(&order, "look_at", "the shortcode is not ours (receipt NLJ7RT61SV, KSh 10)").await;
    assert_eq!(world.router.fence().await, []);
    // The true one still counts.
    let own = world.http.post(&push.callback).header("Businessshortcode", "174379").body(paid(&push.checkout, 10, "NLJ7RT61SV"));
    assert_eq!(own.send().await.unwrap().status(), 200);
    let Outcome::Paid { receipt, .. } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!(receipt.as_str(), "NLJ7RT61SV");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_callback_makes_the_relay_ask() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    world.daraja.result(&push.checkout, 2001);
    world.call_back(&push.callback, "{}").await;
    assert_eq!(world.router.outcome(&order).await, Outcome::Failed { reason: lango_core::message::Reason::WrongPin });
}

#[tokio::test(flavor = "multi_thread")]
async fn only_routers_that_were_added_are_served() {
    let mut world = World::new().await;
    // The broker knows it (an operator's mistake), the relay does not.
    let credentials = world.relay.add_router("added-2");
    world.broker.add_user("stranger", "pw");
    let acl = world.relay.command(&["router", "acl"]).stdout
        + "\nuser stranger\ntopic readwrite lango/v1/stranger/#\ntopic read lango/v1/relay/presence\n";
    world.broker.set_acl(&acl);
    world.broker.kill();
    world.broker.add_user("added-2", &credentials.password);
    world.broker.start();
    let mut stranger =
        Router::connect("stranger", &super::program::Credentials { password: "pw".to_owned(), ..credentials.clone() }, world.broker.port)
            .await;
    stranger.presence("online").await;
    stranger.say(UpBody::PaymentRequest(request("abc")));
    super::until("the stranger to be logged", async || world.relay.log().contains("router stranger: it was never added").then_some(()))
        .await;
    assert!(world.payment("abc").is_none());
    // One that was added while the relay runs is served at once.
    let mut added = Router::connect("added-2", &credentials, world.broker.port).await;
    added.fence().await;
    // The broker keeps each to its own name: an order in another's name does not arrive.
    added.client.publish("lango/v1/kibera-7/up/payment_request", rumqttc::QoS::AtLeastOnce, false, "not json").await.unwrap();
    added.fence().await;
    world.router.fence().await;
    assert!(!world.relay.log().contains("router kibera-7: the payload"), "{}", world.relay.log());
    assert_eq!(world.daraja.pushes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_may_use_the_same_order_id() {
    let mut world = World::new().await;
    let credentials = world.relay.add_router("kibera-8");
    world.broker.kill();
    world.broker.add_user("kibera-8", &credentials.password);
    world.broker.set_acl(&world.relay.command(&["router", "acl"]).stdout);
    world.broker.start();
    let mut second = Router::connect("kibera-8", &credentials, world.broker.port).await;
    world.router.fence().await;
    second.fence().await;
    world.router.say(UpBody::PaymentRequest(request("abc")));
    let first_push = world.daraja.next_push().await;
    second.say(UpBody::PaymentRequest(request("abc")));
    let second_push = world.daraja.next_push().await;
    world.call_back(&second_push.callback, paid(&second_push.checkout, 10, "NLJ7RT61SB")).await;
    let Outcome::Paid { receipt, .. } = second.outcome("abc").await else { panic!("paid") };
    assert_eq!(receipt.as_str(), "NLJ7RT61SB");
    assert_eq!(world.router.fence().await, []);
    let ambiguous = world.relay.command(&["retry", "abc"]);
    assert!(ambiguous.code == 64 && ambiguous.stderr.contains("write ROUTER/abc"), "{}", ambiguous.stderr);
    drop(first_push);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_router_stops_nothing() {
    let mut world = World::new().await;
    for payload in [
        b"".to_vec(),
        b"garbage".to_vec(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        vec![0xff; 100],
        br#"{"v":2,"id":"a","seq":1,"type":"hello","nonce":"a","version":"1"}"#.to_vec(),
        br#"{"v":1,"id":"a","seq":-1,"type":"hello","nonce":"a","version":"1"}"#.to_vec(),
        br#"{"v":1,"id":"a","seq":1,"type":"order_pizza"}"#.to_vec(),
        br#"{"v":1,"id":"a","seq":1,"type":"payment_request","order":"abc"}"#.to_vec(),
        vec![b'['; 10_000],
        vec![b' '; 17 * 1_024],
        vec![b'x'; 1_000_000],
    ] {
        world.router.publish("payment_request", payload);
    }
    let huge = format!(r#"{{"v":1,"id":"a","seq":1,"type":"hello","nonce":"a","version":"{}"}}"#, "v\\n".repeat(3_000));
    world.router.publish("hello", huge);
    let (order, push) = world.ask().await;
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
    assert!(!world.relay.log().contains("not connected"), "the connection was lost:\n{}", world.relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_over_http_stops_nothing() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    let address = format!("127.0.0.1:{}", world.relay.port);
    let path = push.callback.split_once(&address).unwrap().1.to_owned();
    let large = "x".repeat(65 * 1_024);
    for (request, status) in [
        ("\u{0}\u{1}garbage\r\n\r\n".to_owned(), "400"),
        (format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"), "405"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(), "404"),
        ("POST /callback/../../etc/passwd HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(), "404"),
        ("POST /callback/%00 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(), "404"),
        (format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{large}", large.len()), "413"),
        (format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len()), "413"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        // A server that refuses early may close before all is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{}", &request[..request.len().min(60)]);
    }
    assert_eq!(world.payment(&order).unwrap()["look_at"], serde_json::Value::Null, "nothing of it was stored");
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_of_another_payment_is_not_taken_where_the_pushs_answer_was_lost() {
    let mut world = World::new().await;
    let (first_order, first) = world.ask().await;
    world.payment_until(&first_order, "state", "prompted").await;
    world.daraja.answers([super::daraja::Answer::Lose]);
    let (order, push) = world.ask().await;
    super::until("the lost answer to be noted", async || world.payment(&order).filter(|payment| !payment["code"].is_null())).await;
    // Whoever knows this one's secret cannot let the other one's money count for it.
    world.call_back(&push.callback, paid(&first.checkout, 10, "NLJ7RT61SV")).await;
    world.payment_until(&order, "look_at", "the request id is another payment's (receipt NLJ7RT61SV, KSh 10)").await;
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SW")).await;
    let Outcome::Paid { receipt, .. } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!(receipt.as_str(), "NLJ7RT61SW");
    world.call_back(&first.callback, paid(&first.checkout, 10, "NLJ7RT61SV")).await;
    let Outcome::Paid { receipt, .. } = world.router.outcome(&first_order).await else { panic!("paid") };
    assert_eq!(receipt.as_str(), "NLJ7RT61SV");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_from_elsewhere_are_refused_where_the_operator_wants_it() {
    let lines = "transaction_type = \"CustomerPayBillOnline\"\n\n[callbacks]\nsources = [\"196.201.214.0/24\"]";
    let mut world = World::with(lines).await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    for (from, status) in
        [(None, 403), (Some("192.0.2.1"), 403), (Some("196.201.214.200, 192.0.2.1"), 403), (Some("192.0.2.1, 196.201.214.200"), 200)]
    {
        let request = world.http.post(&push.callback).body(paid(&push.checkout, 10, "NLJ7RT61SV"));
        let request = if let Some(from) = from { request.header("x-forwarded-for", from) } else { request };
        assert_eq!(request.send().await.unwrap().status(), status, "{from:?}");
        if status == 403 {
            assert_eq!(world.router.fence().await, [], "{from:?}");
        }
    }
    let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
}
