//! What happens on the street: a router boots, phones come, are captive, pay and are online until what they paid for ends; and the power
//! goes in the middle of it all.

use crate::idle::say;
use crate::machine::{Image, Written};
use crate::page::Figures;
use crate::provisioning;
use crate::street::{CHECK, CHECKPOINT, Street};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::portal::PAYMENT;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use lango_lab::world::PORTAL;
use std::time::{Duration, Instant};

/// For what is quick on a router, on an emulated one while this machine has other things to do.
const SOON: Duration = Duration::from_secs(90);
/// The relay asks Safaricom some 20 s after the prompt, and sends again what nobody acknowledged.
const LATE: Duration = Duration::from_secs(300);
const SILENCE: Duration = Duration::from_secs(1);
/// The data of the package "hour".
const HOUR_BYTES: usize = 5_000_000;
/// A packet passes while it still fits; with receive offloading a packet has up to 64 KiB.
const SUPER_PACKET: u64 = 65_536;
/// RSS of the program while nobody is there, in kB: what a router with 128 MB may spend on it.
const IDLE_KB: u64 = 6_000;
/// Customers that an operator lets in at the end, to see what each costs.
const MANY: u32 = 100;
/// Payments of which the flash's bytes are told: the mean is what a payment costs.
const COUNTED: u32 = 4;

/// All of it; stops the run where something is not as it must be. With `quick` the heart of it: boot, captive, docs/provisioning.md, a payment, the
/// end of the data, a power cut with a payment under way, and a mistake in the configuration.
pub fn run(image: &Image, quick: bool, figures: &mut Figures) {
    let street = Street::build(image).unwrap_or_else(|e| panic!("{e:#}"));
    street.machine.on().unwrap_or_else(|e| panic!("{e:#}"));
    let first = street.world.phone();
    boots(&street, &first, figures);
    captive(&street, &first);
    provisioning::run(&street, &street.world.phone(), figures);
    provisioning::settle(&street, CHECKPOINT);
    street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
    idle_memory(&street, figures);

    pays(&street, &first, figures);
    program_dies(&street, &first);
    data_ends(&street, &first);
    if !quick {
        time_ends(&street);
        flash_of_payments(&street, figures);
    }
    let survivor = street.world.phone();
    power_goes_with_a_payment_under_way(&street, &survivor, figures);
    if !quick {
        power_goes_at_other_moments(&street, &survivor);
    }
    provisioning::mistake(&street, &survivor, &number(5));
    let payments = street.money_is_service().unwrap_or_else(|e| panic!("{e:#}"));
    figures.add("payments, each served once", payments.to_string());
    if !quick {
        memory_of_many(&street, figures);
    }
}

fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

fn sh(street: &Street, line: &str) -> String {
    street.machine.sh(line).unwrap_or_else(|e| panic!("{e:#}"))
}

fn written(street: &Street) -> Written {
    street.machine.written().unwrap_or_else(|e| panic!("{e:#}"))
}

/// A number for each customer.
fn number(customer: u32) -> String {
    format!("07120000{customer:02}")
}

fn boots(street: &Street, phone: &Phone, figures: &mut Figures) {
    street.machine.until("an address by DHCP", || phone.try_join().ok()).unwrap_or_else(|e| panic!("{e:#}"));
    let page =
        street.machine.until("the portal's first page", || phone.try_portal("GET", "/", None).ok().filter(|page| page.status == 200));
    let (waited, processor) = (street.machine.on_for(), street.machine.processor().unwrap_or_else(|e| panic!("{e:#}")));
    let page = page.unwrap_or_else(|e| panic!("{e:#}"));
    assert!(page.text().contains("M-Pesa"), "the first page sells nothing: {}", page.text());
    let at = Instant::now();
    let uptime = street.machine.uptime().unwrap_or_else(|e| panic!("{e:#}")) - at.elapsed().as_secs_f64();
    figures.add(
        "power on to the first portal page on a phone",
        format!(
            "{:.0} s, {uptime:.0} s by the router's clock; {:.0} s of this machine's processor",
            waited.as_secs_f64(),
            processor.as_secs_f64()
        ),
    );
}

fn captive(street: &Street, phone: &Phone) {
    let lease = phone.lease();
    assert_eq!(lease.dns, lease.router, "the router is asked for names");
    // Some of the first packets may have found no route yet.
    let probe = street.machine.until("an answer to a phone's own check", || phone.http("GET", CHECK, &[], b"").ok());
    let probe = probe.unwrap_or_else(|e| panic!("{e:#}"));
    assert!((300..400).contains(&probe.status), "a phone's check was answered with {}: {}", probe.status, probe.text());
    let to = probe.header("location").unwrap_or_default();
    assert!(to.starts_with(PORTAL), "a phone's check was sent to {to:?}");
    assert!(!online(phone) && !phone.ping(HOST4.into()), "nobody has paid");
    let (packets, _) = street.world.internet.packets_from_customers().unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(packets, 0, "packets of a phone that has not paid got out");
}

