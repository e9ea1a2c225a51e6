//! What is taken, what is refused, and in which words.

mod documents;
mod portal;
mod radius;

use super::settings::{Placed, Portal, Support};
use super::*;
use crate::radius::request::Method;
use lango_core::package::Limits;
use lango_core::radius::{RadiusSettings, StationFormat};
use lango_core::settings::Outage;
use lango_core::units::{Bytes, Kbps, Millis, Seconds, Shillings};
use proptest::prelude::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Every section and every option, as the documentation's example shows them.
fn full() -> String {
    format!(
        "config gateway 'main'
	option name 'kibera-7'               # this router's name in the fleet
	option lan 'br-lan'                  # the customers' interface
	option wan 'wan'                     # the way out
	option portal_port '8088'            # plain HTTP portal; port 80 of captive devices is redirected to it
	option portal_host 'portal.lan'      # the name that the portal's pages use
	option store '/etc/lango/store'      # the sled database
	option control '/var/run/lango.sock'
	option leases '/tmp/dhcp.leases'     # dnsmasq's lease file
	option outage 'pause'                # 'pause': paid time stands still while the router is off; 'run': it goes on
	list allow 'safaricom.co.ke'         # walled garden: hosts a captive device may reach

config relay 'relay'
	option broker 'mqtts://mqtt.example.org:8883'
	option username 'kibera-7'
	option password '…'
	option ca '/etc/lango/ca.pem'        # optional; the system's roots otherwise
	option relay_key '{KEY}'

config radius 'radius'                       # optional section; absent: accounts are local
	list server '192.0.2.10:1812'
	list accounting '192.0.2.10:1813'
	option secret '…'
	option nas_identifier 'kibera-7'
	option interim '300'
	option coa_port '3799'

config package 'hour'
	option label '1 hour'
	option price '10'                    # whole KSh
	option minutes '60'                  # absent: no time limit
	option megabytes '500'               # absent: no data limit; up and down together; 1 MB = 1 000 000 bytes
	option down_kbps '5000'              # absent: no speed limit
	option up_kbps '2000'
	option devices '1'                   # devices online at once on one account

config https 'https'
	option name 'kibera-7.hs.example.org'
	option port '8443'
	option cert '/etc/lango/https.pem'
	option key '/etc/lango/https.key'
"
    )
}

const RELEASE_KEY: &str = "RWQXGZDXUyQBO8wVtQLOLc8USe0xvRw9CvwdBDhs3iUMaWUzXmZhUGa6";

#[test]
fn updates() {
    let section = |options: &str| full() + &format!("config update 'update'\n\tlist key '{RELEASE_KEY}'\n{options}");
    let least = read(&section("")).update.unwrap();
    assert_eq!((least.keys.len(), least.images, least.trial, least.hours, least.board), (1, false, Seconds(600), None, None));
    let most = section(
        "\toption board 'linksys,ea8300'\n\toption images '1'\n\toption hours '2-5'\n\toption ca '/etc/ca.pem'\n\toption trial '1'\n",
    );
    let most = read(&most).update.unwrap();
    assert_eq!((most.board.as_deref(), most.images, most.trial, most.hours.is_some()), (Some("linksys,ea8300"), true, Seconds(60), true));
    assert_eq!(read(&full()).update, None);
    for (options, said) in [
        ("\tlist key 'RWQ='\n", "'key' is \"RWQ=\"; it must be the second line of the file that"),
        ("\toption board 'a b'\n", "it must be a board's name"),
        ("\toption hours '5'\n", "it must be two hours of the day in Nairobi's time"),
        ("\toption trial '0'\n", "it must be minutes from 1 to 60"),
        ("\toption images 'yes'\n", "it must be '1' (yes) or '0' (no)"),
        ("\toption hour '2-5'\n", "did you mean 'hours'?"),
    ] {
        let said_of = mistakes(&section(options));
        assert!(said_of.len() == 1 && said_of[0].contains(said), "{options}: {said_of:?}");
    }
    let keyless = mistakes(&section("").replace("list key", "list keys"));
    assert!(keyless.iter().any(|mistake| mistake.contains("update 'update' has no 'key'")), "{keyless:?}");
    let alone = SMALL.to_owned() + &format!("config update\n\tlist key '{RELEASE_KEY}'\n");
    assert!(mistakes(&alone)[0].contains("no update comes without a relay"), "{:?}", mistakes(&alone));
}

