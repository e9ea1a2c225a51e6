//! Bad input, wherever it comes from, gets a clear error and changes nothing.

use base64::Engine;
use lango_core::message::{Down, DownBody, Outcome, PaymentUpdate, VERSION};
use lango_core::time::Wall;
use lango_core::units::Shillings;
use lango_lab::Lab;
use lango_lab::broker::{RELAY, RELAY_PASSWORD};
use lango_lab::http;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::router::NAME;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{holds_for, until_true};
use lango_lab::world::PORTAL_PORT;
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn every_mistake_in_the_config_is_told_and_an_invalid_one_is_refused() {
    let lab = Lab::start();
    let good = std::fs::read_to_string(&lab.lango.config).unwrap();
    assert!(lab.lango.output(&["check"]).unwrap().status.success());
    let phone = lab.joined_phone();
    let before = phone.get("/api/packages").value();

    let bad = good.replace("option minutes '60'", "option minutes 'sixty'").replace("option price '50'", "option prise '50'")
        + "\nconfig nonsense\n";
    std::fs::write(&lab.lango.config, &bad).unwrap();
    let output = lab.lango.output(&["check"]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(78), ""), "{said}");
    for wrong in ["sixty", "prise", "config nonsense"] {
        let line = bad.lines().position(|l| l.contains(wrong)).unwrap() + 1;
        let place = format!("{}:{line}: ", lab.lango.config.display());
        assert!(said.lines().any(|l| l.starts_with(&place)), "no word on line {line} ({wrong}):\n{said}");
    }

    lab.lango.program.signal(Signal::SIGHUP).unwrap();
    until_true("the refusal in the log", SOON, || lab.lango.program.log().contains("lango.uci:")).unwrap();
    assert!(lab.lango.program.running());
    assert_eq!(phone.get("/api/packages").value(), before, "the old config stays");
    // Who looks after it is not locked out by the mistakes.
    lab.lango.command(&["grant", &phone.mac, "hour"]).unwrap();
    assert_eq!(lab.lango.sessions().unwrap().as_array().map(Vec::len), Some(1));
    lab.lango.command(&["kick", &phone.mac]).unwrap();
    assert!(lab.lango.command(&["vouchers", "create", "hour", "1"]).unwrap().contains(NAME));

    std::fs::write(&lab.lango.config, good.replace("option price '10'", "option price '15'")).unwrap();
    lab.lango.program.signal(Signal::SIGHUP).unwrap();
    until_true("the new price", SOON, || phone.get("/api/packages").value()["packages"][0]["price"] == 15).unwrap();

    std::fs::write(&lab.lango.config, &bad).unwrap();
    lab.lango.program.terminate().unwrap();
    let output = lab.lango.output(&["status"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(69) && said.contains("does not run") && said.contains("has mistakes"), "{output:?}");
    let output = lab.lango.output(&["run"]).unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_keeps_it_from_starting_is_told_by_the_exit_code() {
    let lab = Lab::start();
    let run = |code: i32, because: &str| {
        let output = lab.lango.output(&["run"]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(because), "not {code} with {because:?}: {output:?}");
    };
    run(69, "another lango answers on it");
    assert!(lab.lango.status().is_ok(), "the first one goes on");
    lab.lango.program.terminate().unwrap();

    let good = std::fs::read_to_string(&lab.lango.config).unwrap();
    let another = lab.world.router.run(|| std::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, PORTAL_PORT)).unwrap());
    run(69, "the portal cannot listen on port");
    drop(another);

    let store = good.lines().find_map(|line| line.trim().strip_prefix("option store ")).unwrap().trim_matches('\'').to_owned();
    let file = lab.lango.config.with_extension("file");
    std::fs::write(&file, "no store").unwrap();
    std::fs::write(&lab.lango.config, good.replace(&store, &file.display().to_string())).unwrap();
    run(78, "cannot be a folder");

    std::fs::write(&lab.lango.config, &good).unwrap();
    std::fs::write(std::path::Path::new(&store).join("format"), "other").unwrap();
    run(74, "is damaged");
}

