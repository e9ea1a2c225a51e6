//! The portal over HTTPS (docs/https.md, step by step): the key made on the router, its request signed by a CA, option 114 by real
//! DHCP, the name by the router's DNS, the API by real curl in IPv4 and IPv6, and the certificate renewed under way. The CA is the lab's
//! own where an operator takes a public one.

use lango_lab::authority::Authority;
use lango_lab::dns::Kind;
use lango_lab::dnsmasq;
use lango_lab::phone::Phone;
use lango_lab::router::{Lango, PACKAGES};
use lango_lab::tool;
use lango_lab::wait::until_true;
use lango_lab::world::{ROUTER4, ROUTER6, World};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NAME: &str = "kibera-7.hs.example.org";
const PORT: u16 = 8443;
const SOON: Duration = Duration::from_secs(20);

/// A router with a certificate, and no cloud: none is needed for this.
struct Place {
    lango: Lango,
    authority: Authority,
    world: World,
}

impl Place {
    /// As docs/https.md goes, up to the first start.
    fn start() -> Self {
        let place = Self::without_certificate();
        let request = place.lango.command(&["certificate", "request"]).unwrap();
        place.put(&place.authority.sign(&request, 90, &place.world.folder).unwrap());
        place.lango.start().unwrap();
        place.serve_names();
        place
    }

    fn without_certificate() -> Self {
        let world = World::build().unwrap();
        let lango = Lango::new(&world.router, &world.folder, "", PACKAGES).unwrap();
        let folder = world.folder.display().to_string();
        let section = format!(
            "\nconfig https 'https'\n\toption name '{NAME}'\n\toption port '{PORT}'\n\toption cert '{folder}/https.pem'\n\toption key '{folder}/https.key'\n"
        );
        lango.configure(|text| text.to_owned() + &section).unwrap();
        Self { lango, authority: Authority::new("The lab's authority").unwrap(), world }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.folder.join(name)
    }

    fn put(&self, certificate: &str) {
        std::fs::write(self.file("https.pem"), certificate).unwrap();
    }

    /// What docs/https.md has dnsmasq told.
    fn serve_names(&self) {
        let lines = format!(
            "address=/{NAME}/{ROUTER4}\naddress=/{NAME}/{ROUTER6}\ndhcp-option=114,https://{NAME}:{PORT}/captive-portal/api\ndhcp-option=42,0.0.0.0\n"
        );
        std::fs::write(dnsmasq::more(&self.world.folder).join("https.conf"), lines).unwrap();
        self.world.dnsmasq.terminate().unwrap();
        dnsmasq::run(&self.world.dnsmasq, &self.world.router).unwrap();
    }

    /// `curl` on the phone, which trusts the lab's CA as phones do a public one.
    fn curl(&self, phone: &Phone, name: &str, at: IpAddr, path: &str, more: &[&str]) -> anyhow::Result<String> {
        let at = if at.is_ipv6() { format!("[{at}]") } else { at.to_string() };
        let (resolve, url) = (format!("{name}:{PORT}:{at}"), format!("https://{name}:{PORT}{path}"));
        let ca = self.file("ca.pem").display().to_string();
        let mut args = vec!["-sS", "-i", "--max-time", "20", "--cacert", &ca, "--resolve", &resolve];
        args.extend(more);
        args.push(&url);
        phone.namespace.exec("curl", &args)
    }

