//! Every system's own check, before and after payment, byte for byte, in IPv4 and IPv6: the redirect that makes it show the portal, then its
//! maker's answer. And what no redirect can answer: the DNS, which says the truth all the time, and Android's check over HTTPS.

use lango_lab::Lab;
use lango_lab::authority::Authority;
use lango_lab::checks::{CHECKS, Check, NAME_CHECK};
use lango_lab::dns::Kind;
use lango_lab::dnsmasq;
use lango_lab::http::{request, write_response};
use lango_lab::internet::{ECHO, HOST6};
use lango_lab::phone::Phone;
use lango_lab::process::Program;
use lango_lab::tool;
use lango_lab::wait::until_true;
use lango_lab::world::PORTAL;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);
/// What Android waits for each check; one that fails sooner costs its owner no time.
const ANDROID: Duration = Duration::from_secs(3);

/// What comes back, head and body as they are, over IPv4 or IPv6.
fn asks(phone: &Phone, check: &Check, kind: Kind) -> String {
    let address = phone.resolve(check.host, kind).unwrap_or_else(|e| panic!("{}: {e:#}", check.system))[0];
    let bytes = request("GET", check.target, &[("host", check.host), ("user-agent", "Lab"), ("connection", "close")], b"");
    let answer = phone.exchange(SocketAddr::new(address, 80), &bytes).unwrap_or_else(|e| panic!("{} {kind:?}: {e:#}", check.system));
    String::from_utf8(answer).unwrap()
}

/// Each check by each way that its host has.
fn ways() -> impl Iterator<Item = (&'static Check, Kind)> {
    let kinds = |check: &Check| if check.six_alone() { &[Kind::Aaaa][..] } else { &[Kind::A, Kind::Aaaa][..] };
    CHECKS.iter().flat_map(move |check| kinds(check).iter().map(move |kind| (check, *kind)))
}

#[test]
fn every_system_shows_the_portal_and_after_payment_finds_itself_online() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    let portal = format!("{PORTAL}/");
    let page = format!("<!doctype html><title>Wi-Fi</title><a href=\"{portal}\">{portal}</a>\n");
    let redirect = format!(
        "HTTP/1.1 302 \r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nX-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\nLocation: {portal}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    for (check, kind) in ways() {
        assert_eq!(asks(&phone, check, kind), redirect, "{} {kind:?}", check.system);
    }
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0), "nobody else was asked");

    let captive = phone.get("/captive-portal/api").value();
    assert_eq!((&captive["captive"], captive["user-portal-url"].as_str()), (&true.into(), Some(portal.as_str())));
    phone.await_paid(&phone.pay("hour", "0712345678"));
    // An answer to an address that it never spoke from may be lost once (ipv6.rs): a phone's own packet comes again, and so does this.
    until_true("an answer over IPv6", SOON, || phone.udp_echo((HOST6, ECHO).into(), Duration::from_millis(300))).unwrap();
    for (check, kind) in ways() {
        let mut own = Vec::new();
        write_response(&mut own, &check.answer(), false).unwrap();
        assert_eq!(asks(&phone, check, kind), String::from_utf8(own).unwrap(), "{} {kind:?}", check.system);
    }
    let captive = phone.get("/captive-portal/api").value();
    assert!(captive["captive"] == false && captive["seconds-remaining"].as_u64().is_some_and(|left| (3_000..=3_600).contains(&left)));
    assert!(captive["bytes-remaining"].as_u64().is_some_and(|left| left < 5_000_000), "the checks were counted: {captive}");

    // Offline again, captive again.
    phone.post("/api/hotspot/logout", &serde_json::json!({}));
    for (check, kind) in ways() {
        assert_eq!(asks(&phone, check, kind), redirect, "{} {kind:?}", check.system);
    }
}

