//! From Safaricom's callback to the paid phone's first packet on the internet: at most 25 ms, median of 20.

use lango_lab::Lab;
use lango_lab::lab::figure;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::until;
use std::time::Duration;

const ROUNDS: usize = 20;
const LIMIT: Duration = Duration::from_millis(25);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_paid_phone_s_first_packet_follows_the_callback_at_once() {
    let lab = Lab::start();
    lab.safaricom.everybody(Customer::manual());
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let phone = lab.joined_phone();
        let number = format!("07120000{round:02}");
        let payment = phone.pay("hour", &number);
        lab.safaricom.await_prompt(&number, SOON).unwrap();
        let probe = phone.probe(false);
        until("the probe to run", SOON, || (probe.sent().len() > 20).then_some(())).unwrap();
        assert!(lab.internet().arrivals(probe.id).is_empty(), "packets got out before the payment");
        lab.safaricom.answer(&number, Answer::Pays).unwrap();
        let (_, arrived) = until("the first packet", SOON, || lab.internet().arrivals(probe.id).first().copied()).unwrap();
        let callback = lab.safaricom.last_prompt(&number).unwrap().callbacks[0].sent;
        times.push(arrived.duration_since(callback));
        assert_eq!(phone.await_paid(&payment)["receipt"], lab.safaricom.last_prompt(&number).unwrap().paid.unwrap().receipt.as_str());
    }
    lab.money_is_service();
    times.sort();
    let median = (times[ROUNDS / 2 - 1] + times[ROUNDS / 2]) / 2;
    figure(&format!(
        "callback to first packet, {ROUNDS} payments: median {median:.1?}, best {:.1?}, worst {:.1?}",
        times[0],
        times[ROUNDS - 1]
    ));
    assert!(median <= LIMIT, "the median is {median:?}, and at most {LIMIT:?} is promised: {times:?}");
}
