//! The power goes: with a payment under way, while its result comes, in the middle of a boot. Everybody who has paid is online again each time, and
//! nobody else ever.

use crate::page::Figures;
use crate::story::{self, SOON, left, number, online};
use crate::street::{CHECKPOINT, Street};
use crate::unpaid::Unpaid;
use lango_lab::phone::Phone;
use lango_lab::portal::PAYMENT;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use std::time::{Duration, Instant};

/// The relay asks Safaricom some 20 s after the prompt, and sends again what nobody acknowledged.
const LATE: Duration = Duration::from_secs(300);
/// How long the first power cut is: more than what the time left is known by.
const DARK: Duration = Duration::from_secs(5);
/// A checkpoint is due each so many seconds, and is made this many later on a slow machine.
const DELAYED: u64 = 5;
/// The seconds of the package "day".
const DAY: u64 = 86_400;

/// Who is there when the power goes.
pub struct Customers {
    /// With days that they paid for, and which they have most of left.
    pub paid: Vec<Phone>,
    /// Without.
    pub unpaid: Unpaid,
}

impl Customers {
    /// Stops the run where somebody who has paid is not online, soon.
    pub fn are_online(&self, what: &str) {
        for phone in &self.paid {
            until_true(&format!("{what}: {} has paid, and is online", phone.name), SOON, || online(phone))
                .unwrap_or_else(|e| panic!("{e:#}"));
        }
    }

    /// The power is back: what is paid for goes on by itself, for each of them. Gives back how long it took for the first.
    pub fn come_back(&self, street: &Street, what: &str) -> Duration {
        let sent = self.unpaid.sent();
        street.machine.on().unwrap_or_else(|e| panic!("{e:#}"));
        let first = self.paid.first().unwrap_or_else(|| panic!("nobody has paid"));
        let back = street.machine.until(&format!("{what}: who has paid to be online"), || online(first).then_some(()));
        back.unwrap_or_else(|e| panic!("{e:#}"));
        let took = street.machine.on_for();
        self.are_online(what);
        self.unpaid.is_kept_in(street, sent, what);
        took
    }
}

/// Somebody is online for a day, somebody else for so many megabytes, and a third one's payment is asked for. The PIN is typed in the dark.
pub fn with_a_payment_under_way(street: &Street, figures: &mut Figures) -> Customers {
    let (phone, hourly) = (street.world.phone(), street.world.phone());
    phone.join();
    phone.await_paid(&phone.pay("day", &number(3)));
    let used = |phone: &Phone| left(phone, "bytes_down");
    hourly.join();
    hourly.await_paid(&hourly.pay("hour", &number(6)));
    let unpaid = Unpaid::join(street).unwrap_or_else(|e| panic!("{e:#}"));
    // Used long enough ago to be written down, and a moment ago.
    let part = hourly.download(story::HOUR_BYTES * 2 / 5, SOON).unwrap_or_else(|e| panic!("{e:#}"));
    let long_ago = phone.download(2_000_000, SOON).unwrap_or_else(|e| panic!("{e:#}")) as u64;
    let uptime = || street.machine.uptime().unwrap_or_else(|e| panic!("{e:#}"));
    let after = uptime() + 2.0 * CHECKPOINT as f64 + 2.0;
    street.machine.until("a checkpoint", || (uptime() > after).then_some(())).unwrap_or_else(|e| panic!("{e:#}"));
    let just_now = phone.download(500_000, SOON).unwrap_or_else(|e| panic!("{e:#}")) as u64;

    let other = street.world.phone();
    other.join();
    street.safaricom.everybody(Customer::manual());
    let payment = other.pay("day", &number(4));
    street.safaricom.await_prompt(&number(4), SOON).unwrap_or_else(|e| panic!("{e:#}"));
    let noted = Instant::now();
    let seconds = left(&phone, "seconds_remaining");
    street.machine.cut();
    let ran_on = noted.elapsed();
    // The customer types the PIN while the router is dark.
    street.safaricom.answer(&number(4), Answer::Pays).unwrap_or_else(|e| panic!("{e:#}"));
    // The length is the test's input, nothing is waited for.
    std::thread::sleep(DARK);
    let mut customers = Customers { paid: vec![phone], unpaid };
    let back = customers.come_back(street, "after a power cut");
    figures.add("power back to a customer online again, without a tap", format!("{:.0} s", back.as_secs_f64()));
    let phone = &customers.paid[0];
    time_stood_still(street, phone, seconds, ran_on);
    is_served(&other, &payment, "who paid in the dark");

    // Headers are counted, too: a tenth is more than there are.
    let counted = used(phone);
    let most = (long_ago + just_now) * 11 / 10;
    figures.add("data used before the cut, of which is remembered", format!("{} kB, {} kB", (long_ago + just_now) / 1000, counted / 1000));
    assert!(
        (long_ago..=most).contains(&counted),
        "{counted} bytes are remembered; {long_ago} were used before the checkpoint, {just_now} after"
    );
    // What was left before the cut, and not what was bought.
    until_true("who has data left to be online", SOON, || online(&hourly)).unwrap_or_else(|e| panic!("{e:#}"));
    story::ends_at_its_byte(street, &hourly, &number(6), part);
    street.safaricom.everybody(Customer::who(Answer::Pays));
    customers.paid.push(other);
    customers
}

