//! A copied Ethernet address while its owner is online: the daemon notices and tells it, the copy gets nothing, the owner loses nothing.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::lab::figure;
use lango_lab::wait::until_true;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(300);

fn suspicions(lab: &Lab) -> u64 {
    lab.lango.status().unwrap()["suspicions"].as_u64().expect("a number of suspicions")
}

#[test]
fn a_copy_with_an_address_of_its_own_is_told_of_and_uses_nothing_of_the_owner_s() {
    let lab = Lab::start();
    let (owner, thief) = (lab.joined_phone(), lab.joined_phone());
    owner.await_paid(&owner.pay("day", "0712345678"));
    assert!(owner.udp_echo((HOST4, ECHO).into(), SOON));
    assert_eq!(suspicions(&lab), 0);
    // The other phone takes the owner's Ethernet address, and keeps the IPv4 address and the way out that DHCP gave it. The link
    // comes up anew without IPv6: there any number of addresses is a device's own.
    let lease = thief.lease();
    thief.namespace.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    thief.namespace.ip(&["link", "set", "eth0", "address", &owner.mac]).unwrap();
    thief.namespace.ip(&["route", "replace", "default", "via", &lease.router.to_string()]).unwrap();
    let mut stealing = thief.probe(false);
    until_true("the daemon to tell of it", SOON, || {
        // The owner is a phone in use. An answer may go astray: the bridge takes it to the one that sent last.
        let _ = owner.udp_echo((HOST4, ECHO).into(), SILENCE);
        suspicions(&lab) > 0
    })
    .unwrap();
    assert_eq!(lab.lango.program.log().matches("suspicion: ").count(), 1, "in its log, once");
    assert!(lab.lango.command(&["status"]).unwrap().contains("1: see the log"), "and to people");
    let stolen = lab.internet().arrivals(stealing.id).len();
    figure(&format!("{stolen} datagrams of a copy's passed until its address was held, of {} that it sent", stealing.sent().len()));
    // Nothing more of it arrives, or is on the owner's account.
    let used = || owner.session().unwrap()["bytes_up"].as_u64().unwrap();
    let sent = stealing.sent().len();
    until_true("the copy to go on", SOON, || stealing.sent().len() > sent + 1_000).unwrap();
    stealing.stop();
    let before = used();
    until_true("the owner to be answered", SOON, || owner.udp_echo((HOST4, ECHO).into(), SILENCE)).unwrap();
    assert_eq!(lab.internet().arrivals(stealing.id).len(), stolen, "nothing more of the copy's arrives");
    // A datagram of the probe's takes 44 bytes: what passed is less than what the kernel lets pass while nobody listens.
    assert!(stolen * 44 < 64 * 1024 && before < 128 * 1024, "{stolen} datagrams passed; {before} bytes are on the account");
    assert!(!thief.udp_echo((HOST4, ECHO).into(), SILENCE), "the copy is not served");
    until_true("the owner to be answered again", SOON, || owner.udp_echo((HOST4, ECHO).into(), SILENCE)).unwrap();
    assert!(owner.tcp_echo((HOST4, ECHO).into(), SOON), "the owner is");
    assert_eq!(lab.lango.sessions().unwrap().as_array().map(Vec::len), Some(1));
}