/// The least that works.
const SMALL: &str = "config gateway\n\toption name r1\n\toption lan br-lan\n\toption wan wan\nconfig package day\n\toption label '1 day'\n\toption price 50\n\toption minutes 1440\n";

fn read(text: &str) -> Config {
    parse("lango", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{}", lines(&mistakes)))
}

fn mistakes(text: &str) -> Vec<String> {
    parse("lango", text.as_bytes()).expect_err("this config should have been refused").iter().map(ToString::to_string).collect()
}

#[test]
fn the_contract_s_example_with_every_option() {
    let config = read(&full());
    let gateway = &config.gateway;
    assert_eq!(gateway.name.as_str(), "kibera-7");
    assert_eq!(gateway.lan.iter().map(ToString::to_string).collect::<Vec<_>>(), ["br-lan"]);
    assert_eq!((gateway.wan.as_str(), gateway.portal_port, gateway.portal_host.as_str()), ("wan", 8088, "portal.lan"));
    assert_eq!((gateway.store.to_str(), gateway.control.to_str()), (Some("/etc/lango/store"), Some("/var/run/lango.sock")));
    assert_eq!((gateway.leases.to_str(), gateway.outage), (Some("/tmp/dhcp.leases"), Outage::Pause));
    assert_eq!(gateway.allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["safaricom.co.ke"]);

    let relay = config.relay.as_ref().unwrap();
    assert_eq!((relay.broker.to_string().as_str(), relay.broker.tls), ("mqtts://mqtt.example.org:8883", true));
    assert_eq!((relay.username.as_str(), relay.password.reveal()), ("kibera-7", "…"));
    assert_eq!((relay.ca.as_deref(), relay.relay_key[31]), (Some(Path::new("/etc/lango/ca.pem")), 31));

    let radius = config.radius.as_ref().unwrap();
    assert_eq!((radius.servers[0].to_string(), radius.accounting[0].to_string()), ("192.0.2.10:1812".into(), "192.0.2.10:1813".into()));
    assert_eq!((radius.nas_identifier.as_str(), radius.rules.interim, radius.coa_port), ("kibera-7", Seconds(300), Some(3799)));

    let hour = &config.packages[0];
    assert_eq!((hour.id.as_str(), hour.label.as_str(), hour.price), ("hour", "1 hour", Shillings(10)));
    let limits = Limits {
        time: Some(Millis(3_600_000)),
        data: Some(Bytes(500_000_000)),
        down: Some(Kbps(5_000)),
        up: Some(Kbps(2_000)),
        devices: 1,
    };
    assert_eq!(hour.limits, limits);

    let settings = config.settings();
    assert_eq!((settings.name.as_str(), settings.relay, settings.packages.len()), ("kibera-7", true, 1));
    assert_eq!(settings.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(settings.end_notice, None);
    for (minutes, end_notice) in [("0", Millis(0)), ("10", Millis(600_000))] {
        let told = full().replace("option ca '/etc/lango/ca.pem'", &format!("option end_notice '{minutes}'"));
        assert_eq!(read(&told).settings().end_notice, Some(end_notice));
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read(SMALL);
    let given = read(&full());
    let same = |gateway: &Gateway| {
        let (store, control, leases) = (gateway.store.clone(), gateway.control.clone(), gateway.leases.clone());
        (gateway.portal_port, gateway.portal_host.clone(), store, control, leases, gateway.outage)
    };
    assert_eq!(same(&config.gateway), same(&given.gateway), "the example shows the defaults");
    assert!(config.gateway.isolate);
    assert_eq!((config.gateway.checkpoint, config.settings().checkpoint), (Seconds(60), lango_core::gateway::CHECKPOINT_EVERY));
    let rarely = read(&SMALL.replacen("option wan", "option checkpoint '600'\n\toption wan", 1));
    assert_eq!(rarely.settings().checkpoint, Millis(600_000));
    assert!(!read(&SMALL.replacen("option wan", "option isolate '0'\n\toption wan", 1)).gateway.isolate);
    assert_eq!((config.gateway.allow.len(), &config.relay, &config.radius), (0, &None, &None));
    assert_eq!(config.packages[0].limits, Limits { time: Some(Millis(86_400_000)), data: None, down: None, up: None, devices: 1 });
    assert!(!config.settings().relay);

    let radius = read(&format!("{SMALL}config radius\nlist server radius.lan\noption secret s\n")).radius.unwrap();
    assert_eq!((radius.servers[0].to_string().as_str(), radius.accounting.len()), ("radius.lan:1812", 0));
    assert_eq!((radius.nas_identifier.as_str(), radius.rules.interim, radius.coa_port), ("r1", Seconds(300), None));
    let plain =
        RadiusSettings { accounting: false, interim: Seconds(300), mac_login: false, roaming: false, station_id: StationFormat::default() };
    assert_eq!(radius.rules, plain);
    assert_eq!((radius.method, radius.require_message_authenticator, radius.nas_ip), (Method::Pap, true, None));
    assert_eq!((&radius.called_station_id, &radius.ssid, &radius.location_id, &radius.location_name), (&None, &None, &None, &None));
    assert_eq!((&radius.ca, &radius.own, radius.old_servers.len()), (&None, &None, 0));
}

#[test]
fn several_lans_and_packages_keep_their_order() {
    let config = read(&format!("{SMALL}config package b\noption label B\noption price 1\noption megabytes 1\nconfig package a\noption label A\noption price 1\noption minutes 1\n").replace("option lan br-lan", "list lan lan2\nlist lan lan1"));
    assert_eq!(config.packages.iter().map(|package| package.id.as_str()).collect::<Vec<_>>(), ["day", "b", "a"]);
    assert_eq!(config.gateway.lan.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["lan2", "lan1"]);
}

#[test]
fn a_router_whose_accounts_come_by_radius_may_sell_nothing_itself() {
    let gateway = "config gateway\noption name r\noption lan a\noption wan b\n";
    assert_eq!(
        mistakes(gateway),
        [
            "lango:1: nothing is sold: there is no package section; add a package section, or a radius section for accounts that are sold elsewhere"
        ]
    );
    assert!(read(&format!("{gateway}config radius\nlist server 192.0.2.1\noption secret s\n")).packages.is_empty());
}

#[test]
fn brokers() {
    let broker = |url: &str| {
        let relay = format!("{SMALL}config relay\noption broker '{url}'\noption username u\noption password p\noption relay_key {KEY}\n");
        parse("lango", relay.as_bytes()).map(|config| config.relay.unwrap().broker.to_string())
    };
    for (written, read) in [
        ("mqtt://broker.lan", "mqtt://broker.lan:1883"),
        ("mqtts://broker.lan", "mqtts://broker.lan:8883"),
        ("mqtts://Broker.LAN:443", "mqtts://broker.lan:443"),
        ("mqtt://10.0.0.1:1884", "mqtt://10.0.0.1:1884"),
        ("mqtt://[::1]", "mqtt://[::1]:1883"),
        ("mqtts://[2001:db8::1]:8884", "mqtts://[2001:db8::1]:8884"),
    ] {
        assert_eq!(broker(written).as_deref(), Ok(read));
    }
    for url in [
        "broker.lan",
        "http://broker.lan",
        "mqtt://",
        "mqtt://a b",
        "mqtts://h:0",
        "mqtts://h:65536",
        "mqtts://h:",
        "mqtts://h:8883/",
        "mqtt://[::1",
        "mqtt://[x]:1",
        "mqtt://::1",
        "mqtts://u:hunter2@h",
    ] {
        let mistakes = broker(url).expect_err(url);
        assert_eq!((mistakes.len(), mistakes[0].fault.line), (1, 10), "{url}");
        assert!(mistakes[0].to_string().contains("'broker' is not right (its value is not shown here)"), "{}", mistakes[0]);
    }
}

/// One line of the full example put in another's place: what `lango check` says then.
#[test]
fn every_wrong_value_is_told_with_what_would_be_right() {
    for (line, instead, said) in [
        (
            "name 'kibera-7'               #",
            "name 'kibera 7'#",
            "2: 'name' is \"kibera 7\"; it must be 1 to 63 letters, digits, '-' or '_'",
        ),
        ("lan 'br-lan'", "lan 'br/lan'", "3: 'lan' is \"br/lan\"; it must be a network interface's name, as br-lan (1 to 15 characters)"),
        (
            "lan 'br-lan'",
            "lan 'wan'",
            "4: 'wan' is the way out and a customers' interface at once; lan and wan must be different interfaces",
        ),
        (
            "wan 'wan'",
            "wan 'a-very-long-interface'",
            "4: 'wan' is \"a-very-long-interface\"; it must be a network interface's name, as br-lan (1 to 15 characters)",
        ),
        ("portal_port '8088'", "portal_port '0'", "5: 'portal_port' is \"0\"; it must be a port, 1 to 65535"),
        ("portal_port '8088'", "portal_port '+80'", "5: 'portal_port' is \"+80\"; it must be a port, 1 to 65535"),
        (
            "portal_host 'portal.lan'",
            "portal_host 'http://portal.lan'",
            "6: 'portal_host' is \"http://portal.lan\"; it must be a host's name or IPv4 address alone, as safaricom.co.ke: no http://, no port, no path, no *",
        ),
        ("store '/etc/lango/store'", "store 'store'", "7: 'store' is \"store\"; it must be a path from the root on, as /etc/lango/store"),
        (
            "control '/var/run/lango.sock'",
            "control 'sock'",
            "8: 'control' is \"sock\"; it must be a path from the root on of at most 107 bytes, as /var/run/lango.sock",
        ),
        ("leases '/tmp/dhcp.leases'", "leases 'x'", "9: 'leases' is \"x\"; it must be a path from the root on, as /etc/lango/store"),
        (
            "outage 'pause'",
            "outage 'stop'",
            "10: 'outage' is \"stop\"; it must be 'pause' (paid time stands still while the router is off) or 'run' (it goes on)",
        ),
        ("outage 'pause'", "checkpoint '5'", "10: 'checkpoint' is \"5\"; it must be whole seconds from 10 to 3600, in digits"),
        ("outage 'pause'", "isolate 'no'", "10: 'isolate' is \"no\"; it must be '1' (yes) or '0' (no)"),
        (
            "allow 'safaricom.co.ke'",
            "allow '*.co.ke'",
            "11: 'allow' is \"*.co.ke\"; it must be a host's name or IPv4 address alone, as safaricom.co.ke: no http://, no port, no path, no *",
        ),
        ("ca '/etc/lango/ca.pem'", "ca 'ca.pem'", "17: 'ca' is \"ca.pem\"; it must be a path from the root on, as /etc/lango/store"),
        (
            "ca '/etc/lango/ca.pem'",
            "end_notice '-1'",
            "17: 'end_notice' is \"-1\"; it must be minutes from 0 (at the end) to 1440, in digits",
        ),
        ("mqtts://mqtt", "mqtt://mqtt", "17: 'ca' has no use without TLS; write the broker as mqtts://mqtt.example.org, or take ca out"),
        (
            "server '192.0.2.10:1812'",
            "server '192.0.2.10:x'",
            "21: 'server' is \"192.0.2.10:x\"; it must be HOST:PORT, as 192.0.2.10:1812 or [2001:db8::10]:1812, or radsec://HOST:PORT",
        ),
        ("interim '300'", "interim '59'", "25: 'interim' is \"59\"; it must be seconds from 60 to 86400, in digits"),
        ("coa_port '3799'", "coa_port 'x'", "26: 'coa_port' is \"x\"; it must be a port, 1 to 65535"),
        (
            "config package 'hour'",
            "config package",
            "28: this package has no name; write config package 'hour': the name is the package's id",
        ),
        (
            "package 'hour'",
            "package 'an_hour_that_is_longer_than_an_hour'",
            "28: the package's name cannot be its id; it must be 1 to 32 letters, digits or '_'",
        ),
        ("label '1 hour'", "label '  '", "29: 'label' is \"  \"; it must be 1 to 40 characters that customers can read"),
        (
            "label '1 hour'",
            "label '12345678901234567890123456789012345678901'",
            "29: 'label' is \"12345678901234567890123456789012345678901\"; it must be 1 to 40 characters that customers can read",
        ),
        ("label '1 hour'", "label ''", "29: 'label' is empty; give it a value, or take the line out"),
        (
            "price '10'",
            "price '0'",
            "30: 'price' is \"0\"; it must be at least 1, as M-Pesa moves no less; to let somebody online for nothing, take vouchers of the package, or `lango grant`",
        ),
        ("price '10'", "price '500001'", "30: 'price' is \"500001\"; it must be whole shillings from 1 to 500000, in digits"),
        ("price '10'", "price '9.50'", "30: 'price' is \"9.50\"; it must be whole shillings from 1 to 500000, in digits"),
        ("minutes '60'", "minutes '0'", "31: 'minutes' is \"0\"; it must be whole minutes from 1 to 5256000 (ten years), in digits"),
        ("megabytes '500'", "megabytes '-1'", "32: 'megabytes' is \"-1\"; it must be whole megabytes from 1 to 1000000000, in digits"),
        ("down_kbps '5000'", "down_kbps '63'", "33: 'down_kbps' is \"63\"; it must be kilobits a second from 64 to 10000000, in digits"),
        ("up_kbps '2000'", "up_kbps '2M'", "34: 'up_kbps' is \"2M\"; it must be kilobits a second from 64 to 10000000, in digits"),
        ("devices '1'", "devices '17'", "35: 'devices' is \"17\"; it must be a number of devices from 1 to 16, in digits"),
        ("devices '1'", "device '1'", "35: package 'hour' has no option 'device'; did you mean 'devices'?"),
        (
            "option up_kbps",
            "option colour",
            "34: package 'hour' has no option 'colour'; known are devices, down_kbps, label, megabytes, minutes, price, up_kbps",
        ),
        ("option up_kbps '2000'", "option price '11'", "34: 'price' was set already in line 30; keep one of the two lines"),
        ("option up_kbps '2000'", "option price ''", "34: 'price' was set already in line 30; keep one of the two lines"),
        (
            "option up_kbps '2000'",
            "list price '11'",
            "34: 'price' has one value only, and this is a second one (line 30 has the first); keep one of them",
        ),
        ("config radius 'radius'", "config radios", "20: there is no section type 'radios'; did you mean 'radius'?"),
        (
            "config radius 'radius'",
            "config dhcp",
            "20: there is no section type 'dhcp'; known are gateway, relay, radius, https, portal, update, package",
        ),
        ("list allow 'safaricom.co.ke'", "list lan 'br-lan'", "11: 'br-lan' stands twice in lan; name each interface once"),
    ] {
        let text = full();
        assert_eq!(text.matches(line).count(), 1, "{line}");
        assert_eq!(mistakes(&text.replace(line, instead)), [format!("lango:{said}")], "{instead}");
    }
}

#[test]
fn what_must_be_there() {
    for (line, said) in [
        ("option name 'kibera-7'  ", "1: gateway 'main' has no 'name'; add: option name 'kibera-7'"),
        ("option lan", "1: gateway 'main' has no 'lan'; add: list lan 'br-lan'"),
        ("option wan", "1: gateway 'main' has no 'wan'; add: option wan 'wan'"),
        ("option broker", "13: relay 'relay' has no 'broker'; add: option broker 'mqtts://mqtt.example.org:8883'"),
        ("option username", "13: relay 'relay' has no 'username'; add: option username 'kibera-7'"),
        ("option password", "13: relay 'relay' has no 'password'; add: option password '…'"),
        ("option relay_key", "13: relay 'relay' has no 'relay_key'; add: option relay_key '…'"),
        ("list server", "20: radius 'radius' has no 'server'; add: list server '192.0.2.10:1812'"),
        ("option secret", "20: radius 'radius' has no 'secret'; add: option secret '…'"),
        ("option label", "28: package 'hour' has no 'label'; add: option label '1 hour'"),
        ("option price", "28: package 'hour' has no 'price'; add: option price '10'"),
    ] {
        let text = full();
        assert_eq!(text.matches(line).count(), 1, "{line}");
        assert_eq!(mistakes(&text.replace(line, &format!("# {line}"))), [format!("lango:{said}")]);
    }
    assert_eq!(mistakes(""), ["lango:1: there is no gateway section; add: config gateway 'main', with its name, lan and wan"]);
}

#[test]
fn all_mistakes_are_told_in_the_order_of_their_lines() {
    let text = "package network
config gateway 'main'
	option name 'a b'
	option lan br-lan 'x
	option vlan 3
config gateway 'other'
config packet 'hour'
config package 'day'
	option price ten
	option devices 0
";
    assert_eq!(
        mistakes(text),
        [
            "lango:1: this is another program's file, by its package line; write package 'lango', or take the line out",
            "lango:2: gateway 'main' has no 'lan'; add: list lan 'br-lan'",
            "lango:2: gateway 'main' has no 'wan'; add: option wan 'wan'",
            "lango:3: 'name' is \"a b\"; it must be 1 to 63 letters, digits, '-' or '_'",
            "lango:4: the quote ' is not closed on its line; put a second ' at the value's end",
            "lango:5: gateway 'main' has no option 'vlan'; did you mean 'lan'?",
            "lango:6: this is a second gateway section (line 2 has the first); keep one of them",
            "lango:7: there is no section type 'packet'; did you mean 'package'?",
            "lango:8: package 'day' has no 'label'; add: option label '1 hour'",
            "lango:9: 'price' is \"ten\"; it must be whole shillings from 1 to 500000, in digits",
            "lango:10: 'devices' is \"0\"; it must be a number of devices from 1 to 16, in digits",
        ]
    );
}

#[test]
fn a_syntax_fault_alone_refuses_the_file() {
    assert_eq!(
        mistakes(&format!("{SMALL}what\n")),
        ["lango:9: this line begins with an unknown word; it must begin with config, option or list, or with # for a comment"]
    );
}

#[test]
fn secrets_are_shown_nowhere() {
    let long = "hunter2".repeat(60);
    let text = full()
        .replace("option password '…'", &format!("option password '{long}'"))
        .replace("option secret '…'", &format!("option secret '{long}'"))
        .replace(KEY, "hunter2")
        .replace("mqtts://mqtt.example.org:8883", "mqtts://me:hunter2@mqtt.example.org");
    let said = mistakes(&text);
    assert_eq!(said.len(), 4, "{said:?}");
    for mistake in said {
        assert!(mistake.contains("(its value is not shown here)") && !mistake.contains("hunter2"), "{mistake}");
    }
    let unquoted = mistakes(&full().replace("password '…'", "password correct horse hunter2"));
    assert!(unquoted.iter().all(|mistake| !mistake.contains("hunter2")), "{unquoted:?}");

    let config =
        read(&full().replace("option password '…'", "option password hunter2").replace("option secret '…'", "option secret hunter2"));
    let debug = format!("{config:?}");
    assert!(debug.contains("Secret(***)") && !debug.contains("hunter2"), "{debug}");
}

#[test]
fn https_has_a_name_of_its_own_and_little_else() {
    let small = format!("{SMALL}config https\n\toption name Kibera-7.HS.example.org\n");
    let https = read(&small).https.unwrap();
    assert_eq!(
        (https.name.as_str(), https.port, https.url().as_str()),
        ("kibera-7.hs.example.org", 8443, "https://kibera-7.hs.example.org:8443/")
    );
    assert_eq!((https.cert, https.key), (PathBuf::from("/etc/lango/https.pem"), PathBuf::from("/etc/lango/https.key")));
    assert_eq!(read(&format!("{small}\toption port 443\n")).https.unwrap().url(), "https://kibera-7.hs.example.org/");
    assert_eq!(read(SMALL).https, None);
    let name = "as kibera-7.hs.example.org: no address, no https://, no port, no *";
    for (change, told) in [
        (("Kibera-7.HS.example.org", "192.0.2.1"), format!("lango:10: 'name' is \"192.0.2.1\"; it must be the DNS name that the certificate is for, {name}")),
        (("Kibera-7.HS.example.org", "kibera"), format!("lango:10: 'name' is \"kibera\"; it must be the DNS name that the certificate is for, {name}")),
        (("Kibera-7.HS.example.org", "*.example.org"), format!("lango:10: 'name' is \"*.example.org\"; it must be the DNS name that the certificate is for, {name}")),
        (("\toption name Kibera-7.HS.example.org\n", ""), "lango:9: https has no 'name'; add: option name 'kibera-7.hs.example.org'".to_owned()),
        (("org\n", "org\n\toption port 8088\n"), "lango:11: port 8088 is the plain portal's already; choose another `option port`, as 8443".to_owned()),
        (
            ("org\n", "org\n\toption key /etc/lango/https.pem\n"),
            "lango:11: 'cert' and 'key' are one file: the certificate goes to others, and the key to nobody; give certificate and key a file each".to_owned(),
        ),
    ] {
        assert_eq!(mistakes(&small.replace(change.0, change.1)), [told]);
    }
}

#[test]
fn a_long_value_is_cut_in_its_message() {
    let said = mistakes(&SMALL.replace("50", &"9".repeat(5_000)));
    assert!(said[0].len() < 200, "{}", said[0]);
}