    /// What the API says to a phone.
    fn state(&self, phone: &Phone, at: IpAddr) -> Value {
        let answer = self.curl(phone, NAME, at, "/captive-portal/api", &["-H", "Accept: application/captive+json"]).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.contains("content-type: application/captive+json"), "{head}");
        assert!(head.contains("cache-control: private") && !head.contains("strict-transport-security"), "{head}");
        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"))
    }

    /// The certificate that a new connection is answered with.
    fn answered_with(&self, phone: &Phone) -> String {
        let at = format!("{ROUTER4}:{PORT}");
        let told = phone.namespace.exec("openssl", &["s_client", "-connect", &at, "-servername", NAME]).unwrap();
        let from = told.find("-----BEGIN").unwrap_or_else(|| panic!("no certificate: {told}"));
        let end = "-----END CERTIFICATE-----\n";
        told[from..told.find(end).unwrap() + end.len()].to_owned()
    }

    /// Has the certificate's file looked at again, and waits for the daemon's word on it.
    fn reload(&self, word: &str) {
        let seen = self.lango.program.log().len();
        self.lango.program.signal(Signal::SIGHUP).unwrap();
        until_true(word, SOON, || {
            let log = self.lango.program.log();
            log[seen..].contains(word) && log[seen..].contains("read again and in force")
        })
        .unwrap_or_else(|e| panic!("{e:#}\n{}", self.lango.program.tail(20)));
    }
}

#[test]
fn a_phone_learns_of_the_portal_by_dhcp_and_asks_it_over_https() {
    let place = Place::start();
    let phone = place.world.phone();
    let lease = phone.join();
    assert_eq!(lease.portal_api, Some(format!("https://{NAME}:{PORT}/captive-portal/api")), "DHCP option 114");
    let (four, six) = (phone.resolve(NAME, Kind::A).unwrap(), phone.resolve(NAME, Kind::Aaaa).unwrap());
    assert_eq!((four.as_slice(), six.as_slice()), (&[ROUTER4.parse().unwrap()][..], &[ROUTER6.parse().unwrap()][..]));

    let url = format!("https://{NAME}:{PORT}/");
    for at in [four[0], six[0]] {
        assert_eq!(place.state(&phone, at), serde_json::json!({"captive": true, "user-portal-url": url}));
        for more in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
            let page = place.curl(&phone, NAME, at, "/", &more).unwrap();
            assert!(page.starts_with("HTTP/1.1 200") && page.contains("</html>"), "{more:?}: {page}");
        }
    }
    assert!(phone.get("/captive-portal/api").text().contains("http://portal.lan:8088/"), "plain HTTP goes on beside it");
    let redirect = phone.http("GET", "http://connectivitycheck.gstatic.com/generate_204", &[], b"").unwrap();
    assert_eq!((redirect.status, redirect.header("location")), (302, Some("http://portal.lan:8088/")));

    // Who asks for another name, or does not know the CA, does not believe it.
    let refused = |name: &str, more: &[&str]| {
        let said = place.curl(&phone, name, four[0], "/", more).unwrap_err();
        assert!(format!("{said:#}").contains("curl: (60)"), "{said:#}");
    };
    refused("kibera-8.hs.example.org", &[]);
    refused(NAME, &["--cacert", "/etc/ssl/certs/ca-certificates.crt"]);

    // Online: how much is left is true, and only for this phone.
    let other = place.world.phone();
    other.join();
    place.lango.command(&["grant", &phone.mac, "hour"]).unwrap();
    let state = place.state(&phone, four[0]);
    // Without a relay there is nothing to extend it with, until there are vouchers.
    assert_eq!(
        (&state["captive"], &state["can-extend-session"], &state["user-portal-url"]),
        (&false.into(), &false.into(), &url.as_str().into())
    );
    place.lango.command(&["vouchers", "create", "hour", "1"]).unwrap();
    assert_eq!(place.state(&phone, four[0])["can-extend-session"], true);
    let left = |state: &Value, key: &str| state[key].as_u64().unwrap_or_else(|| panic!("no {key}: {state}"));
    assert!((3_400..=3_600).contains(&left(&state, "seconds-remaining")), "{state}");
    assert_eq!(phone.download(1_000_000, SOON).unwrap(), 1_000_000);
    let later = place.state(&phone, six[0]);
    let used = left(&state, "bytes-remaining") - left(&later, "bytes-remaining");
    assert!(
        (1_000_000..1_300_000).contains(&used) && left(&later, "seconds-remaining") <= left(&state, "seconds-remaining"),
        "{state} {later}"
    );
    assert_eq!(place.state(&other, four[0])["captive"], true);
    place.lango.command(&["grant", &other.mac, "day"]).unwrap();
    let unmetered = place.state(&other, four[0]);
    assert!(unmetered["captive"] == false && unmetered.get("bytes-remaining").is_none(), "{unmetered}");
    place.lango.command(&["kick", &phone.mac]).unwrap();
    assert_eq!(place.state(&phone, four[0]), serde_json::json!({"captive": true, "user-portal-url": url}));
}