struct Memory {
    all: u64,
    own: u64,
}

fn memory(street: &Street) -> Memory {
    let status = sh(street, "cat /proc/$(pidof lango)/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {status}"))
    };
    Memory { all: field("VmRSS:"), own: field("RssAnon:") }
}

fn idle_memory(street: &Street, figures: &mut Figures) {
    let Memory { all, own } = memory(street);
    figures.add("RSS, connected, nobody online", format!("{all} kB, {own} kB of it the program's own"));
    assert!(all <= IDLE_KB, "{all} kB while nobody is online; {IDLE_KB} kB are what a small router has for it");
}

fn pays(street: &Street, phone: &Phone, figures: &mut Figures) {
    street.safaricom.everybody(Customer::manual());
    let payment = phone.pay("hour", &number(1));
    street.safaricom.await_prompt(&number(1), SOON).unwrap_or_else(|e| panic!("{e:#}"));
    street.safaricom.answer(&number(1), Answer::Pays).unwrap_or_else(|e| panic!("{e:#}"));
    let paid = Instant::now();
    until_true("who has paid to be online", SOON, || phone.udp_echo((HOST4, ECHO).into(), Duration::from_millis(20)))
        .unwrap_or_else(|e| panic!("{e:#}"));
    figures.add("the PIN typed to online", format!("{:.0} ms", paid.elapsed().as_secs_f64() * 1e3));
    phone.await_paid(&payment);
    let answer = phone.http("GET", CHECK, &[], b"").unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(answer.status, 204, "the phone's own check, online: {}", answer.text());
    street.safaricom.everybody(Customer::who(Answer::Pays));
}

/// The init script asks for it to be started again, and who has paid notices nothing.
fn program_dies(street: &Street, phone: &Phone) {
    let died = sh(street, "pidof lango && kill -9 $(pidof lango)");
    assert!(online(phone), "the kernel holds what was paid for");
    let back = street.machine.until("the program to be started again", || street.machine.sh("lango status >/dev/null && pidof lango").ok());
    assert_ne!(back.unwrap_or_else(|e| panic!("{e:#}")), died, "it is another process");
    assert!(online(phone), "the new program takes over");
}

fn data_ends(street: &Street, phone: &Phone) {
    let got = phone.download(2 * HOUR_BYTES, Duration::from_secs(10)).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(got < HOUR_BYTES && got > HOUR_BYTES * 8 / 10, "{got} bytes came of {HOUR_BYTES} that were bought");
    assert!(!online(phone), "there is no data left");
    until_true("the session's end", SOON, || phone.session().is_none()).unwrap_or_else(|e| panic!("{e:#}"));
    let accounts = street.lango("accounts").unwrap_or_else(|e| panic!("{e:#}"));
    let list = accounts.as_array().or_else(|| accounts["accounts"].as_array()).unwrap_or_else(|| panic!("no list: {accounts}"));
    let counted: u64 = list.iter().filter_map(|a| Some(a["bytes_up"].as_u64()? + a["bytes_down"].as_u64()?)).sum();
    let bought = HOUR_BYTES as u64;
    assert!((bought - SUPER_PACKET..=bought).contains(&counted), "{counted} bytes were counted of {bought}");
}

fn left(phone: &Phone, what: &str) -> u64 {
    let session = until("a session", SOON, || phone.session()).unwrap_or_else(|e| panic!("{e:#}"));
    session[what].as_u64().unwrap_or_else(|| panic!("no {what} in {session}"))
}

fn time_ends(street: &Street) {
    let phone = street.world.phone();
    phone.join();
    phone.await_paid(&phone.pay("minute", &number(2)));
    let asked = Instant::now();
    let ends = Duration::from_secs(left(&phone, "seconds_remaining"));
    // The answer is of some moment while it was asked for.
    let doubt = asked.elapsed();
    assert!(online(&phone), "a minute has just begun");
    until_true("the end of the minute", SOON, || !online(&phone)).unwrap_or_else(|e| panic!("{e:#}"));
    let ended = asked.elapsed();
    let room = doubt + SILENCE + Duration::from_secs(5);
    assert!(ended + Duration::from_secs(2) >= ends && ended <= ends + room, "it ended after {ended:?}, and {ends:?} were left");
}

