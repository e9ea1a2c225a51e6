//! A paid phone is online in IPv6 as in IPv4: with an address that nobody on the router has seen before, and with the new
//! ones that phones take every day for privacy (RFC 8981).

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::phone::Phone;
use lango_lab::wait::until_true;
use std::time::Duration;

/// How long a phone may be without IPv6: browsers give up on it after a quarter of a second and take IPv4.
const SOON: Duration = Duration::from_secs(5);

fn is_online_in_ipv6(phone: &Phone) {
    until_true("an answer over IPv6", SOON, || phone.udp_echo((HOST6, ECHO).into(), Duration::from_millis(250)))
        .unwrap_or_else(|e| panic!("{e}; the phone's addresses: {:?}, on the router: {:?}", phone.address6(), phone.lease()));
    assert!(phone.tcp_echo((HOST6, ECHO).into(), SOON));
}

#[test]
fn a_phone_that_never_spoke_ipv6_before_it_paid() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    assert!(phone.udp_echo((HOST4, ECHO).into(), SOON));
    is_online_in_ipv6(&phone);
}

#[test]
fn a_phone_that_takes_a_new_address_while_it_is_online() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    for address in ["2001:db8:77::abcd:1/64", "2001:db8:77::abcd:2/64"] {
        let old = format!("{}/64", phone.address6().expect("it has one"));
        phone.namespace.ip(&["addr", "add", address, "dev", "eth0"]).unwrap();
        phone.namespace.ip(&["addr", "del", &old, "dev", "eth0"]).unwrap();
        is_online_in_ipv6(&phone);
    }
    // Another phone that takes the same addresses has not paid for them.
    let thief = lab.joined_phone();
    thief.namespace.ip(&["addr", "add", "2001:db8:77::abcd:3/64", "dev", "eth0"]).unwrap();
    assert!(!thief.udp_echo((HOST6, ECHO).into(), Duration::from_millis(500)));
}