#[test]
fn the_certificate_is_made_examined_and_renewed() {
    let place = Place::without_certificate();
    let config = place.lango.config.display().to_string();
    let checked = || {
        let output = place.lango.output(&["check"]).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let line = |option: &str| {
        let text = std::fs::read_to_string(&place.lango.config).unwrap();
        let section = text.lines().position(|line| line.starts_with("config https")).unwrap();
        let option = text.lines().skip(section).position(|line| line.contains(&format!("option {option} "))).unwrap();
        format!("{config}:{}: ", section + option + 1)
    };
    let (code, said) = checked();
    assert_eq!(code, 78);
    assert!(said.contains(&line("key")) && said.contains("make it: lango certificate request") && said.contains(&line("cert")), "{said}");

    // It starts all the same, and money goes on over plain HTTP; at the other door nobody is answered.
    place.lango.start().unwrap();
    place.serve_names();
    let phone = place.world.phone();
    phone.join();
    assert_eq!(phone.get("/").status, 200);
    assert!(place.lango.program.log().contains("nobody is answered on port 8443"), "{}", place.lango.program.log());
    assert!(place.curl(&phone, NAME, ROUTER4.parse().unwrap(), "/", &["--insecure"]).is_err());

    let request = place.lango.output(&["certificate", "request"]).unwrap();
    let told = String::from_utf8(request.stderr).unwrap();
    assert!(request.status.success() && told.contains("was made"), "{told}");
    assert_eq!(std::fs::metadata(place.file("https.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let request = String::from_utf8(request.stdout).unwrap();
    let shown = tool::run_with_input("openssl", ["req", "-verify", "-noout", "-text"], request.as_bytes()).unwrap();
    assert!(shown.contains(&format!("DNS:{NAME}")), "{shown}");
    let again = place.lango.output(&["certificate", "request"]).unwrap();
    assert!(String::from_utf8(again.stderr).unwrap().contains("was there and is used"));

    let sign = |days| place.authority.sign(&request, days, &place.world.folder).unwrap();
    let first = sign(90);
    place.put(&first);
    let (code, said) = checked();
    assert!(code == 0 && said.lines().count() == 1 && said.contains("in order"), "{code} {said}");
    assert!(place.lango.command(&["certificate"]).unwrap().contains(&format!("https://{NAME}:{PORT}/")));
    place.reload("days more");
    assert_eq!(place.answered_with(&phone), first);
    assert_eq!(place.state(&phone, ROUTER4.parse().unwrap())["captive"], true);

    // What is not right is refused, and the one before stays.
    let (of_another_key, _) = place.authority.certify(NAME).unwrap();
    for (bad, option, because) in
        [("rubbish", "cert", "holds no certificate"), (of_another_key.as_str(), "key", "is not the key of the certificate")]
    {
        place.put(bad);
        let (code, said) = checked();
        assert!(code == 78 && said.starts_with(&line(option)) && said.contains(because), "{code} {said}");
        place.reload("the certificate is refused, what was in force stays");
        assert_eq!(place.answered_with(&phone), first);
    }
    place.put(&first);
    place.lango.configure(|text| text.replace(NAME, "kibera-8.hs.example.org")).unwrap();
    let (code, said) = checked();
    assert!(code == 78 && said.starts_with(&line("name")) && said.contains(&format!("but for {NAME};")), "{code} {said}");
    place.reload("the certificate is refused, what was in force stays");
    assert_eq!(place.state(&phone, ROUTER4.parse().unwrap())["user-portal-url"], format!("https://{NAME}:{PORT}/"));
    place.lango.configure(|text| text.replace("kibera-8.hs.example.org", NAME)).unwrap();

    // Nor is one taken that is over, while the other is good.
    let ours = std::fs::read(place.file("https.key")).unwrap();
    let (over, its_key) = place.authority.certify_between(NAME, (2026, 1, 1), (2026, 2, 1)).unwrap();
    place.put(&over);
    std::fs::write(place.file("https.key"), its_key).unwrap();
    place.reload("the certificate is refused, what was in force stays");
    assert_eq!(place.answered_with(&phone), first);
    std::fs::write(place.file("https.key"), ours).unwrap();
    assert!(place.lango.status().unwrap()["certificate"]["days_left"].as_u64().is_some_and(|days| days >= 88));

    // Renewed with the same key, for a short time.
    let second = sign(10);
    place.put(&second);
    let (code, said) = checked();
    assert!(code == 0 && said.starts_with(&line("cert")) && said.contains("have it renewed"), "{code} {said}");
    place.reload("have it renewed");
    assert_eq!(place.answered_with(&phone), second);
    assert_eq!(phone.get("/").status, 200);
}

#[test]
fn neither_a_taken_port_nor_a_file_of_the_portal_keeps_the_gate_from_being_there() {
    let place = Place::without_certificate();
    let logo = place.file("logo.svg");
    std::fs::write(&logo, "x".repeat(20 * 1024)).unwrap();
    let section = format!("\nconfig portal 'portal'\n\toption logo '{}'\n\toption support '0712345678'\n", logo.display());
    place.lango.configure(|text| text.to_owned() + &section).unwrap();
    assert_eq!(place.lango.output(&["check"]).unwrap().status.code(), Some(78));
    let another = place.world.router.run(|| std::net::TcpListener::bind(("0.0.0.0", PORT)).unwrap());
    place.lango.start().unwrap();
    let log = place.lango.program.log();
    assert!(log.contains("which cannot be read (it is larger than 16 KiB)") && log.contains("is left out"), "{log}");
    assert!(log.contains(&format!("cannot listen on port {PORT}")), "{log}");
    let gate = place.lango.gate().unwrap();
    assert!(!gate.contains(&PORT.to_string()), "what another program has there is nothing for customers: {gate}");
    assert!(place.lango.status().unwrap()["certificate"].is_null());
    let phone = place.world.phone();
    phone.join();
    let page = phone.get("/").text();
    assert!(page.contains("tel:0712345678") && !page.contains("<img"), "{page}");
    let told = phone.get("/captive-portal/api").text();
    assert!(told.contains("\"user-portal-url\":\"http://"), "{told}");
    drop(another);
}

#[test]
fn silent_and_slow_clients_are_cut_off_and_hold_nobody_out() {
    let place = Place::start();
    let (slow, good) = (place.world.phone(), place.world.phone());
    slow.join();
    good.join();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for address in [ROUTER4, ROUTER6] {
        let at: SocketAddr = (address.parse::<IpAddr>().unwrap(), PORT).into();
        let began = Instant::now();
        let mut streams: Vec<_> = (0..40).map(|_| slow.connect(at, SOON).unwrap()).collect();
        for stream in streams.iter_mut().skip(1).step_by(2) {
            // One of those beyond the limit may be closed already.
            let _ = stream.write_all(hello);
        }
        let asked = Instant::now();
        assert_eq!(place.state(&good, at.ip())["captive"], true);
        assert_eq!(good.get("/").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(4), "{:?} while others are silent", asked.elapsed());
        for mut stream in streams {
            stream.set_read_timeout(Some(SOON)).unwrap();
            // Closed or reset; a timeout would be neither.
            let end = stream.read_to_end(&mut Vec::new());
            assert!(!end.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "it is held for ever");
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}
