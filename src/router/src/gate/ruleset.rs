//! What our table holds besides the accounts: sets, chains, rules (docs/gate.md shows them as `nft` prints them). Pure.

use super::learn;
use super::nft::{
    Request, add_chain, add_element, add_expectation_of_nothing, add_idle_counter, add_set, add_table, delete_rules, empty_set, message,
};
use super::rule::{InterfaceName, Limit, Rule, Side, Transport};
use super::set::Set;
use lango_core::tree::BTreeSet;
use ring::digest::{Context, SHA256};

/// What the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// The customers' interfaces, by name. They need not exist yet.
    pub lan: Vec<String>,
    /// The way out, by name: where speeds from the devices are held. It need not exist yet.
    pub wan: String,
    /// The portal's port at the router, plain HTTP.
    pub portal_port: u16,
    /// The portal's port for HTTPS, where it has one.
    pub https_port: Option<u16>,
    /// Whether customers are kept from reaching each other through the router.
    pub isolate: bool,
    /// Whether the kernel is to log packets from new and from foreign addresses of paid devices, for [`super::Senders`].
    pub learn: bool,
    /// Whether connections of customers are kept out of flowtables.
    pub whole: Whole,
}

/// Whether connections of customers are kept out of flowtables: in there none of their packets would be counted or stopped.
/// The gate itself finds out what the kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whole {
    /// They are, by an object as newer kernels take it.
    #[default]
    Newer,
    /// They are, by an object as older kernels take it.
    Older,
    /// They are not: flow offloading must stay off.
    No,
}

/// How often the kernel looks for elements that ran out, in milliseconds. They stop working on their own moment; this is
/// about their memory, and about the quotas that they still hold.
const COLLECT_EVERY: u32 = 5_000;

/// `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_LOCAL_OUT`
const PREROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;

/// Ours run before fw4's at the same places (priorities 0 and -100): it accepts established connections early, and what
/// we refuse must not reach that.
const FILTER_PRIORITY: i32 = -10;
const NAT_PRIORITY: i32 = -110;

/// The chains that packets enter by themselves: their names, types, hooks and priorities.
const BASE_CHAINS: [(&str, (&str, u32, i32)); 4] = [
    ("forward", ("filter", FORWARD, FILTER_PRIORITY)),
    ("input", ("filter", LOCAL_IN, FILTER_PRIORITY)),
    ("output", ("filter", LOCAL_OUT, FILTER_PRIORITY)),
    ("prerouting", ("nat", PREROUTING, NAT_PRIORITY)),
];

/// The chains that those ask.
const CHAINS: [&str; 15] = [
    "upward",
    "pass",
    "strange",
    "learn",
    "foreign",
    "downward",
    "speed4",
    "speed6",
    "services",
    "questions",
    "payers",
    "newcomers",
    "answers",
    "captive",
    "refuse",
];

/// The object that keeps connections out of flowtables.
const WHOLE: &str = "whole";

/// Packets from new addresses that are told in a second, of all devices: many phones' worth, and what a small router's daemon has time for.
const LEARNT: u32 = 100;

/// The same of one device: a phone that comes back with all of its addresses anew. One that makes addresses up uses up what is its own, and the
/// others' are learnt all the same; ten such at once have a tenth of all each.
const TOLD: Limit = Limit { rate: 10, seconds: 1, burst: 20, bytes: false };

/// What a device may send from new addresses before they are known: the beginnings of many connections, and a call's first seconds.
/// A daemon needs milliseconds to learn an address; where there is none, nobody is answered at such an address, and what is
/// beyond this is no customer's own.
const LEARNING: Limit = Limit { rate: 1_024, seconds: 1, burst: 65_536, bytes: true };

/// The same of packets that a device sent with another's address.
const FOREIGN: u32 = 10;

/// What a device that has not paid may ask the router's DNS: 1 KiB a second, 16 KiB at once. A phone that joins asks a
/// hundred questions or two in its first seconds, of 60 to 80 bytes each; a tunnel through it gets 8 kbit/s.
const QUESTIONS: Limit = Limit { rate: 1_024, seconds: 1, burst: 16_384, bytes: true };

/// What one of its addresses is answered: 2 KiB a second, 32 KiB at once: 16 kbit/s.
const ANSWERS: Limit = Limit { rate: 2_048, seconds: 1, burst: 32_768, bytes: true };