#[test]
fn a_portal_that_is_sent_garbage_answers_clearly_and_goes_on() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    let pid = lab.lango.program.pid();

    let json_calls = [
        (json!({"package": "hour", "phone": "12345"}), 422, "bad_phone"),
        (json!({"package": "hour", "phone": "0712345678'; drop table"}), 422, "bad_phone"),
        (json!({"package": "week", "phone": "0712345678"}), 422, "unknown_package"),
        (json!({"package": "../../etc", "phone": "0712345678"}), 422, "unknown_package"),
    ];
    for (body, status, code) in json_calls {
        let answer = phone.post("/api/payments", &body);
        assert_eq!((answer.status, answer.error_code().as_deref()), (status, Some(code)), "{body}: {}", answer.text());
    }
    for body in ["", "{", "null", "[]", "{\"package\":1,\"phone\":2}", "\"hour\"", "{\"package\":\"hour\"}", "\u{0}\u{1}"] {
        let answer =
            phone.http("POST", "http://portal.lan:8088/api/payments", &[("content-type", "application/json")], body.as_bytes()).unwrap();
        assert!((400..500).contains(&answer.status), "{body:?} got {}", answer.status);
        assert!(answer.error_code().is_some_and(|code| !code.is_empty()), "{body:?} got no clear error: {}", answer.text());
    }
    let large = format!("{{\"package\":\"{}\",\"phone\":\"0712345678\"}}", "h".repeat(9_000));
    let answer =
        phone.http("POST", "http://portal.lan:8088/api/payments", &[("content-type", "application/json")], large.as_bytes()).unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(phone.get("/api/payments/00000000000000000000000000/status").status, 404);

    let long = format!("GET /{} HTTP/1.1\r\nhost: portal.lan\r\n\r\n", "a".repeat(100_000));
    let raw: &[(&str, &[u8])] = &[
        ("zeros", &[0; 64]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("no HTTP", b"hello\r\n\r\n"),
        ("endless target", long.as_bytes()),
        ("chunks", b"POST /api/payments HTTP/1.1\r\nhost: portal.lan:8088\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("two lengths", b"POST /api/payments HTTP/1.1\r\nhost: portal.lan:8088\r\ncontent-length: 1\r\ncontent-length: 60\r\n\r\n{}"),
        ("negative length", b"POST /api/payments HTTP/1.1\r\nhost: portal.lan:8088\r\ncontent-length: -1\r\n\r\n{}"),
        ("out of the house", b"GET /../../../etc/passwd HTTP/1.1\r\nhost: portal.lan:8088\r\nconnection: close\r\n\r\n"),
    ];
    for (what, bytes) in raw {
        let stream = phone.connect((lab_router(), PORTAL_PORT).into(), SOON).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // Either a refusal, or the connection closed; never a 2xx, and never a hang.
        if let Ok(answer) = http::exchange(stream, bytes, false) {
            assert!((300..600).contains(&answer.status), "{what} got {}", answer.status);
            assert!(!answer.text().contains("root:"), "{what}");
        }
        assert_eq!(phone.get("/api/packages").status, 200, "after {what}");
    }

    assert_eq!(lab.lango.program.pid(), pid);
    assert!(lab.lango.program.running());
    assert!(phone.session().is_none());
    assert_eq!(lab.internet().packets_from_customers().unwrap(), (0, 0));
    assert!(lab.safaricom.prompts().is_empty(), "somebody was asked to pay");
    lab.money_is_service();
}

fn lab_router() -> std::net::IpAddr {
    lango_lab::world::ROUTER4.parse().unwrap()
}

#[test]
fn what_is_not_signed_by_the_relay_grants_nothing() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    lab.safaricom.everybody(Customer::manual());
    let payment = phone.pay("hour", "0712345678");
    lab.safaricom.await_prompt("0712345678", SOON).unwrap();

    // Somebody who got at the relay's broker password, but not at its key, says that it was paid.
    let down = Down {
        v: VERSION,
        id: "1-forged".parse().unwrap(),
        seq: 1_000_000,
        router: NAME.parse().unwrap(),
        at: Wall(1_800_000_000_000),
        body: DownBody::Payment(PaymentUpdate {
            order: payment.parse().unwrap(),
            package: "hour".parse().unwrap(),
            device: phone.mac.parse().unwrap(),
            phone: "0712345678".parse().unwrap(),
            outcome: Outcome::Paid { receipt: "FORGED1234".parse().unwrap(), amount: Shillings(10) },
        }),
    };
    let signature = base64::engine::general_purpose::STANDARD.encode([7; 64]);
    let forged = down.seal(down.to_json(), signature).to_json();
    let topic = format!("lango/v1/{NAME}/down/payment");
    let long = vec![b'x'; 100_000];
    let payloads: [&[u8]; 6] = [&forged, b"", b"{", b"{\"v\":9}", b"\xff\xfe\x00", &long];
    let log = lab.lango.program.log().len();
    for payload in payloads {
        lab.broker.publish(&lab.world.cloud, RELAY, RELAY_PASSWORD, &topic, payload).unwrap();
    }
    until_true("the refusals in the log", SOON, || lab.lango.program.log().len() > log).unwrap();
    holds_for("nothing granted", Duration::from_secs(1), || phone.payment(&payment)["status"] == "pending").unwrap();
    assert!(!phone.udp_echo((HOST4, ECHO).into(), SILENCE));

    // The router's own credentials do not let it speak for the relay, or for another router.
    let credentials = &lab.credentials;
    for topic in [topic.as_str(), "lango/v1/mathare-2/up/payment_request", "lango/v1/relay/presence"] {
        let refused = lab.broker.publish(&lab.world.router, &credentials.username, &credentials.password, topic, &forged);
        assert!(refused.is_err(), "the broker took {topic} from the router");
    }
    // Garbage in the router's name does the relay no harm.
    for payload in payloads {
        let topic = format!("lango/v1/{NAME}/up/payment_request");
        lab.broker.publish(&lab.world.router, &credentials.username, &credentials.password, &topic, payload).unwrap();
    }

    lab.safaricom.answer("0712345678", Answer::Pays).unwrap();
    let paid = phone.await_paid(&payment);
    assert_ne!(paid["receipt"], "FORGED1234");
    assert!(lab.relay.program.running() && lab.lango.program.running());
    assert_eq!(lab.safaricom.prompts().len(), 1);
    lab.money_is_service();
}

#[test]
fn the_relay_s_own_words_said_again_grant_nothing_again() {
    let lab = Lab::start();
    let messages = lab.broker.listen(&lab.world.folder).unwrap();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("hour", "0712345678"));
    let before = phone.session().unwrap();
    let prefix = format!("lango/v1/{NAME}/down/payment ");
    until_true("the result on the broker", SOON, || messages.log().contains(&prefix)).unwrap();
    let log = messages.log();
    let said: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    for payload in said.iter().cycle().take(20) {
        lab.broker.publish(&lab.world.cloud, RELAY, RELAY_PASSWORD, prefix.trim(), payload.as_bytes()).unwrap();
    }
    // The last message is through when the router, asked afterwards, has acknowledged a new payment.
    let other = lab.joined_phone();
    other.await_paid(&other.pay("hour", "0722000000"));
    let after = phone.session().unwrap();
    assert!(after["seconds_remaining"].as_u64() <= before["seconds_remaining"].as_u64(), "{before} became {after}");
    assert!(after["bytes_remaining"].as_u64() <= before["bytes_remaining"].as_u64(), "{before} became {after}");
    lab.money_is_service();
}
