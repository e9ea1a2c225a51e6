//! The broker, with the access list that the relay prints, holds each router to its own name; after a `kill -9`, too.

use lango_lab::broker::{Broker, RELAY, RELAY_PASSWORD};
use lango_lab::relay::Relay;
use lango_lab::safaricom::daraja::Merchant;
use lango_lab::world::World;

#[test]
fn a_router_may_speak_in_its_own_name_only() {
    let world = World::build().unwrap();
    let broker = Broker::new(&world.cloud, &world.folder).unwrap();
    let relay = Relay::new(&world.cloud, &world.folder, &Merchant::sandbox(), &broker).unwrap();
    let one = relay.add_router("kibera-7", &broker).unwrap();
    relay.add_router("kibera-8", &broker).unwrap();
    broker.start().unwrap();
    let publish = |user: &str, password: &str, topic: &str| broker.publish(&world.router, user, password, topic, b"{}");
    publish("kibera-7", &one.password, "lango/v1/kibera-7/up/hello").unwrap();
    publish(RELAY, RELAY_PASSWORD, "lango/v1/kibera-7/down/welcome").unwrap();
    publish(RELAY, RELAY_PASSWORD, "lango/v1/relay/presence").unwrap();
    for (user, password, topic) in [
        ("kibera-7", "wrong", "lango/v1/kibera-7/up/hello"),
        ("kibera-8", &one.password, "lango/v1/kibera-8/up/hello"),
        ("nobody", &one.password, "lango/v1/nobody/up/hello"),
        ("kibera-7", &one.password, "lango/v1/kibera-8/up/hello"),
        ("kibera-7", &one.password, "lango/v1/kibera-7/down/payment"),
        ("kibera-7", &one.password, "lango/v1/relay/presence"),
        (RELAY, RELAY_PASSWORD, "lango/v1/kibera-7/up/hello"),
    ] {
        assert!(publish(user, password, topic).is_err(), "{user} published on {topic}");
    }
    broker.program.kill9();
    broker.start().unwrap();
    publish("kibera-7", &one.password, "lango/v1/kibera-7/up/hello").unwrap();
}