/// From how many addresses it may ask: six at once, four an hour, and an address counts for an hour. Phones have one of
/// IPv4 and a few of IPv6; one that is made up would be answered anew.
const NEWCOMERS: Limit = Limit { rate: 4, seconds: 3_600, burst: 6, bytes: false };

/// What those share for whose own limits the kernel's sets have no room any more: fifty times that of one.
const CROWD: Limit = Limit { rate: 50 * 1_024, seconds: 1, burst: 65_536, bytes: true };

const DNS: u16 = 53;
const DHCP_SERVER: u16 = 67;
const DHCP6_SERVER: u16 = 547;
const NTP: u16 = 123;
const HTTP: u16 = 80;

/// Types of ICMP that the router itself takes from customers: echo requests.
const ICMP4: [(u8, u8); 1] = [(8, 8)];
/// The same of `ICMPv6`: echo requests; multicast listener queries and reports; router solicitations; neighbour
/// solicitations and advertisements; reports of version 2. Never router advertisements (134) or redirects (137).
const ICMP6: [(u8, u8); 5] = [(128, 128), (130, 132), (133, 133), (135, 136), (143, 143)];

/// The table, its sets and its base chains: what elements and objects hang on. It is made once.
#[must_use]
pub fn frame() -> Vec<Request> {
    let parts: Vec<Request> = parts().collect();
    let mut requests = vec![add_table(&comment_of_frame(&parts))];
    requests.extend(parts);
    requests
}

fn parts() -> impl Iterator<Item = Request> {
    sets().chain(base_chains())
}

fn sets() -> impl Iterator<Item = Request> {
    (1..).zip(Set::ALL).map(|(number, set)| add_set(set, number, COLLECT_EVERY))
}

fn base_chains() -> impl Iterator<Item = Request> {
    BASE_CHAINS.into_iter().map(|(name, hook)| add_chain(name, Some(hook)))
}

/// The table's comment: a table with another one was made by another version, and is replaced as a whole.
#[must_use]
pub fn frame_comment() -> String {
    comment_of_frame(&parts().collect::<Vec<_>>())
}

fn comment_of_frame(parts: &[Request]) -> String {
    format!("Lango, layout {}", fingerprint(parts))
}

/// The chains that others ask, the rules, and the customers' interfaces. They hold no state and can be replaced at any time.
#[must_use]
pub fn rules(config: &GateConfig) -> Vec<Request> {
    // A router's processor takes milliseconds to make them: once is enough.
    let mut rules = uncommented_rules(config, Known::All);
    let comment = if fingerprinted(config) == config.whole { comment_of_rules(&rules.requests) } else { rules_comment(config) };
    rules.comment(&comment);
    rules.requests
}

/// The comment of the first rule of `forward` while accounts are still being put in.
pub const UNFINISHED: &str = "Lango, accounts are coming";

/// What a table of another version is given just before it is replaced, so that nobody is refused by what is left of it. With the new table in force,
/// the kernel still asks the old `forward` for a moment, until it comes to taking that out; and its maps are empty by then. So is this one, and then
/// the old chain stops nothing: the new one, which is asked before it, has decided. The same before it refuses: a packet may be half through. What passed
/// the new chain before its rules were in force, and comes to the old one after, goes through whoever sent it: one packet a processor at most.
#[must_use]
pub fn leaving() -> [Request; 5] {
    let name = Set::Leaving.name();
    let [forward, refuse] = ["forward", "refuse"].map(|chain| {
        let mut rule = Rule::new(chain).without(Set::Leaving).accept();
        rule.at_the_head();
        rule
    });
    let element = add_element(Set::Leaving, &[0; 4], None, Some(name));
    [add_idle_counter(name), add_set(Set::Leaving, 1, COLLECT_EVERY), element, forward, refuse]
}

/// The rules while accounts are still being put in, a part after the other. Who is not known yet may have paid: nothing is let
/// through, but no connection is reset either, nor led to the portal, which would bind it there.
#[must_use]
pub fn rules_meanwhile(config: &GateConfig) -> Vec<Request> {
    let mut rules = uncommented_rules(config, Known::Some);
    rules.comment(UNFINISHED);
    rules.requests
}

/// Puts the rules in the place of others.
#[must_use]
pub fn replace_rules(config: &GateConfig) -> Vec<Request> {
    let mut requests = Vec::from(clear_rules());
    requests.extend(rules(config));
    requests
}

/// Takes all rules out, for others in the same transaction.
#[must_use]
pub fn clear_rules() -> [Request; 2] {
    [delete_rules(), empty_set(Set::Lan)]
}

