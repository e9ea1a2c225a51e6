//! The walled garden by name: what a phone asks the router's DNS for, and nobody looked up before, is open to it at once.

use lango_lab::Lab;
use lango_lab::dns::Kind;
use lango_lab::dnsmasq;
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::wait::until_true;
use lango_lab::world::ROUTER4;
use nix::sys::signal::Signal;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How long a phone waits for what must not come.
const SILENCE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_subdomain_of_an_allowed_name_is_open_as_soon_as_a_phone_has_asked_for_it() {
    let lab = Lab::start();
    let names = dnsmasq::upstream(
        &lab.world.cloud,
        &lab.world.folder,
        &format!("host-record=cdn.allowed.test,{HOST4}\nhost-record=other.test,{HOST6}\nhost-record=six.allowed.test,{HOST6}\n"),
    )
    .unwrap();
    let without = std::fs::read_to_string(&lab.lango.config).unwrap();
    let configure = |text: &str| {
        std::fs::write(&lab.lango.config, text).unwrap();
        lab.lango.program.signal(Signal::SIGHUP).unwrap();
    };
    configure(&without.replacen("\n\nconfig", "\n\tlist allow 'allowed.test'\n\nconfig", 1));
    let lines = lab.lango.command(&["garden"]).unwrap();
    assert_eq!(lines, "nftset=/allowed.test/4#inet#lango#garden4,6#inet#lango#garden6\n");
    let folder = dnsmasq::more(&lab.world.folder);
    std::fs::write(folder.join("lango.conf"), lines).unwrap();
    std::fs::write(folder.join("upstream.conf"), dnsmasq::ask_upstream("test")).unwrap();
    lab.world.dnsmasq.terminate().unwrap();
    dnsmasq::run(&lab.world.dnsmasq, &lab.world.router).unwrap();

    let phone = lab.joined_phone();
    let reaches = |host: IpAddr| phone.tcp_echo((host, ECHO).into(), SOON);
    let refused = |host: IpAddr| !phone.tcp_echo((host, ECHO).into(), SILENCE) && !phone.udp_echo((host, ECHO).into(), SILENCE);
    let (four, six) = (IpAddr::V4(HOST4), IpAddr::V6(HOST6));
    assert!(refused(four) && refused(six));
    assert_eq!(phone.resolve("other.test", Kind::Aaaa).unwrap(), [six]);
    assert_eq!(phone.resolve("cdn.allowed.test", Kind::A).unwrap(), [four]);
    assert!(reaches(four), "what is below an allowed name");
    assert!(refused(six), "a name that is not allowed");
    assert_eq!(lab.internet().packets_from_customers().unwrap().1, 0, "packets to a host that is not allowed");
    let told = names.log();
    let asked = |what: &str| told.lines().filter(|line| line.contains("query[") && line.contains(what)).count();
    assert_eq!(asked("cdn.allowed.test"), 1, "the phone alone asked for it: {told}");

    // Somebody deletes every table: dnsmasq has the answer in its memory and would not add it again.
    lab.world.router.exec("nft", &["delete", "table", "inet", "lango"]).unwrap();
    until_true("the table to be back", SOON, || lab.lango.gate().is_ok_and(|table| table.contains(&HOST4.to_string()))).unwrap();
    assert!(reaches(four) && refused(six));
    assert_eq!(phone.resolve("six.allowed.test", Kind::Aaaa).unwrap(), [six]);
    assert!(reaches(six), "what is below an allowed name, over IPv6");

    // A daemon that starts again takes over what is there.
    lab.lango.program.kill9();
    assert!(reaches(four) && reaches(six), "with the daemon dead");
    lab.lango.start().unwrap();
    assert!(reaches(four) && reaches(six));

    // A name that is taken out of the configuration is closed at once.
    configure(&without);
    until_true("the garden to be closed", SOON, || refused(four) && refused(six)).unwrap();
}

#[test]
fn without_nftset_the_router_s_own_look_up_opens_the_host_and_no_other() {
    let lab = Lab::start();
    // Another host of the same network: what opens one address must not open its neighbour.
    let [a, b, c, d] = HOST4.octets();
    let neighbour = IpAddr::V4(Ipv4Addr::new(a, b, c, d + 1));
    let names = dnsmasq::upstream(
        &lab.world.cloud,
        &lab.world.folder,
        &format!("host-record=bank.test,{HOST4}\nhost-record=other.test,{neighbour},{HOST6}\n"),
    )
    .unwrap();
    std::fs::write(dnsmasq::more(&lab.world.folder).join("upstream.conf"), dnsmasq::ask_upstream("test")).unwrap();
    lab.world.dnsmasq.terminate().unwrap();
    dnsmasq::run(&lab.world.dnsmasq, &lab.world.router).unwrap();
    // The router asks its own dnsmasq, as on OpenWrt; the file is put there for this program alone.
    let resolver = lab.world.folder.join("resolv.conf");
    std::fs::write(&resolver, format!("nameserver {ROUTER4}\n")).unwrap();
    let words = ["sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"", resolver.to_str().unwrap()];
    lab.lango.program.under(words.map(str::to_owned).into());
    lab.lango.program.terminate().unwrap();
    let without = std::fs::read_to_string(&lab.lango.config).unwrap();
    lab.lango.configure(|text| text.replacen("\n\nconfig", "\n\tlist allow 'bank.test'\n\nconfig", 1)).unwrap();
    lab.lango.start().unwrap();

    let phone = lab.joined_phone();
    let four = IpAddr::V4(HOST4);
    until_true("the host to be open", SOON, || phone.tcp_echo((four, ECHO).into(), SILENCE)).unwrap();
    assert!(phone.udp_echo((four, ECHO).into(), SOON));
    let told = names.log();
    let asked = |what: &str| told.lines().filter(|line| line.contains("query[") && line.contains(what)).count();
    assert!(asked("bank.test") >= 1, "the router's question reached the internet's DNS: {told}");
    // That a phone asks for a name opens nothing here.
    assert_eq!(phone.resolve("other.test", Kind::A).unwrap(), [neighbour]);
    let so_far = lab.internet().packets_from_customers().unwrap();
    for other in [neighbour, IpAddr::V6(HOST6)] {
        assert!(!phone.tcp_echo((other, ECHO).into(), SILENCE) && !phone.udp_echo((other, ECHO).into(), SILENCE), "{other}");
    }
    assert_eq!(lab.internet().packets_from_customers().unwrap(), so_far, "packets to hosts that are not allowed");
    assert_eq!(so_far.1, 0, "packets over IPv6, of which the host has no record");

    // A name that is taken out of the configuration is closed at once.
    std::fs::write(&lab.lango.config, &without).unwrap();
    lab.lango.program.signal(Signal::SIGHUP).unwrap();
    until_true("the garden to be closed", SOON, || !phone.tcp_echo((four, ECHO).into(), SILENCE)).unwrap();
}
