//! A phone that has not paid reaches DHCP, DNS and the portal; nothing else, in IPv4 and IPv6.

use lango_lab::Lab;
use lango_lab::dns::Kind;
use lango_lab::internet::{ECHO, HOST4, HOST6, NAME, OTHERS};
use lango_lab::phone::Phone;
use lango_lab::wait::until_true;
use lango_lab::world::{PORTAL, ROUTER_WAN4, ROUTER4, ROUTER6};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// How long a phone listens for an answer that must not come. The counters at the far end are the proof, not this.
const SILENCE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(5);

fn internet() -> impl Iterator<Item = SocketAddr> {
    let hosts = [IpAddr::V4(HOST4), IpAddr::V6(HOST6)];
    hosts.into_iter().flat_map(|host| [ECHO].into_iter().chain(OTHERS).map(move |port| SocketAddr::new(host, port)))
}

/// All that a phone can try; gives back what succeeded.
fn tries_everything(phone: &Phone, limit: Duration) -> Vec<String> {
    let mut reached = Vec::new();
    for address in internet() {
        if phone.tcp_echo(address, limit) {
            reached.push(format!("TCP {address}"));
        }
        if phone.udp_echo(address, limit) {
            reached.push(format!("UDP {address}"));
        }
    }
    for host in [IpAddr::V4(HOST4), IpAddr::V6(HOST6)] {
        if phone.ping(host) {
            reached.push(format!("ping {host}"));
        }
    }
    reached
}

#[test]
fn an_unpaid_phone_reaches_the_portal_and_nothing_else() {
    let lab = Lab::start();
    let phone = lab.joined_phone();

    // What it may: DHCP again, DNS, the portal, and the portal in place of every web page.
    phone.join();
    assert_eq!(phone.resolve(NAME, Kind::A).unwrap(), [HOST4]);
    assert_eq!(phone.resolve(NAME, Kind::Aaaa).unwrap(), [HOST6]);
    let page = phone.get("/");
    assert!(page.status == 200 && page.text().contains("<html"), "{} {}", page.status, page.text());
    for url in
        ["http://internet.test/", "http://connectivitycheck.gstatic.com/generate_204", "http://captive.apple.com/hotspot-detect.html"]
    {
        let answer = phone.http("GET", url, &[], b"").unwrap();
        assert_eq!(answer.status, 302, "{url}");
        let location = answer.header("location").unwrap_or_default();
        assert!(location == format!("{PORTAL}/") || location == "http://portal.lan/", "{url} leads to {location:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{url}");
    }

    assert_eq!(tries_everything(&phone, SILENCE), Vec::<String>::new());
    let by_six = phone.http("GET", &format!("http://[{HOST6}]:80/"), &[], b"").unwrap();
    assert_eq!((by_six.status, by_six.header("location")), (302, Some(format!("{PORTAL}/").as_str())), "the web over IPv6");
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0), "packets of an unpaid phone came out of the router");
    assert_eq!(lab.internet().connections(), 0);

    // The same tries of the same phone succeed once it has paid: they were good tries.
    phone.await_paid(&phone.pay("day", "0712345678"));
    let everything = tries_everything(&phone, SOON);
    assert_eq!(everything.len(), internet().count() * 2 + 2, "{everything:?}");
    let (four, six) = lab.internet().packets_from_customers().unwrap();
    assert!(four > 0 && six > 0);
}

#[test]
fn the_router_s_own_services_are_not_for_unpaid_phones() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    // An SSH server, say, on all addresses, and one over UDP.
    let router = &lab.world.router;
    let ssh = router.run(|| TcpListener::bind("[::]:22")).unwrap();
    let snmp = router.run(|| UdpSocket::bind("[::]:161")).unwrap();
    ssh.set_nonblocking(true).unwrap();
    snmp.set_nonblocking(true).unwrap();
    for address in [ROUTER4, ROUTER6, ROUTER_WAN4, "2001:db8:113::2"] {
        let host: IpAddr = address.parse().unwrap();
        assert!(phone.connect((host, 22).into(), SILENCE).is_err(), "TCP 22 of {host} is open to an unpaid phone");
        assert!(!phone.udp_echo((host, 161).into(), SILENCE));
        assert!(phone.connect((host, 1883).into(), SILENCE).is_err());
    }
    let mut packet = [0; 64];
    assert!(ssh.accept().is_err() && snmp.recv_from(&mut packet).is_err(), "something got through");
    // The cloud's services are no part of the walled garden either.
    assert!(phone.connect("192.0.2.10:1883".parse().unwrap(), SILENCE).is_err());
    assert!(phone.connect("192.0.2.20:80".parse().unwrap(), SILENCE).is_ok(), "port 80 leads to the portal, whoever is meant");
}

#[test]
fn a_paid_phone_opens_nothing_for_its_neighbour() {
    let lab = Lab::start();
    let (paid, unpaid) = (lab.joined_phone(), lab.joined_phone());
    paid.await_paid(&paid.pay("day", "0712345678"));
    assert!(paid.udp_echo((HOST4, ECHO).into(), SOON));
    // It never spoke IPv6 before: an answer that comes sooner than the router has learnt its address, as only one from a host on
    // the same machine can, is lost (ipv6.rs has more of that).
    until_true("an answer over IPv6", SOON, || paid.udp_echo((HOST6, ECHO).into(), SILENCE)).unwrap();
    assert_eq!(tries_everything(&unpaid, SILENCE), Vec::<String>::new());
    // The payment is the paying device's: for another one it does not exist.
    let payment = paid.pay("hour", "0722000000");
    assert_eq!(unpaid.get(&format!("/api/payments/{payment}/status")).status, 404);
    assert!(unpaid.session().is_none());
}