/// The comment of the first rule of `forward`: rules with another one are replaced.
#[must_use]
pub fn rules_comment(config: &GateConfig) -> String {
    expected(config, false).0
}

/// The comment of the first rule of `forward`, and how many rules there are, where packets are marked or are not.
#[must_use]
pub fn expected(config: &GateConfig, marked: bool) -> (String, usize) {
    let config = GateConfig { whole: fingerprinted(config), ..config.clone() };
    let rules = uncommented_rules(&config, Known::All).requests;
    let count = |requests: &[Request]| requests.iter().filter(|request| request.kind == message::NEW_RULE).count();
    (comment_of_rules(&rules), count(&rules) + if marked { count(&marking()) } else { 0 })
}

/// Which of the two objects it is makes no other rules: a daemon that starts has not found that out yet.
fn fingerprinted(config: &GateConfig) -> Whole {
    if config.whole == Whole::Older { Whole::Newer } else { config.whole }
}

fn comment_of_rules(uncommented: &[Request]) -> String {
    format!("Lango, rules {}", fingerprint(uncommented))
}

/// The comment of rules that mark packets.
pub const MARKING: &str = "Lango, speeds";

/// The rules that mark packets with their account's class. They are put in when the first account has one: to look for what
/// nobody has would take a tenth of the gate's time. Only what passes is marked, and after all that may count it.
#[must_use]
pub fn marking() -> Vec<Request> {
    let mut requests = Vec::from(["pass", "learn"].map(|chain| Rule::new(chain).comment(Some(MARKING)).mark_by_sender(Set::UpClass)));
    let towards = [("speed4", Set::DownClass4), ("speed6", Set::DownClass6)];
    requests.extend(towards.map(|(chain, map)| Rule::new(chain).comment(Some(MARKING)).mark_by_destination(map)));
    // Before what is there: these chains end with what lets pass.
    requests.iter_mut().for_each(Request::at_the_head);
    requests
}

/// Which of those who may pass the table knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    All,
    Some,
}

/// Chains and rules whose comment is not there yet: it says what they are.
struct Uncommented {
    requests: Vec<Request>,
    /// Which of them is to have it: the first rule of `forward`.
    first: usize,
}

impl Uncommented {
    fn comment(&mut self, comment: &str) {
        if let Some(rule) = self.requests.get_mut(self.first) {
            rule.comment_rule(comment);
        }
    }
}

