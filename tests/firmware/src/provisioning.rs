//! docs/provisioning.md, gone through with a router as its package makes it: each command is taken out of the page. Then the same router with
//! a mistake in its configuration, from a boot on.

use crate::by_hand::{self, Hands};
use crate::cuts::Customers;
use crate::page::Figures;
use crate::recipe::{Block, blocks};
use crate::street::{CA, Street};
use lango_lab::internet::{ECHO, HOST4};
use lango_lab::phone::Phone;
use lango_lab::router;
use lango_lab::wait::until_true;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../../../docs/provisioning.md");
const SOON: Duration = Duration::from_secs(90);
const SILENCE: Duration = Duration::from_secs(1);
/// In seconds: what the page promises.
const TEN_MINUTES: u64 = 600;
/// What OpenWrt makes of a router's two radios. An installation by hand finds them so, and leaves them so; an image's first boot does not.
const WIRELESS: &str = include_str!("../../../images/tests/openwrt/wireless");

/// The page, from a router's first boot to its first customer. `phone` is the operator's own.
pub fn run(street: &Street, phone: &Phone, figures: &mut Figures) {
    let mut took: BTreeMap<String, Duration> = BTreeMap::new();
    let clock = || sh(street, "date +%s").trim().parse::<u64>().unwrap_or_else(|e| panic!("the router's clock: {e}"));
    // With its first boot.
    let unboxed = clock() - street.machine.on_for().as_secs();
    let hands = Hands::new(street);
    street.machine.write("/etc/config/wireless", WIRELESS).unwrap_or_else(|e| panic!("{e:#}"));
    // What is not tried, the page says.
    for Block { heading, place, lines } in blocks(PAGE).into_iter().filter(|block| block.place != "untried") {
        for line in lines {
            let began = Instant::now();
            match place.as_str() {
                "relay" => hands.on_relay(&line),
                "computer" => hands.on_computer(&line),
                "router" => typed_on_router(street, phone, &line),
                other => panic!("{heading}: nobody knows where {other:?} is"),
            }
            *took.entry(heading.clone()).or_default() += began.elapsed();
        }
    }
    let unserved: Vec<&str> = ["option relay_key", "option price '20'"]
        .into_iter()
        .filter(|line| !street.machine.sh("cat /etc/config/lango").unwrap_or_else(|e| panic!("{e:#}")).contains(line))
        .collect();
    assert!(unserved.is_empty(), "the page did not bring {unserved:?}");
    hands.kept_nothing();
    // Less what hands need to type it, and with all the slowness of an emulated processor.
    let selling = clock() - unboxed;
    figures.add(
        "[provisioning](provisioning.md), all of it, from the first power-on to the first customer",
        format!("{selling} s by the router's clock"),
    );
    assert!(selling < TEN_MINUTES, "{selling} s from unboxed to selling");
    for (heading, took) in took {
        figures.add(&format!("[provisioning](provisioning.md): {heading}"), format!("{:.1} s", took.as_secs_f64()));
    }
}

fn sh(street: &Street, line: &str) -> String {
    street.machine.sh(line).unwrap_or_else(|e| panic!("{e:#}"))
}

fn online(phone: &Phone) -> bool {
    phone.udp_echo((HOST4, ECHO).into(), SILENCE)
}

/// Both radios as the page has them, in the file. *Not off* is said of each radio and of its network: OpenWrt has it at the one or the other.
fn wireless_is_open(street: &Street) {
    let file = sh(street, "cat /etc/config/wireless");
    let lines = ["country 'KE'", "ssid 'Kibera Wi-Fi'", "encryption 'none'", "isolate '1'", "network 'lan'", "mode 'ap'"];
    for (line, times) in lines.into_iter().map(|line| (line, 2)).chain([("disabled '0'", 4)]) {
        assert_eq!(file.matches(&format!("\toption {line}\n")).count(), times, "{line}: {file}");
    }
    assert!(!file.contains("disabled '1'"), "{file}");
}

