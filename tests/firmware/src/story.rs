//! What happens on the street: a router boots, phones come, are captive, pay and are online until what they paid for ends; and the power
//! goes in the middle of it all.

use crate::idle::say;
use crate::machine::{Image, Written};
use crate::page::Figures;
use crate::street::{CHECK, CHECKPOINT, Street};
use crate::{cuts, provisioning, updates};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::{Answer, Customer};
use lango_lab::wait::{until, until_true};
use lango_lab::world::PORTAL;
use std::time::{Duration, Instant};

/// For what is quick on a router, on an emulated one while this machine has other things to do.
pub const SOON: Duration = Duration::from_secs(90);
pub const SILENCE: Duration = Duration::from_secs(1);
/// The data of the package "hour".
pub const HOUR_BYTES: usize = 5_000_000;
/// A packet passes while it still fits; with receive offloading a packet has up to 64 KiB.
const SUPER_PACKET: u64 = 65_536;
/// RSS of the program while nobody is there, in KiB, as the kernel tells it (its "kB"): the 6 MB, 6,000,000 bytes, that a router with 128 MB may spend
/// on it.
const IDLE_KIB: u64 = 5_859;
/// The contract's: how far from a session's end the kernel may end it, in seconds.
const SHARP: f64 = 1.0;
/// How long what a connected router without customers writes is looked at, in minutes of its clock.
const QUIET: u32 = 5;
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
    if !quick {
        flash_of_quiet(&street, figures);
    }

    pays(&street, &first, figures);
    program_dies(&street, &first);
    data_ends(&street, &first);
    if !quick {
        time_ends(&street, figures);
        flash_of_payments(&street, figures);
    }
    let mut customers = cuts::with_a_payment_under_way(&street, figures);
    if !quick {
        cuts::at_other_moments(&street, &mut customers);
        updates::run(&street, image, &customers);
    }
    provisioning::mistake(&street, &customers, &number(5));
    let payments = street.money_is_service().unwrap_or_else(|e| panic!("{e:#}"));
    figures.add("payments, each served once", payments.to_string());
    if !quick {
        memory_of_many(&street, figures);
    }
}

/// Whether what it sends to the internet is answered.
pub fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

/// What that line says in the router's shell; it must end well.
pub fn sh(street: &Street, line: &str) -> String {
    street.machine.sh(line).unwrap_or_else(|e| panic!("{e:#}"))
}

fn written(street: &Street) -> Written {
    street.machine.written().unwrap_or_else(|e| panic!("{e:#}"))
}

/// A number for each customer, from 0 to 99.
pub fn number(customer: u32) -> String {
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
    figures.add("RSS, connected, nobody online", format!("{all} KiB, {own} KiB of it the program's own"));
    assert!(all <= IDLE_KIB, "{all} KiB while nobody is online; {IDLE_KIB} KiB are what a small router has for it");
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
    ends_at_its_byte(street, phone, &number(1), 0);
}

/// Uses up the data of the package "hour", of which so many bytes were used already, and looks at what was counted for that number.
pub fn ends_at_its_byte(street: &Street, phone: &Phone, number: &str, used: usize) {
    let got = used + phone.download(2 * HOUR_BYTES, Duration::from_secs(10)).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(got < HOUR_BYTES && got > HOUR_BYTES * 8 / 10, "{got} bytes came of {HOUR_BYTES} that were bought, {used} of them before");
    assert!(!online(phone), "there is no data left");
    until_true("the session's end", SOON, || phone.session().is_none()).unwrap_or_else(|e| panic!("{e:#}"));
    let accounts = street.lango("accounts").unwrap_or_else(|e| panic!("{e:#}"));
    let list = accounts.as_array().or_else(|| accounts["accounts"].as_array()).unwrap_or_else(|| panic!("no list: {accounts}"));
    // They are written with the country's code, as Safaricom writes them.
    let own: Vec<_> = list.iter().filter(|account| account["phone"].as_str().is_some_and(|phone| phone.ends_with(&number[1..]))).collect();
    assert_eq!(own.len(), 1, "{number} has an account: {accounts}");
    let counted: u64 = own.iter().filter_map(|a| Some(a["bytes_up"].as_u64()? + a["bytes_down"].as_u64()?)).sum();
    let bought = HOUR_BYTES as u64;
    assert!((bought - SUPER_PACKET..=bought).contains(&counted), "{counted} bytes were counted of {bought}");
}

/// That number of the phone's session, as the portal tells it.
pub fn left(phone: &Phone, what: &str) -> u64 {
    let session = until("a session", SOON, || phone.session()).unwrap_or_else(|e| panic!("{e:#}"));
    session[what].as_u64().unwrap_or_else(|| panic!("no {what} in {session}"))
}

/// By the router's own clock, as its kernel goes by it. A moment of it is known to lie between two readings: nothing but that is added to what the
/// contract says.
fn time_ends(street: &Street, figures: &mut Figures) {
    let uptime = || street.machine.uptime().unwrap_or_else(|e| panic!("{e:#}"));
    let phone = street.world.phone();
    phone.join();
    phone.await_paid(&phone.pay("minute", &number(2)));
    let before = uptime();
    let remaining = left(&phone, "seconds_remaining") as f64;
    let after = uptime();
    // Seconds that are left are told rounded up.
    let (earliest, latest) = (before + remaining - 1.0, after + remaining);
    assert!(online(&phone), "a minute has just begun");
    // Since when it had been online for the last time, and until when it was not for the first: a lost packet is no end.
    let (mut online_after, mut offline_before, mut silent) = (after, None, 0);
    until_true("the end of the minute", SOON + Duration::from_secs(60), || {
        let began = uptime();
        if online(&phone) {
            (online_after, offline_before, silent) = (began, None, 0);
        } else {
            offline_before.get_or_insert_with(uptime);
            silent += 1;
        }
        silent == 3
    })
    .unwrap_or_else(|e| panic!("{e:#}"));
    let offline_before = offline_before.unwrap_or(f64::NAN);
    let told = format!("between {:.1} s and {:.1} s after", online_after - latest, offline_before - earliest);
    assert!(online_after <= latest + SHARP && offline_before >= earliest - SHARP, "a minute ended {told} its end");
    figures.add("a minute's end, by the router's clock", format!("{told} it was due"));
}

/// What it costs to be connected: MQTT's pings, and whatever else there is to do.
fn flash_of_quiet(street: &Street, figures: &mut Figures) {
    let uptime = || street.machine.uptime().unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(street.machine.online().unwrap_or_else(|e| panic!("{e:#}")), 0, "nobody is to be online");
    let (before, began) = (written(street), uptime());
    // The length is the measurement's, nothing is waited for.
    for _ in 0..QUIET {
        sh(street, "sleep 60");
    }
    let (cost, took) = (written(street) - before, uptime() - began);
    street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
    assert!(took >= 60.0 * f64::from(QUIET), "it took {took} s of the router's clock");
    figures.add(&format!("written to the flash in {QUIET} minutes, connected, nobody online"), say(cost));
    assert!(cost.bytes < 1 << 18, "{cost:?} in {took} s in which nothing happened");
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

fn memory_of_many(street: &Street, figures: &mut Figures) {
    street.machine.let_in(MANY, "10.77.0").unwrap_or_else(|e| panic!("{e:#}"));
    let Memory { all, own } = memory(street);
    figures.add("RSS after all of that, with 100 more online", format!("{all} KiB, {own} KiB of it the program's own"));
    assert!(all <= 2 * IDLE_KIB, "{all} KiB with {MANY} customers");
}