fn uncommented_rules(config: &GateConfig, known: Known) -> Uncommented {
    let mut requests: Vec<Request> = CHAINS.iter().map(|name| add_chain(name, None)).collect();
    if !config.isolate {
        requests.push(add_chain("among", None));
    }
    let lan: BTreeSet<&String> = config.lan.iter().collect(); // named twice is named once
    let lan: Vec<InterfaceName> = lan.into_iter().map(|name| interface_key(name)).collect();
    requests.extend(lan.iter().map(|name| add_element(Set::Lan, name, None, None)));
    let only = if let [only] = lan.as_slice() { Some(only) } else { None };
    if config.whole != Whole::No {
        requests.push(add_expectation_of_nothing(WHOLE, if config.whole == Whole::Older { 1 } else { 2 }));
        // Before anything else is decided: a connection can be marked so by its first packet only.
        requests.extend(["upward", "downward"].map(|chain| Rule::new(chain).first().expecting(WHOLE)));
    }
    let first = requests.len();
    requests.extend([
        // Each interface is asked for once, whichever way a packet goes.
        Rule::new("forward").towards_customers(only).jump("downward"),
        Rule::new("forward").by_customers(only).jump("upward"),
        // From customer to customer through the router.
        Rule::new("downward").by_customers(only).go_to(if config.isolate { "refuse" } else { "among" }),
        Rule::new("upward").pair_accounted(Set::UpQuota4).go_to("pass"),
        Rule::new("upward").pair_accounted(Set::UpQuota6).go_to("pass"),
        Rule::new("upward").sender_in(Set::Paid, true).jump("strange"),
        Rule::new("upward").address_in(Side::Destination, Set::Garden4).accept(),
        Rule::new("upward").address_in(Side::Destination, Set::Garden6).accept(),
        Rule::new("upward").go_to("refuse"),
        Rule::new("downward").destination_accounted(Set::DownQuota4, Set::DownCounter4).go_to("speed4"),
        Rule::new("downward").destination_accounted(Set::DownQuota6, Set::DownCounter6).go_to("speed6"),
        Rule::new("downward").established(true).address_in(Side::Source, Set::Garden4).accept(),
        Rule::new("downward").established(true).address_in(Side::Source, Set::Garden6).accept(),
    ]);
    if known == Known::All {
        // Whatever conntrack knows: after a device's end its entries may be deleted, and the far end is to hear of it.
        // Every address behind the router is answered so, whether a device is there or not.
        requests.push(Rule::new("downward").carries_on().reset());
    }
    requests.extend([
        // Nobody outside learns by an answer that a captive device is there.
        Rule::new("downward").established(false).silently_drop(),
        // An answer to an address that is only just being learnt: it comes again, where a reset would be the end of it.
        Rule::new("downward").transport(Transport::Tcp).silently_drop(),
        Rule::new("downward").go_to("refuse"),
    ]);
    match known {
        Known::All => requests.extend([Rule::new("refuse").transport(Transport::Tcp).reset(), Rule::new("refuse").prohibit()]),
        Known::Some => requests.push(Rule::new("refuse").silently_drop()),
    }
    requests.extend([
        Rule::new("input").by_customers(only).jump("services"),
        // Answers to what the router itself asked; never the other way round.
        Rule::new("services").reply().established(true).accept(),
    ]);
    for chain in ["pass", "speed4", "speed6"] {
        requests.push(Rule::new(chain).accept());
    }
    if config.learn {
        requests.push(Rule::new("foreign").at_most_a_second(FOREIGN).log(learn::GROUP, learn::HEADER6, learn::FOREIGN));
    }
    requests.push(Rule::new("learn").accept());
    requests.extend([
        // What it has is used up.
        Rule::new("strange").pair_in(Set::UpQuota4).back(),
        Rule::new("strange").pair_in(Set::UpQuota6).back(),
        // It is not known yet whether it is the device's own or a copy's. Not reset: a phone that moved asks again.
        Rule::new("strange").pair_in(Set::Held4).silently_drop(),
        // Another one's: the answers would be that one's, and be counted as such.
        Rule::new("strange").address_in(Side::Source, Set::DownQuota4).go_to("foreign"),
        Rule::new("strange").address_in(Side::Source, Set::DownQuota6).go_to("foreign"),
    ]);
    // A new one of its own: told first, so that who used up what may go out so is learnt all the same.
    if config.learn {
        requests.push(Rule::new("strange").sender_within(Set::Telling, TOLD).at_most_a_second(LEARNT).log(
            learn::GROUP,
            learn::HEADER6,
            "",
        ));
    }
    requests.extend([
        Rule::new("strange").sender_beyond(Set::Learning, LEARNING).silently_drop(),
        Rule::new("strange").sender_accounted().go_to("learn"),
        Rule::new("foreign").silently_drop(),
    ]);
    for (from, to) in [(Set::UpQuota4, Set::DownQuota4), (Set::UpQuota6, Set::DownQuota6)] {
        // Looked up as sets, the maps ask no quota: what stays here costs nobody anything.
        if !config.isolate {
            requests.push(Rule::new("among").pair_in(from).address_in(Side::Destination, to).accept());
        }
    }
    if !config.isolate {
        requests.push(Rule::new("among").go_to("refuse"));
    }
    for transport in [Transport::Udp, Transport::Tcp] {
        requests.push(Rule::new("services").port(transport, DNS).go_to("questions"));
        requests.push(Rule::new("output").towards_customers(only).source_port(transport, DNS).jump("answers"));
    }
    requests.extend(dns());
    for port in [DHCP_SERVER, NTP, DHCP6_SERVER] {
        requests.push(Rule::new("services").port(Transport::Udp, port).accept());
    }
    for port in [Some(config.portal_port), config.https_port].into_iter().flatten() {
        requests.push(Rule::new("services").port(Transport::Tcp, port).accept());
    }
    for (transport, types) in [(Transport::Icmp, ICMP4.as_slice()), (Transport::Icmp6, ICMP6.as_slice())] {
        for (first, last) in types {
            requests.push(Rule::new("services").icmp(transport, *first, *last).accept());
        }
    }
    requests.push(Rule::new("services").go_to("refuse"));
    if known == Known::All {
        requests.push(Rule::new("prerouting").by_customers(only).sender_in(Set::Paid, false).jump("captive"));
    }
    requests.extend([
        Rule::new("captive").port(Transport::Udp, DNS).redirect(None),
        Rule::new("captive").port(Transport::Tcp, DNS).redirect(None),
        Rule::new("captive").address_in(Side::Destination, Set::Garden4).back(),
        Rule::new("captive").address_in(Side::Destination, Set::Garden6).back(),
        Rule::new("captive").port(Transport::Tcp, HTTP).redirect(Some(config.portal_port)),
    ]);
    Uncommented { requests, first }
}