fn typed_on_router(street: &Street, phone: &Phone, line: &str) {
    let line = line.replace("MAC", &phone.mac);
    match line.as_str() {
        "reboot" => {
            street.machine.reboot().unwrap_or_else(|e| panic!("{e:#}"));
            street.machine.until("lango to run", || street.machine.sh("lango status").ok()).unwrap_or_else(|e| panic!("{e:#}"));
            by_hand::way_in(street);
        }
        // The other radio, which the page says in words.
        _ if line.starts_with("uci set wireless.") => {
            sh(street, &line);
            sh(street, &line.replace("radio0", "radio1"));
        }
        "uci commit wireless" => {
            sh(street, &line);
            wireless_is_open(street);
        }
        "lango check" => {
            let said = sh(street, &line);
            assert!(said.contains(": in order. Router kibera-7, 2 packages, relay over mqtts://"), "{said}");
        }
        "lango status" => {
            street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
            let said = sh(street, &line);
            for told in ["Gate              in force\n", "Broker            connected\n", "Payments          possible\n"] {
                assert!(said.contains(told), "{told:?} is not in {said}");
            }
        }
        "lango packages" => {
            let said = sh(street, &line);
            let hour = said.lines().find(|line| line.starts_with("hour ")).unwrap_or_else(|| panic!("no hour in {said}"));
            // Columns are two blanks apart, and a price is one of them.
            let cells: Vec<&str> = hour.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            assert_eq!(cells.get(..3), Some(["hour", "1 hour", "KSh 20"].as_slice()), "what step 4 sells: {said}");
        }
        "lango vouchers create hour 1" => {
            let paper = sh(street, &line);
            let code = paper.lines().map(str::trim).find(|line| line.len() == 14 && line.split('-').all(|part| part.len() == 4));
            let code = code.unwrap_or_else(|| panic!("no code in {paper}"));
            street.machine.until("an address by DHCP", || phone.try_join().ok()).unwrap_or_else(|e| panic!("{e:#}"));
            assert!(!online(phone), "nobody has paid");
            let answer = phone.post("/api/vouchers/redeem", &json!({ "code": code }));
            assert_eq!(answer.status, 200, "{}", answer.text());
            until_true("who has a voucher to be online", SOON, || online(phone)).unwrap_or_else(|e| panic!("{e:#}"));
        }
        "lango sessions" => assert!(sh(street, &line).contains(&phone.mac), "the phone is not listed"),
        _ => {
            let said = sh(street, &line);
            if line.starts_with("lango kick ") {
                until_true("who was put offline to be so", SOON, || !online(phone)).unwrap_or_else(|e| panic!("{line}: {said}: {e:#}"));
            }
            if line.starts_with("lango grant ") {
                until_true("who was let in to be online", SOON, || online(phone)).unwrap_or_else(|e| panic!("{line}: {said}: {e:#}"));
            }
        }
    }
}

/// What the rest of the run goes by, in place of what the page sells.
pub fn settle(street: &Street, checkpoint: u64) {
    sh(street, "while uci -q delete lango.@package[0]; do :; done");
    sh(street, &format!("uci set lango.main.checkpoint={checkpoint}; uci commit lango"));
    let text = sh(street, "cat /etc/config/lango");
    street.machine.write("/etc/config/lango", &format!("{text}\n{}", router::PACKAGES)).unwrap_or_else(|e| panic!("{e:#}"));
    sh(street, "lango check && service lango reload");
    until_true("the lab's packages to be sold", SOON, || sh(street, "lango packages").contains("minute"))
        .unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(sh(street, "uci get lango.relay.ca").trim(), CA);
}

