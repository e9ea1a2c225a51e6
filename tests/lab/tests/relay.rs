//! The relay by itself, between the broker and Safaricom; the router is played by the test, letter by letter.

use lango_core::message::{DownBody, Outcome, PaymentRequest, Sealed, Up, UpBody, VERSION};
use lango_core::time::Wall;
use lango_core::units::Shillings;
use lango_lab::broker::Broker;
use lango_lab::process::Program;
use lango_lab::relay::{Credentials, Relay};
use lango_lab::router::NAME;
use lango_lab::safaricom::Safaricom;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::safaricom::daraja::Merchant;
use lango_lab::wait::until;
use lango_lab::world::{SAFARICOM4, World};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(10);

struct Cloud {
    messages: Program,
    relay: Relay,
    broker: Broker,
    safaricom: Safaricom,
    credentials: Credentials,
    world: World,
}

impl Cloud {
    fn start() -> Self {
        let world = World::build().unwrap();
        let merchant = Merchant::sandbox();
        let address = SocketAddr::new(SAFARICOM4.parse().unwrap(), 80);
        let safaricom = Safaricom::start(Some(&world.cloud), address, merchant.clone()).unwrap();
        let broker = Broker::new(&world.cloud, &world.folder).unwrap();
        let relay = Relay::new(&world.cloud, &world.folder, &merchant, &broker).unwrap();
        let credentials = relay.add_router(NAME, &broker).unwrap();
        broker.start().unwrap();
        relay.start().unwrap();
        let messages = broker.listen(&world.folder).unwrap();
        Self { messages, relay, broker, safaricom, credentials, world }
    }

    fn say(&self, up: &Up) {
        let topic = format!("lango/v1/{NAME}/up/{}", up.body.topic());
        let Credentials { username, password, .. } = &self.credentials;
        self.broker.publish(&self.world.router, username, password, &topic, &up.to_json()).unwrap();
    }

    /// All that the relay said to the router so far. Signatures are the router's to check; here only the words count.
    fn heard(&self) -> Vec<DownBody> {
        let prefix = format!("lango/v1/{NAME}/down/");
        let payload = |line: &str| line.strip_prefix(&prefix)?.split_once(' ').map(|(_, payload)| payload.to_owned());
        let log = self.messages.log();
        let sealed = log.lines().filter_map(payload).filter_map(|payload| Sealed::from_json(payload.as_bytes()).ok());
        sealed.map(|sealed| sealed.open(&NAME.parse().unwrap()).unwrap().body).collect()
    }

    fn await_word<T>(&self, what: &str, mut wanted: impl FnMut(&DownBody) -> Option<T>) -> T {
        until(what, SOON, || self.heard().iter().find_map(&mut wanted))
            .unwrap_or_else(|e| panic!("{e:#}\nheard: {:?}\n{}{}", self.heard(), self.relay.program.tail(30), self.messages.tail(30)))
    }
}

fn now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn request(seq: u64, order: &str, phone: &str, asked_at: Option<Wall>) -> Up {
    let body = UpBody::PaymentRequest(PaymentRequest {
        order: order.parse().unwrap(),
        package: "hour".parse().unwrap(),
        label: "1 hour".into(),
        amount: Shillings(10),
        phone: phone.parse().unwrap(),
        device: "02:00:5e:00:00:01".parse().unwrap(),
        asked_at,
    });
    Up { v: VERSION, id: format!("test-{seq}").parse().unwrap(), seq, body }
}

#[test]
fn a_hello_is_welcomed_and_a_request_prompted_and_told_once_it_is_paid() {
    let cloud = Cloud::start();
    let hello = UpBody::Hello { nonce: "nonce1".parse().unwrap(), version: "0".into() };
    cloud.say(&Up { v: VERSION, id: "test-1".parse().unwrap(), seq: 1, body: hello });
    cloud.await_word("the welcome", |word| matches!(word, DownBody::Welcome { nonce } if nonce.as_str() == "nonce1").then_some(()));

    let asked = request(2, "00000000000000000000000001", "0712345678", Some(now()));
    cloud.say(&asked);
    cloud.say(&asked);
    cloud.await_word("the acknowledgement", |word| matches!(word, DownBody::Ack { of } if of.contains(&asked.id)).then_some(()));
    let paid = cloud.await_word("the result", |word| match word {
        DownBody::Payment(update) => Some(update.clone()),
        _ => None,
    });
    let money = cloud.safaricom.money();
    assert_eq!(money.len(), 1, "said twice, prompted once");
    assert_eq!(paid.outcome, Outcome::Paid { receipt: money[0].receipt.parse().unwrap(), amount: Shillings(10) });
    assert_eq!(paid.device.to_string(), "02:00:5e:00:00:01");
    assert!(cloud.safaricom.refusals().is_empty(), "{:?}", cloud.safaricom.refusals());
    let listed = cloud.relay.payments().unwrap();
    assert!(listed.to_string().contains(&money[0].receipt), "{listed}");
}

#[test]
fn a_failure_is_told_with_its_reason_and_an_old_request_prompts_nobody() {
    let cloud = Cloud::start();
    cloud.safaricom.everybody(Customer::who(Answer::Cancels));
    cloud.say(&request(1, "00000000000000000000000001", "0712345678", Some(now())));
    let outcome = cloud.await_word("the result", |word| match word {
        DownBody::Payment(update) => Some(update.outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome, Outcome::Failed { reason: lango_core::message::Reason::Cancelled });
    for (seq, asked_at) in [(2, Some(Wall(now().0 - 100_000))), (3, None)] {
        let order = format!("0000000000000000000000000{seq}");
        cloud.say(&request(seq, &order, "0712345678", asked_at));
        cloud.await_word("the word that it is stale", |word| {
            matches!(word, DownBody::Stale { order: o } if o.as_str() == order).then_some(())
        });
    }
    assert_eq!(cloud.safaricom.prompts().len(), 1);
}
