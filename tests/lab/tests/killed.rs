//! `kill -9` of `lango` at any moment: who has paid stays online, until the end that was paid for; nobody else gets in;
//! and a payment in flight is granted once.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::lab::figure;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{holds_for, until, until_true};
use std::time::{Duration, Instant};

const SILENCE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_paid_phone_s_traffic_goes_on_without_a_loss() {
    let lab = Lab::start();
    let (phone, unpaid) = (lab.joined_phone(), lab.joined_phone());
    phone.await_paid(&phone.pay("day", "0712345678"));
    let mut probes = [phone.probe(false), phone.probe(true)];
    let arrived = |probe: &lango_lab::phone::Probe| lab.internet().arrivals(probe.id).len();
    for round in 0..5 {
        let so_far = arrived(&probes[0]);
        until_true("the traffic to flow", SOON, || arrived(&probes[0]) > so_far + 100).unwrap();
        // At a different moment each time: after the start is done, and in the middle of it.
        lab.lango.program.kill9();
        let dead = arrived(&probes[0]);
        until_true("the traffic to go on with the daemon dead", SOON, || arrived(&probes[0]) > dead + 200).unwrap();
        assert!(!unpaid.udp_echo((HOST4, ECHO).into(), SILENCE) && !unpaid.udp_echo((HOST6, ECHO).into(), SILENCE), "round {round}");
        if round % 2 == 1 {
            lab.lango.program.start().unwrap(); // and killed while it starts, in the next turn
        } else {
            lab.lango.start().unwrap();
        }
    }
    lab.lango.await_payments().unwrap();
    for probe in &mut probes {
        probe.stop();
        let sent = probe.sent().len() as u64;
        until_true("the last datagram", SOON, || lab.internet().last_arrival(probe.id).map(|(n, _)| n + 1) == Some(sent)).unwrap();
        let numbers: Vec<u64> = lab.internet().arrivals(probe.id).iter().map(|(number, _)| *number).collect();
        let lost = (0..sent).filter(|number| numbers.binary_search(number).is_err()).count();
        assert_eq!((lost, numbers.len() as u64), (0, sent), "datagrams lost, and datagrams arrived");
    }
    // Nothing went uncounted: 44 bytes each in IPv4, 64 in IPv6 (16 of payload).
    let session = phone.session().expect("it has a session");
    let least = probes[0].sent().len() as u64 * 44 + probes[1].sent().len() as u64 * 64;
    until_true("every byte counted", SOON, || phone.session().is_some_and(|s| s["bytes_up"].as_u64() >= Some(least)))
        .unwrap_or_else(|e| panic!("{e}: at least {least} in {session}"));
    lab.money_is_service();
}