/// A mistake in the configuration. After a reload all goes on, for who has paid and is online, too. From a boot on the router is closed, also for who
/// keeps an address from before and sends all the time; it says what is wrong, and sells once it is mended.
pub fn mistake(street: &Street, customers: &Customers, number: &str) {
    let Customers { paid, unpaid } = customers;
    let paid = paid.first().unwrap_or_else(|| panic!("nobody has paid"));
    sh(street, "cp -p /etc/config/lango /etc/lango/good && sed -i \"s/option price '10'/option price 'ten'/\" /etc/config/lango && sync");
    assert!(online(paid), "who is to stay online is not");
    sh(street, "service lango reload || true");
    let refused = "config: it is refused, the one in force stays";
    street
        .machine
        .until("the mistake to be refused", || sh(street, "logread").contains(refused).then_some(()))
        .unwrap_or_else(|e| panic!("{e:#}"));
    assert!(PAGE.contains(refused), "the page does not know {refused:?}");
    assert!(online(paid), "all goes on as before");
    by_hand::listens(street);
    assert!(by_hand::ssh_from_customers(paid).is_err(), "SSH from the customers' side stays closed");

    street.machine.cut();
    let sent = unpaid.sent();
    let before = street.world.internet.packets_from_customers().unwrap_or_else(|e| panic!("{e:#}"));
    street.machine.on().unwrap_or_else(|e| panic!("{e:#}"));
    let phone = street.world.phone();
    // From the first packet that is forwarded at all on: phones try while it boots.
    street
        .machine
        .until("an address by DHCP, with a mistake in the configuration", || {
            assert!(!online(&phone), "nobody has paid, and the gate is not even there");
            phone.try_join().ok()
        })
        .unwrap_or_else(|e| panic!("{e:#}"));
    street.machine.until("the shell", || street.machine.sh("true").ok()).unwrap_or_else(|e| panic!("{e:#}"));
    // As it is started again and again.
    let ended = || sh(street, "logread").matches("it ended with status 78").count();
    street.machine.until("lango to have ended three times", || (ended() >= 3).then_some(())).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(!online(&phone) && !phone.ping(HOST4.into()), "nobody has paid");
    let after = street.world.internet.packets_from_customers().unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(after, before, "packets of a phone that has not paid got out");
    unpaid.is_kept_in(street, sent, "with a mistake in the configuration");
    by_hand::listens(street);
    street
        .machine
        .until("SSH from the customers' side, for who has to mend it", || by_hand::ssh_from_customers(&phone).ok())
        .unwrap_or_else(|e| panic!("{e:#}"));

    let wrong = "'price' is \"ten\"; it must be whole shillings from 1 to 500000, in digits";
    let log = sh(street, "logread");
    let told = log.lines().find(|line| line.contains("/etc/config/lango:") && line.contains(wrong));
    assert!(told.is_some(), "the log does not say what is wrong: {log}");
    let advice = "/etc/config/lango is not in order, or lango does not run at all: the gate stays as it is, and who has not paid is kept out. \
                  What is wrong is said by: lango check";
    assert!(log.contains(advice), "the log does not say what to do: {log}");
    let said = sh(street, "lango check; echo $?");
    assert!(said.contains(wrong) && said.ends_with("\n78\n") && said.lines().count() == 2, "{said}");
    let said = sh(street, "lango status; echo $?");
    assert!(said.contains("lango check") && said.ends_with("\n69\n"), "{said}");
    for told in [wrong, advice] {
        assert!(PAGE.contains(told), "the page does not know {told:?}");
    }

    sh(street, "mv /etc/lango/good /etc/config/lango && lango check && service lango reload");
    street.machine.until("lango to run", || street.machine.sh("lango status").ok()).unwrap_or_else(|e| panic!("{e:#}"));
    street.await_payments().unwrap_or_else(|e| panic!("{e:#}"));
    assert!(!online(&phone), "nobody has paid");
    phone.await_paid(&phone.pay("day", number));
    until_true("who has paid to be online", SOON, || online(&phone)).unwrap_or_else(|e| panic!("{e:#}"));
    customers.are_online("with the mistake mended");
    unpaid.is_kept_in(street, sent, "with the mistake mended");
    // The counter counts: let in, it gets out.
    sh(street, &format!("lango grant {} day", unpaid.phone.mac));
    until_true("who was let in to be online", SOON, || unpaid.gets_out(street)).unwrap_or_else(|e| panic!("{e:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What programs and scripts can say, in one text.
    fn sources(folder: &Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                all.push_str(&text);
            }
        }
    }

    /// A message on the page that nothing says any more helps nobody.
    #[test]
    fn every_message_on_the_page_is_one_that_somebody_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut all = String::new();
        for folder in ["src/router/src", "images/files", "images/scripts", "web/locale"] {
            sources(&root.join(folder), &mut all);
        }
        // A long one is in several pieces in its source.
        let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace() && !"'\"\\".contains(*c)).collect::<String>();
        let all = plain(&all.replace("$LANGO_CONFIG", "/etc/config/lango"));
        let table = PAGE.split("## When something does not work").nth(1).unwrap().split("\n## ").next().unwrap();
        let messages: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert!(messages.len() >= 9, "{messages:?}");
        for message in messages {
            // Names, values and places are others each time; a table's first column is filled up with blanks.
            let parts = match message {
                price if price.contains("'price'") => vec!["whole shillings from 1 to 500000, in digits"],
                row if row.contains("  ") => row.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect(),
                socket if socket.contains("lango.sock") => vec!["lango does not run: nothing answers on "],
                whole => vec![whole],
            };
            for part in parts {
                assert!(all.contains(plain(part).as_str()), "nobody says {part:?}");
            }
        }
    }

    #[test]
    fn every_command_on_the_page_is_typed_somewhere() {
        let blocks = blocks(PAGE);
        let places = ["relay", "computer", "router", "untried"];
        let nowhere: Vec<&Block> = blocks.iter().filter(|block| !places.contains(&block.place.as_str())).collect();
        assert!(nowhere.is_empty(), "nobody types {nowhere:?}");
        for place in places {
            assert!(blocks.iter().any(|block| block.place == place), "{place}");
        }
        assert!(PAGE.contains("**Not tried** are the blocks marked `sh untried`"), "the page does not say what was not tried");
    }
}
