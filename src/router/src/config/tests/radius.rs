//! The radius section: all that it may have, and every wrong value of it.

use super::*;

/// What a radius section may have besides what the contract's example shows.
pub(super) const MORE_RADIUS: &str = "	list server 'radsec://radius.example.org'
	list accounting 'radsec://[2001:db8::1]:2084'
	option method 'mschapv2'
	option require_message_authenticator '1'
	list old_server '192.0.2.10'
	option station_id 'aa:bb:cc:dd:ee:ff'
	option called_station_id 'kibera'
	option ssid 'Lango'
	option nas_ip '192.0.2.7'
	option mac_login '1'
	option roaming '1'
	option location_id 'isocc=ke,cc=254,ac=20,network=lango'
	option location_name 'Lango,Kibera'
	option ca '/etc/lango/radius-ca.pem'
	option cert '/etc/lango/radius.pem'
	option key '/etc/lango/radius-key.pem'
";

/// The example with all that a radius section may have.
fn with_radius() -> String {
    full().replace("	option coa_port '3799'\n", &format!("	option coa_port '3799'\n{MORE_RADIUS}"))
}

#[test]
fn all_of_a_radius_section() {
    let config = read(&with_radius());
    let radius = config.radius.as_ref().unwrap();
    let shown = |servers: &[values::RadiusServer]| servers.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&radius.servers), ["192.0.2.10:1812", "radsec://radius.example.org:2083"]);
    assert_eq!(shown(&radius.accounting), ["192.0.2.10:1813", "radsec://[2001:db8::1]:2084"]);
    assert_eq!((radius.method, radius.require_message_authenticator), (Method::MsChapV2, true));
    assert_eq!((radius.old_servers.concat().as_str(), radius.nas_ip), ("192.0.2.10", "192.0.2.7".parse().ok()));
    assert_eq!((radius.called_station_id.as_deref(), radius.ssid.as_deref()), (Some("kibera"), Some("Lango")));
    assert_eq!(
        (radius.location_id.as_deref(), radius.location_name.as_deref()),
        (Some("isocc=ke,cc=254,ac=20,network=lango"), Some("Lango,Kibera"))
    );
    assert_eq!((radius.ca.is_some(), radius.own.is_some()), (true, true));
    let station_id = StationFormat { separator: Some(':'), capitals: false };
    let rules = RadiusSettings { accounting: true, interim: Seconds(300), mac_login: true, roaming: true, station_id };
    assert_eq!((&radius.rules, config.settings().radius.as_ref()), (&rules, Some(&rules)));

    let tls = read(&format!("{SMALL}config radius\nlist server radsec://radius.lan\n"));
    assert_eq!(tls.radius.unwrap().secret.reveal(), "", "over TLS it is the RFC's");
}

#[test]
fn every_wrong_value_of_a_radius_section() {
    for (line, instead, said) in [
        (
            "list server 'radsec://radius.example.org'",
            "list server 'radsec://'",
            "27: 'server' is \"radsec://\"; it must be HOST:PORT, as 192.0.2.10:1812 or [2001:db8::10]:1812, or radsec://HOST:PORT",
        ),
        ("method 'mschapv2'", "method 'eap'", "29: 'method' is \"eap\"; it must be 'pap', 'chap' or 'mschapv2'"),
        (
            "require_message_authenticator '1'",
            "require_message_authenticator 'yes'",
            "30: 'require_message_authenticator' is \"yes\"; it must be '1' (yes) or '0' (no)",
        ),
        (
            "old_server '192.0.2.10'",
            "old_server '192.0.2.10:1812'",
            "31: 'old_server' is \"192.0.2.10:1812\"; it must be a server's host as in 'server', without its port",
        ),
        (
            "old_server '192.0.2.10'",
            "old_server '192.0.2.11'",
            "31: 'old_server' names 192.0.2.11, which is none of the servers; write it as in 'server', without the port",
        ),
        (
            "station_id 'aa:bb:cc:dd:ee:ff'",
            "station_id 'dashes'",
            "32: 'station_id' is \"dashes\"; it must be an example: AA-BB-CC-DD-EE-FF, AA:BB:CC:DD:EE:FF or AABBCCDDEEFF, or the same in small letters",
        ),
        ("called_station_id 'kibera'", "called_station_id ''", "33: 'called_station_id' is empty; give it a value, or take the line out"),
        (
            "ssid 'Lango'",
            "ssid 'a name of more than thirty-two bytes'",
            "34: 'ssid' is \"a name of more than thirty-two bytes\"; it must be a network's name of at most 32 bytes",
        ),
        ("nas_ip '192.0.2.7'", "nas_ip 'kibera'", "35: 'nas_ip' is \"kibera\"; it must be an IP address, as 192.0.2.7"),
        ("mac_login '1'", "mac_login 'on'", "36: 'mac_login' is \"on\"; it must be '1' (yes) or '0' (no)"),
        ("roaming '1'", "roaming 'on'", "37: 'roaming' is \"on\"; it must be '1' (yes) or '0' (no)"),
        (
            "location_id 'isocc=ke,cc=254,ac=20,network=lango'",
            "location_id ''",
            "38: 'location_id' is empty; give it a value, or take the line out",
        ),
        ("location_name 'Lango,Kibera'", "location_name ''", "39: 'location_name' is empty; give it a value, or take the line out"),
        ("ca '/etc/lango/radius-ca.pem'", "ca 'ca.pem'", "40: 'ca' is \"ca.pem\"; it must be a path from the root on, as /etc/lango/store"),
        ("option cert '/etc/lango/radius.pem'", "", "42: 'key' is of no use without 'cert'; add: option cert '/etc/lango/cert.pem'"),
        ("option key '/etc/lango/radius-key.pem'", "", "41: 'cert' is of no use without 'key'; add: option key '/etc/lango/key.pem'"),
    ] {
        let text = with_radius();
        assert_eq!(text.matches(line).count(), 1, "{line}");
        assert_eq!(mistakes(&text.replace(line, instead)), [format!("lango:{said}")], "{instead}");
    }
    let clear = with_radius().replace("	list server 'radsec://radius.example.org'\n	list accounting 'radsec://[2001:db8::1]:2084'\n", "");
    let right = "write the server as radsec://HOST:PORT, or take the option out";
    let expected =
        [(38, "ca"), (39, "cert"), (40, "key")].map(|(line, name)| format!("lango:{line}: '{name}' has no use without RadSec; {right}"));
    assert_eq!(mistakes(&clear), expected);
}