#[test]
fn a_payment_in_flight_is_granted_once_whenever_the_daemon_dies() {
    let lab = Lab::start();
    lab.safaricom.everybody(Customer::manual());
    for (round, moment) in
        ["before the prompt", "before the PIN", "with the callback", "just after it", "and stays away"].iter().enumerate()
    {
        let number = format!("071200000{round}");
        let phone = lab.joined_phone();
        let payment = phone.pay("hour", &number);
        if *moment == "before the prompt" {
            lab.lango.program.kill9();
            lab.lango.start().unwrap();
        }
        lab.safaricom.await_prompt(&number, SOON).unwrap();
        if *moment == "before the PIN" {
            lab.lango.program.kill9();
            lab.lango.start().unwrap();
        }
        if *moment == "and stays away" {
            lab.lango.program.kill9();
        }
        let probe = phone.probe(false);
        lab.safaricom.answer(&number, Answer::Pays).unwrap();
        match *moment {
            "with the callback" => {
                until_true("the callback", SOON, || lab.safaricom.last_prompt(&number).is_some_and(|p| !p.callbacks.is_empty())).unwrap();
                lab.lango.program.kill9();
                lab.lango.start().unwrap();
            }
            "just after it" => {
                until("the first packet", SOON, || lab.internet().arrivals(probe.id).first().copied()).unwrap();
                lab.lango.program.kill9();
                lab.lango.start().unwrap();
            }
            "and stays away" => {
                until_true("the callback to be over", SOON, || lab.safaricom.last_prompt(&number).is_some_and(|p| p.done)).unwrap();
                holds_for("no packet without the daemon", Duration::from_secs(1), || lab.internet().arrivals(probe.id).is_empty()).unwrap();
                lab.lango.start().unwrap();
            }
            _ => {}
        }
        drop(probe);
        let paid = phone.await_paid(&payment);
        assert_eq!(paid["receipt"], lab.safaricom.last_prompt(&number).unwrap().paid.unwrap().receipt.as_str(), "{moment}");
        assert!(phone.udp_echo((HOST4, ECHO).into(), SOON), "{moment}");
        let session = phone.session().unwrap();
        assert!(
            session["seconds_remaining"].as_u64() <= Some(3600) && session["bytes_remaining"].as_u64() <= Some(5_000_000),
            "{moment}: {session}"
        );
    }
    assert_eq!(lab.safaricom.prompts().len(), 5, "each customer was prompted once");
    lab.money_is_service();
}

#[test]
fn the_package_ends_on_its_second_with_the_daemon_dead() {
    let lab = Lab::start();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("minute", "0712345678"));
    let probe = phone.probe(false);
    // The page's seconds are rounded up: the end is where the number changes.
    let seconds = || phone.session().and_then(|s| s["seconds_remaining"].as_u64()).unwrap_or_default();
    let first = seconds();
    until_true("a second to pass", SOON, || seconds() < first).unwrap();
    let (at, left) = (Instant::now(), first - 1);
    lab.lango.program.kill9();
    let ends = at + Duration::from_secs(left);
    // Packets come all the time, and then no more.
    until_true("the end of the minute", Duration::from_secs(70), || {
        lab.internet().last_arrival(probe.id).is_some_and(|(_, last)| last.elapsed() > Duration::from_secs(2))
    })
    .unwrap();
    let (_, last) = lab.internet().last_arrival(probe.id).unwrap();
    let off = if last > ends { last - ends } else { ends - last };
    figure(&format!("the minute ended {off:.1?} {} its second, with the daemon dead", if last > ends { "after" } else { "before" }));
    assert!(off <= Duration::from_secs(1), "the last packet passed {off:?} off the end");
    assert!(!phone.udp_echo((HOST6, ECHO).into(), SILENCE), "IPv6 goes on");
    lab.lango.start().unwrap();
    assert!(phone.session().is_none(), "the daemon revived what had ended");
    assert!(!phone.udp_echo((HOST4, ECHO).into(), SILENCE));
}

#[test]
fn a_clean_stop_leaves_the_gate_as_it_is() {
    let lab = Lab::start();
    let (phone, unpaid) = (lab.joined_phone(), lab.joined_phone());
    phone.await_paid(&phone.pay("day", "0712345678"));
    let probe = phone.probe(false);
    let began = Instant::now();
    let status = lab.lango.program.terminate().unwrap();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    let stopped = lab.internet().arrivals(probe.id).len();
    until_true("the traffic to go on", SOON, || lab.internet().arrivals(probe.id).len() > stopped + 200).unwrap();
    assert!(!unpaid.udp_echo((HOST4, ECHO).into(), SILENCE));
    let output = lab.lango.output(&["status"]).unwrap();
    assert_eq!(output.status.code(), Some(69), "with no daemon: {}", String::from_utf8_lossy(&output.stderr));
    lab.lango.start().unwrap();
    assert!(phone.session().is_some());
    // Uninstalling takes the gate away.
    lab.lango.command(&["flush"]).unwrap();
    assert!(lab.lango.gate().is_err(), "the table is still there");
}