#[test]
fn the_dns_never_lies_neither_before_nor_after_payment() {
    let lab = Lab::start();
    // Each host has addresses of its own, so that no answer can stand for another one's.
    let mut known: BTreeMap<&str, (IpAddr, IpAddr)> = BTreeMap::new();
    for check in CHECKS {
        let n = known.len() + 1;
        let own = (format!("198.51.100.{}", 100 + n).parse().unwrap(), format!("2001:db8:51::{n:x}00").parse().unwrap());
        known.entry(check.host).or_insert(own);
    }
    let (name, four, six) = NAME_CHECK;
    known.insert(name, (four.into(), six.into()));
    let records: String = known.iter().map(|(name, (four, six))| format!("host-record={name},{four},{six}\n")).collect();
    let upstream = dnsmasq::upstream(&lab.world.cloud, &lab.world.folder, &records).unwrap();
    dnsmasq::ask_upstream_for_all(&lab.world.dnsmasq, &lab.world.router, &lab.world.folder).unwrap();

    let phone = lab.joined_phone();
    let all_true = |when: &str| {
        for (name, (four, six)) in &known {
            assert_eq!(phone.resolve(name, Kind::A).unwrap(), [*four], "{name}, {when}");
            assert_eq!(phone.resolve(name, Kind::Aaaa).unwrap(), [*six], "{name}, {when}");
        }
        // What there is not is not made up either: no wildcard leads to the portal.
        for kind in [Kind::A, Kind::Aaaa] {
            let said = phone.resolve("no-such-name.test", kind);
            assert!(said.as_ref().is_err_and(|e| format!("{e:#}").contains("answered with code")), "{said:?}, {when}");
        }
    };
    all_true("captive");
    let asked = upstream.log();
    assert!(known.keys().all(|name| asked.contains(&format!("query[A] {name} "))), "the router made an answer up itself: {asked}");
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0), "nothing of the phone's own came out");
    phone.await_paid(&phone.pay("hour", "0712345678"));
    all_true("online");
}

#[test]
fn the_check_over_https_fails_at_once_before_payment_and_passes_after() {
    const NAME: &str = "www.google.com";
    let lab = Lab::start();
    let folder = &lab.world.folder;
    Authority::new("The lab's authority").unwrap().write(folder, "google", NAME).unwrap();
    std::fs::write(folder.join("generate_204"), "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").unwrap();
    // Ports of its own, on both addresses: on 443 of the usual ones something else answers.
    let hosts = [IpAddr::from([198, 51, 100, 11]), "2001:db8:51::11".parse().unwrap()];
    let internet = &lab.internet().namespace;
    let servers: Vec<Program> = hosts
        .iter()
        .map(|host| {
            let (plain, written) = (host.to_string(), SocketAddr::new(*host, 443).to_string());
            if host.is_ipv6() {
                internet.ip(&["addr", "add", &format!("{plain}/128"), "dev", "lo", "nodad"]).unwrap();
            } else {
                internet.ip(&["addr", "add", &format!("{plain}/32"), "dev", "lo"]).unwrap();
            }
            let file = |end: &str| folder.join(format!("google.{end}")).display().to_string();
            let (cert, key) = (file("pem"), file("key"));
            // openssl serves the folder that it is in.
            let openssl = tool::path("openssl").unwrap().display().to_string();
            let place = folder.display().to_string();
            let args = ["-C", &place, &openssl, "s_server", "-accept", &written, "-cert", &cert, "-key", &key, "-HTTP", "-quiet"];
            let log = folder.join(format!("google{}.log", u8::from(host.is_ipv6())));
            let server = Program::new(internet, &tool::path("env").unwrap(), &args, &log);
            server.start().unwrap();
            let ready = || internet.run(|| std::net::TcpStream::connect_timeout(&SocketAddr::new(*host, 443), SOON).is_ok());
            server.ready_when("openssl to answer", ready).unwrap();
            server
        })
        .collect();

    let phone = lab.joined_phone();
    let ca = folder.join("ca.pem").display().to_string();
    let check = |host: IpAddr| {
        let at = if host.is_ipv6() { format!("[{host}]") } else { host.to_string() };
        let (resolve, url) = (format!("{NAME}:443:{at}"), format!("https://{NAME}/generate_204"));
        let args = ["-sS", "--max-time", "20", "--cacert", &ca, "--resolve", &resolve, "-o", "/dev/null", "-w", "%{http_code}", &url];
        phone.namespace.exec("curl", &args)
    };
    let fails_at_once = |when: &str| {
        for host in hosts {
            let began = Instant::now();
            let said = check(host).expect_err("nobody may answer in the internet's place");
            assert!(format!("{said:#}").contains("curl: (7)"), "{when}: not refused but {said:#}");
            assert!(began.elapsed() < ANDROID, "{when}: {host} was refused after {:?}", began.elapsed());
        }
    };
    fails_at_once("captive");
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0));
    phone.await_paid(&phone.pay("hour", "0712345678"));
    for host in hosts {
        until_true("the check to pass", SOON, || check(host).is_ok_and(|status| status == "204")).unwrap();
    }
    phone.post("/api/hotspot/logout", &serde_json::json!({}));
    fails_at_once("captive again");
    drop(servers);
}
