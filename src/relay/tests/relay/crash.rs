//! The relay, the broker and the router go away at the worst moments; the money arrives once.

use super::{World, on_postgres, paid, until};
use lango_core::message::{Outcome, UpBody};
use lango_core::units::Shillings;
use sqlx::Connection;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_push_and_callback() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    world.relay.kill();
    world.router.presence("offline").await;
    // Safaricom calls back once, finds nobody, and never calls again.
    assert!(world.http.post(&push.callback).body(paid(&push.checkout, 10, "NLJ7RT61SV")).send().await.is_err());
    world.daraja.result(&push.checkout, "0");
    world.relay.start().await;
    let Outcome::Paid { receipt, .. } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!(receipt.as_str().len(), 12);
    world.router.presence("online").await;
    // Once: neither a fence nor another restart brings it again.
    assert_eq!(world.router.fence().await, []);
    world.relay.kill();
    world.relay.start().await;
    assert_eq!((world.router.fence().await, world.router.fence().await), (vec![], vec![]));
    assert_eq!(world.daraja.pushes(), 1);
    assert_eq!(world.daraja.queries(), [push.checkout]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_callback_was_stored() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.payment_until(&order, "state", "prompted").await;
    world.relay.kill();
    // As a crash between the 200 and the work leaves it.
    sqlx::any::install_default_drivers();
    let mut ledger = sqlx::AnyConnection::connect(world.relay.database()).await.unwrap();
    let row = sqlx::query("INSERT INTO callbacks (id, router, order_id, at, body) VALUES ('left', 'kibera-7', $1, 0, $2)");
    row.bind(&order).bind(paid(&push.checkout, 10, "NLJ7RT61SV").into_bytes()).execute(&mut ledger).await.unwrap();
    sqlx::query("INSERT INTO callbacks_open (id, at) VALUES ('left', 0)").execute(&mut ledger).await.unwrap();
    ledger.close().await.unwrap();
    world.relay.start().await;
    let Outcome::Paid { receipt, .. } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!(receipt.as_str(), "NLJ7RT61SV");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_push_is_under_way() {
    let mut world = World::new().await;
    world.daraja.answers([super::daraja::Answer::Hold]);
    let (order, push) = world.ask().await;
    world.relay.kill();
    world.relay.start().await;
    world.router.fence().await;
    assert_eq!(world.payment(&order).unwrap()["state"], "prompting");
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!(world.daraja.pushes(), 1, "in doubt, nobody is prompted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_forgets_everything_meanwhile() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.broker.kill();
    assert_eq!(world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await, 200);
    world.payment_until(&order, "status", "paid").await;
    world.broker.start();
    let Outcome::Paid { receipt, amount } = world.router.outcome(&order).await else { panic!("paid") };
    assert_eq!((receipt.as_str(), amount), ("NLJ7RT61SV", Shillings(10)));
    // Acknowledged by the router's own message, it is not sent again; the first fence may still bring a copy.
    world.router.fence().await;
    assert_eq!((world.router.fence().await, world.router.fence().await), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_comes_with_every_hello_until_it_is_acknowledged() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let (id, first) = world.router.update().await;
    for _ in 0..2 {
        world.router.fence().await;
        let (again, update) = world.router.update().await;
        assert_eq!((&again, &update), (&id, &first), "the same message, with the same id");
    }
    world.router.say(UpBody::Ack { of: vec!["another".parse().unwrap(), id] });
    assert_eq!((world.router.fence().await, world.router.fence().await), (vec![], vec![]));
    assert_eq!(world.payment(&order).unwrap()["status"], "paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_while_the_relay_is_away_waits_for_it() {
    let mut world = World::new().await;
    world.relay.kill();
    world.router.presence("offline").await;
    let (order, id) = ("whileaway".to_owned(), "pay-away".parse().unwrap());
    let body = UpBody::PaymentRequest(super::router::request(&order));
    world.router.say_as(&id, body.clone());
    world.relay.start().await;
    if on_postgres() {
        // A relay among others has no session at the broker that outlives it: routers say it again when a relay is back.
        world.router.presence("online").await;
        world.router.fence().await;
        world.router.say_as(&id, body);
    }
    let push = world.daraja.next_push().await;
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_is_quick_and_says_good_bye() {
    let mut world = World::new().await;
    let asked = Instant::now();
    assert_eq!(world.relay.stop().await, 0);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    world.router.presence("offline").await;
    let log = world.relay.log();
    assert!(log.trim_end().ends_with("info stopped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_is_quick_even_when_nobody_answers() {
    let mut world = World::new().await;
    world.daraja.answers([super::daraja::Answer::Hold]);
    let (order, _) = world.ask().await;
    world.broker.kill();
    // A connection that is open and says nothing.
    let _silent = tokio::net::TcpStream::connect(("127.0.0.1", world.relay.port)).await.unwrap();
    let asked = Instant::now();
    assert_eq!(world.relay.stop().await, 0);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(world.payment(&order).unwrap()["state"], "prompting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_waits_for_a_push_that_is_under_way() {
    let mut world = World::new().await;
    world.daraja.answers([super::daraja::Answer::Hold]);
    let (order, _) = world.ask().await;
    let (code, ()) = tokio::join!(world.relay.stop(), async {
        until("the relay to be stopping", async || world.broker.log().contains("kibera-7").then_some(())).await;
        world.daraja.release();
    });
    assert_eq!(code, 0);
    assert_eq!(world.payment(&order).unwrap()["state"], "prompted", "its answer was stored");
}

/// Whatever the moment, nobody is prompted twice, and whoever pays is served once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_of_a_request() {
    let mut world = World::new().await;
    let mut found = Vec::new();
    for milliseconds in [0, 2, 4, 6, 8, 10, 12, 15, 20, 30] {
        let order = format!("moment{milliseconds}");
        let (id, body) = (format!("pay-{milliseconds}").parse().unwrap(), UpBody::PaymentRequest(super::router::request(&order)));
        let before = world.daraja.pushes();
        world.router.say_as(&id, body.clone());
        // The one thing here that is no condition: the moment of the crash is what is tried.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        world.relay.kill();
        let left = world.payment(&order).map(|payment| payment["state"].as_str().unwrap().to_owned());
        let pushed = world.daraja.pushes() - before;
        world.relay.start().await;
        world.router.fence().await;
        world.router.say_as(&id, body); // as a router does that has seen no acknowledgement
        found.push((milliseconds, left.clone(), pushed));
        match left.as_deref() {
            // Nobody was prompted, and somebody is now.
            None | Some("requested") => assert_eq!(pushed, 0, "{found:?}"),
            // In doubt: it stays at what there was, a push that was on the wire included.
            Some("prompting") if pushed == 0 => {
                world.router.fence().await;
                if world.daraja.pushes() == before {
                    assert_eq!(world.payment(&order).unwrap()["state"], "prompting", "{found:?}");
                    continue;
                }
            }
            _ => assert_eq!(pushed, 1, "{found:?}"),
        }
        let push = world.daraja.next_push().await;
        world.call_back(&push.callback, paid(&push.checkout, 10, &format!("NLJ7RT6{milliseconds:03}"))).await;
        let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
        assert_eq!(world.daraja.pushes() - before, 1, "{found:?}");
        world.router.fence().await;
        assert_eq!(world.router.fence().await, []);
    }
    eprintln!("killed after ms, found in the ledger, pushes made: {found:?}");
}