fn flash_of_payments(street: &Street, figures: &mut Figures) {
    let phones: Vec<Phone> = (0..COUNTED).map(|_| street.world.phone()).collect();
    phones.iter().for_each(|phone| drop(phone.join()));
    let mut sum = Written::default();
    for (phone, customer) in phones.iter().zip(10..) {
        // Nobody is online meanwhile whose use would be written down.
        let before = written(street);
        phone.await_paid(&phone.pay("hour", &number(customer)));
        let cost = written(street) - before;
        sum = Written { bytes: sum.bytes + cost.bytes, writes: sum.writes + cost.writes, flushes: sum.flushes + cost.flushes };
        sh(street, &format!("lango kick {}", phone.mac));
        until_true("nobody to be online", SOON, || !online(phone)).unwrap_or_else(|e| panic!("{e:#}"));
    }
    let n = u64::from(COUNTED);
    let mean = Written { bytes: sum.bytes / n, writes: sum.writes / n, flushes: sum.flushes / n };
    figures.add("written to the flash for a payment", format!("{}, {} flushes", say(mean), mean.flushes));
    assert!(mean.bytes > 0, "a payment that is not on the flash is lost with the power");
    assert!(mean.bytes < 1 << 20, "{mean:?} for a payment");
}

/// The power is back: what is paid for goes on by itself.
fn comes_back(street: &Street, phone: &Phone, what: &str) -> Duration {
    street.machine.on().unwrap_or_else(|e| panic!("{e:#}"));
    street.machine.until(&format!("{what}: who has paid to be online"), || online(phone).then_some(())).unwrap_or_else(|e| panic!("{e:#}"));
    street.machine.on_for()
}

fn power_goes_with_a_payment_under_way(street: &Street, phone: &Phone, figures: &mut Figures) {
    phone.join();
    phone.await_paid(&phone.pay("day", &number(3)));
    let bought = Instant::now();
    let used = |phone: &Phone| left(phone, "bytes_down");
    // Used long enough ago to be written down, and a moment ago.
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
    street.machine.cut();
    // The customer types the PIN while the router is dark.
    street.safaricom.answer(&number(4), Answer::Pays).unwrap_or_else(|e| panic!("{e:#}"));
    let back = comes_back(street, phone, "after a power cut");
    figures.add("power back to a customer online again, without a tap", format!("{:.0} s", back.as_secs_f64()));
    let served = until("the money to be served", LATE, || {
        online(&other); // a phone with something to say is seen
        other.try_await_payment(&payment, SILENCE).ok().filter(|paid| paid["status"] == "paid")
    });
    served.unwrap_or_else(|e| panic!("{e:#}"));
    until_true("who paid in the dark to be online", SOON, || online(&other)).unwrap_or_else(|e| panic!("{e:#}"));

    // Headers are counted, too: a tenth is more than there are.
    let counted = used(phone);
    let most = (long_ago + just_now) * 11 / 10;
    figures.add("data used before the cut, of which is remembered", format!("{} kB, {} kB", (long_ago + just_now) / 1000, counted / 1000));
    assert!(
        (long_ago..=most).contains(&counted),
        "{counted} bytes are remembered; {long_ago} were used before the checkpoint, {just_now} after"
    );
    let (left, elapsed) = (left(phone, "seconds_remaining"), bought.elapsed().as_secs() + 1);
    assert!(left <= 86_400 && left + elapsed >= 86_400, "{left} s of a day are left after {elapsed} s");
    street.safaricom.everybody(Customer::who(Answer::Pays));
}

/// While the result comes, and in the middle of the boot itself.
fn power_goes_at_other_moments(street: &Street, phone: &Phone) {
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
        comes_back(street, phone, "after another power cut");
        let served = until("the money to be served", LATE, || {
            online(&buyer); // a phone with something to say is seen
            buyer.try_await_payment(&payment, SILENCE).ok().filter(|paid| paid["status"] == "paid")
        });
        served.unwrap_or_else(|e| panic!("cut {cut}: {e:#}"));
        until_true("who paid to be online", PAYMENT.max(SOON), || online(&buyer)).unwrap_or_else(|e| panic!("cut {cut}: {e:#}"));
        street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
    }
}

fn memory_of_many(street: &Street, figures: &mut Figures) {
    street.machine.let_in(MANY, "10.77.0").unwrap_or_else(|e| panic!("{e:#}"));
    let Memory { all, own } = memory(street);
    figures.add("RSS after all of that, with 100 more online", format!("{all} kB, {own} kB of it the program's own"));
    assert!(all <= 2 * IDLE_KB, "{all} kB with {MANY} customers");
}