/// What is asked of the router's DNS and answered by it.
fn dns() -> Vec<Request> {
    vec![
        Rule::new("questions").sender_in(Set::Paid, true).jump("payers"),
        // A copy, perhaps: it asks as who has not paid.
        Rule::new("payers").pair_in(Set::Held4).back(),
        Rule::new("payers").accept(),
        Rule::new("questions").sender_beyond(Set::Asking, QUESTIONS).silently_drop(),
        // Not in there: the set was full. It is nobody's gain, and nobody is locked out.
        Rule::new("questions").sender_in(Set::Asking, false).beyond(CROWD).silently_drop(),
        Rule::new("questions").pair_in(Set::AskingFrom4).accept(),
        Rule::new("questions").pair_in(Set::AskingFrom6).accept(),
        Rule::new("questions").go_to("newcomers"),
        Rule::new("newcomers").sender_beyond(Set::AskingAnew, NEWCOMERS).silently_drop(),
        Rule::new("newcomers").pair_noted(Set::AskingFrom4).accept(),
        Rule::new("newcomers").pair_noted(Set::AskingFrom6).accept(),
        Rule::new("newcomers").beyond(CROWD).silently_drop(),
        Rule::new("newcomers").accept(),
        Rule::new("answers").address_in(Side::Destination, Set::DownQuota4).back(),
        Rule::new("answers").address_in(Side::Destination, Set::DownQuota6).back(),
        Rule::new("answers").destination_beyond(Set::Answered4, ANSWERS).silently_drop(),
        Rule::new("answers").destination_beyond(Set::Answered6, ANSWERS).silently_drop(),
    ]
}

fn interface_key(name: &str) -> InterfaceName {
    let mut key = [0; 16];
    // The last byte stays zero: Linux's names have at most 15 (IFNAMSIZ).
    key.iter_mut().take(15).zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    key
}

fn fingerprint(requests: &[Request]) -> String {
    let mut bytes = Context::new(&SHA256);
    for request in requests {
        bytes.update(&request.kind.to_be_bytes());
        bytes.update(&request.flags.to_be_bytes());
        bytes.update(&request.attributes);
    }
    bytes.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lan: &[&str], portal_port: u16) -> GateConfig {
        GateConfig {
            lan: lan.iter().map(|name| (*name).to_owned()).collect(),
            wan: "wan".into(),
            portal_port,
            https_port: None,
            isolate: true,
            learn: true,
            whole: Whole::default(),
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_the_config() {
        let first = rules_comment(&config(&["br-lan"], 8088));
        assert_eq!(first, rules_comment(&config(&["br-lan", "br-lan"], 8088)));
        for other in [config(&["br-lan"], 8089), config(&["br-lan", "wlan1"], 8088), config(&[], 8088)] {
            assert_ne!(first, rules_comment(&other));
        }
        assert_ne!(first, rules_comment(&GateConfig { https_port: Some(8443), ..config(&["br-lan"], 8088) }));
    }

    #[test]
    fn one_rule_has_the_comment_whichever_rules_they_are() {
        let config = config(&["br-lan"], 8088);
        for whole in [Whole::Newer, Whole::Older, Whole::No] {
            let config = GateConfig { whole, ..config.clone() };
            for (rules, comment) in [(rules(&config), rules_comment(&config)), (rules_meanwhile(&config), UNFINISHED.to_owned())] {
                let commented =
                    Rule::new("forward").comment(Some(&comment)).towards_customers(Some(&interface_key("br-lan"))).jump("downward");
                assert_eq!(rules.iter().filter(|rule| **rule == commented).count(), 1, "{whole:?}: {comment}");
            }
        }
        let older = GateConfig { whole: Whole::Older, ..config.clone() };
        assert_eq!(rules_comment(&older), rules_comment(&config), "not found out yet");
    }

    #[test]
    fn an_interface_s_name_is_padded_and_never_longer_than_the_kernel_s() {
        assert_eq!(&interface_key("br-lan"), b"br-lan\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&interface_key("an-interface-name-too-long"), b"an-interface-na\0");
    }
}
