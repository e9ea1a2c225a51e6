//! Power cuts and clocks, on the shipped program: its disk cut off at some moment, another boot, and clocks that are wrong or are
//! set while customers are online. Money is served once, and no session is lengthened or cut.

use lango_lab::Lab;
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::power::{Power, WallClock};
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
/// The relay asks Safaricom some 20 s after the prompt, and sends again what nobody acknowledged.
const LATE: Duration = Duration::from_secs(120);
const SILENCE: Duration = Duration::from_millis(300);

fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

fn left(phone: &Phone) -> u64 {
    let session = until("a session", SOON, || phone.session()).unwrap();
    session["seconds_remaining"].as_u64().unwrap()
}

/// The year by the router's own clock; nothing where it says that it is not set.
fn year(lab: &Lab) -> Option<i32> {
    let status = lab.lango.status().unwrap();
    status["clock"].as_str().and_then(|clock| clock.get(..4)?.parse().ok())
}

#[test]
fn power_cuts_at_any_moment_take_no_money_and_no_session() {
    let lab = Lab::start();
    let mut power = Power::of(&lab);
    lab.safaricom.everybody(Customer::manual());
    let phones = [lab.joined_phone(), lab.joined_phone()];
    let began = Instant::now();
    let mut bought = [0, 0];
    // The clock of the next boot: right, as sysfixtime sets it, never set, ahead, behind.
    for (cut, clock) in ["+0", "-1h", "@1970-01-01 00:00:10", "+3d", "-400d", "+0"].iter().enumerate() {
        lab.lango.await_payments().unwrap();
        let (phone, number) = (&phones[cut % 2], format!("071200000{cut}"));
        let payment = phone.pay("day", &number);
        let answered = match cut % 3 {
            // As soon as the router said that the payment is asked for.
            0 => false,
            1 => {
                lab.safaricom.await_prompt(&number, SOON).unwrap();
                false
            }
            // While the result is on its way, a little later each time: that length is the test's input, nothing is waited for.
            _ => {
                lab.safaricom.await_prompt(&number, SOON).unwrap();
                lab.safaricom.answer(&number, Answer::Pays).unwrap();
                std::thread::sleep(Duration::from_millis(3 * cut as u64));
                true
            }
        };
        power.cut();
        power.on(clock);
        for (phone, _) in phones.iter().zip(bought).filter(|(_, bought)| *bought > 0) {
            until_true("who has paid to be online whatever the clock says", SOON, || online(phone))
                .unwrap_or_else(|e| panic!("cut {cut}: {e:#}"));
        }
        if clock.starts_with("@1970") {
            power.clock.set("+0").unwrap(); // NTP comes: with a clock that was never set no certificate is valid
        }
        if !answered {
            lab.safaricom.await_prompt(&number, LATE).unwrap();
            lab.safaricom.answer(&number, Answer::Pays).unwrap();
        }
        let paid = until("the money to be served", LATE, || {
            online(phone); // a phone with something to say is seen
            phone.try_await_payment(&payment, SILENCE).ok().filter(|paid| paid["status"] == "paid")
        });
        paid.unwrap_or_else(|e| panic!("cut {cut}: {e:#}\n{}", lab.lango.program.tail(40)));
        bought[cut % 2] += 86_400;
        for (phone, bought) in phones.iter().zip(bought).filter(|(_, bought)| *bought > 0) {
            until_true("who has paid to be online without a tap", SOON, || online(phone)).unwrap_or_else(|e| panic!("cut {cut}: {e:#}"));
            let (left, elapsed) = (left(phone), began.elapsed().as_secs() + 1);
            assert!(left <= bought && left + elapsed >= bought, "cut {cut}: {left} s of {bought} s are left after {elapsed} s");
        }
    }
    lab.money_is_service();
    assert_eq!(lab.safaricom.money().len(), 6);
    drop(power);
}

#[test]
fn a_clock_that_is_set_while_customers_are_online_changes_nothing() {
    let lab = Lab::start();
    let power = Power::of(&lab);
    lab.lango.await_payments().unwrap();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("minute", "0712345678"));
    let (at, first) = (Instant::now(), left(&phone));
    let this_year = year(&lab);
    // Ahead; plainly never set; right again.
    for (clock, shown) in [("+4000d", this_year.map(|year| year + 10)), ("-4000d", None), ("+0", this_year)] {
        power.clock.set(clock).unwrap();
        until_true("the program to go by the new clock", SOON, || match (year(&lab), shown) {
            (Some(year), Some(shown)) => (shown..=shown + 1).contains(&year),
            (year, shown) => year == shown,
        })
        .unwrap();
        let (left, elapsed) = (left(&phone), at.elapsed().as_secs());
        assert!(left + elapsed + 1 >= first && left + elapsed <= first + 1, "{clock}: {first} s, and {left} s after {elapsed} s");
        assert!(online(&phone), "{clock}");
    }
    power.clock.set("+400d").unwrap();
    let ends = at + Duration::from_secs(first);
    until_true("the end of the minute", Duration::from_secs(70), || !online(&phone)).unwrap();
    let off = ends.elapsed().as_secs_f32() - ends.saturating_duration_since(Instant::now()).as_secs_f32();
    assert!(off.abs() < 2.0, "it ended {off} s off its end");
    lab.money_is_service();
    drop(power);
}

#[test]
fn paid_time_goes_on_through_an_outage_by_the_relay_s_clock_or_by_one_that_is_vouched_for() {
    let lab = Lab::start();
    lab.lango.configure(|config| config.replace("option store", "option outage 'run'\n\toption store")).unwrap();
    let mut power = Power::of(&lab);
    lab.lango.await_payments().unwrap();
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let began = Instant::now();
    // What is left now, if so much was taken off; a few seconds are not written down when the power goes, and come back.
    let is = |taken: u64, what: &str| {
        let (left, elapsed) = (left(&phone), began.elapsed().as_secs());
        let expected = 86_400 - taken;
        assert!(left <= expected + 1 && left + elapsed + 2 >= expected, "{what}: {left} s are left, {taken} taken off, after {elapsed} s");
    };
    // The power is away for twenty minutes: by the relay's clock, which goes on meanwhile. The router's stands where it stood.
    lab.relay.program.kill9();
    power.cut();
    power.on("+0");
    until_true("the phone to be online", SOON, || online(&phone)).unwrap();
    is(0, "nobody knows how long it was");
    let truth = WallClock::new(lab.world.folder.join("truth"), "+20m").unwrap();
    lab.relay.program.under(truth.words().unwrap());
    lab.relay.start().unwrap();
    until_true("the outage to be taken off", SOON, || left(&phone) < 86_400 - 1_100).unwrap();
    is(1_200, "the relay says what time it is");
    // Nothing is taken off twice, whatever is killed and connected again.
    lab.lango.program.kill9();
    lab.lango.start().unwrap();
    lab.lango.await_payments().unwrap();
    is(1_200, "after a kill");
    // Another twenty minutes, with no relay: the router's own clock is set by somebody who says so.
    lab.relay.program.kill9();
    power.cut();
    power.on("-3d");
    until_true("the phone to be online", SOON, || online(&phone)).unwrap();
    is(1_200, "its own clock alone says nothing");
    power.clock.set("+40m").unwrap();
    lab.lango.command(&["clock-is-set"]).unwrap();
    is(2_400, "and is believed once somebody vouches for it");
    lab.lango.command(&["clock-is-set"]).unwrap();
    is(2_400, "once");
    assert!(online(&phone));
    drop(power);
}