/// So many seconds were left a moment before the cut: no more of them than since the last checkpoint come back, and none is lost to the dark
/// (`outage` is `pause`).
fn time_stood_still(street: &Street, phone: &Phone, seconds: u64, ran_on: Duration) {
    let most = seconds + CHECKPOINT + DELAYED;
    assert!(most < DAY, "{seconds} s of a day are left: too much of it to tell it from a new one");
    let left = left(phone, "seconds_remaining");
    assert!(left <= most, "{left} s of a day are left, and {seconds} s were before the cut");
    let since = (ran_on + street.machine.on_for()).as_secs() + 1;
    assert!(left + since >= seconds, "{left} s are left, {seconds} s were, and the router ran for {since} s");
}

/// The money of that payment arrived: it is served, without a tap.
fn is_served(phone: &Phone, payment: &str, what: &str) {
    let served = until(&format!("{what}: the money to be served"), LATE, || {
        online(phone); // a phone with something to say is seen
        phone.try_await_payment(payment, story::SILENCE).ok().filter(|paid| paid["status"] == "paid")
    });
    served.unwrap_or_else(|e| panic!("{e:#}"));
    until_true(&format!("{what}: to be online"), PAYMENT.max(SOON), || online(phone)).unwrap_or_else(|e| panic!("{e:#}"));
}

/// While the result comes, and in the middle of the boot itself. Who paid in one cut is there in the next.
pub fn at_other_moments(street: &Street, customers: &mut Customers) {
    street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
    for (cut, later) in [5u64, 60, 250].into_iter().enumerate() {
        let customer = 20 + u32::try_from(cut).unwrap_or_default();
        let buyer = street.world.phone();
        buyer.join();
        street.safaricom.everybody(Customer::manual());
        let payment = buyer.pay("day", &number(customer));
        street.safaricom.await_prompt(&number(customer), SOON).unwrap_or_else(|e| panic!("{e:#}"));
        street.safaricom.answer(&number(customer), Answer::Pays).unwrap_or_else(|e| panic!("{e:#}"));
        // The length is the test's input, nothing is waited for.
        std::thread::sleep(Duration::from_millis(later));
        street.machine.cut();
        if cut == 0 {
            street.machine.new_console("cut").unwrap_or_else(|e| panic!("{e:#}"));
            street.machine.on().unwrap_or_else(|e| panic!("{e:#}"));
            // While the gate is being put in, before anybody can be online.
            let begun = street.machine.until("the boot to begin", || street.machine.console_has("- S18lango -").then_some(()));
            begun.unwrap_or_else(|e| panic!("{e:#}"));
            street.machine.cut();
        }
        customers.come_back(street, &format!("after power cut {}", cut + 2));
        is_served(&buyer, &payment, &format!("who paid {later} ms before a power cut"));
        customers.paid.push(buyer);
        street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
    }
    street.safaricom.everybody(Customer::who(Answer::Pays));
}
