//! What dnsmasq finds in its folder: the portal's name, the walled garden, and where to ask over HTTPS.

use crate::both;
use crate::common::{run, text};

const NAME_LINES: &str = "interface-name=portal.lan,br-lan/4\nlocal=/portal.lan/\n";
const GARDEN_LINE: &str = "nftset=/example.com/4#inet#lango#garden4,6#inet#lango#garden6\n";

#[test]
fn dnsmasq_finds_the_portals_name_and_the_garden_where_it_looks() {
    for router in both() {
        router.sh("/etc/init.d/lango boot");
        // cfg01411c is what the real uci calls the first section.
        for folder in ["tmp/dnsmasq.d", "tmp/dnsmasq.cfg01411c.d"] {
            assert_eq!(router.get(&format!("{folder}/lango.conf")), format!("{NAME_LINES}{GARDEN_LINE}"), "{folder}");
        }
        run("dnsmasq", &["--test", "--conf-file=/dev/null", &format!("--conf-dir={}", text(&router.path("tmp/dnsmasq.d")))]);
        assert!(!router.calls().iter().any(|call| call.starts_with("dnsmasq")), "it does not run yet: nothing is restarted");

        router.put("running/dnsmasq", "");
        router.sh("/etc/init.d/lango reload");
        assert!(!router.calls().iter().any(|call| call.starts_with("dnsmasq")), "nothing changed");
        router.put("garden", "");
        router.sh("uci add_list lango.main.lan=br-cafe; uci set lango.main.portal_host=wifi.example.org; uci commit lango; /etc/init.d/lango reload");
        let lines = "interface-name=wifi.example.org,br-lan/4\ninterface-name=wifi.example.org,br-cafe/4\nlocal=/wifi.example.org/\n";
        assert_eq!(router.get("tmp/dnsmasq.d/lango.conf"), lines);
        assert_eq!(router.calls().iter().filter(|call| *call == "dnsmasq restart").count(), 1);
    }
}

#[test]
fn dnsmasq_tells_phones_where_to_ask_over_https_once_there_is_a_certificate() {
    const PLACE: &str = "tmp/dnsmasq.d/lango.conf";
    for router in both() {
        router.sh("uci set lango.https=https; uci set lango.https.name=kibera-7.hs.example.org; uci add_list lango.main.lan=br-cafe; uci commit lango");
        let name = NAME_LINES.replace("local=", "interface-name=portal.lan,br-cafe/4\nlocal=");
        router.sh("/etc/init.d/lango boot");
        assert_eq!(router.get(PLACE), format!("{name}{GARDEN_LINE}"), "without a certificate phones would find nobody there");
        router.put("etc/lango/https.pem", "-----BEGIN CERTIFICATE-----\n");
        router.put("running/lango", "");
        router.put("running/dnsmasq", "");
        router.calls();
        router.sh("/etc/init.d/lango reload");
        let https: String = ["br-lan", "br-cafe"]
            .map(|lan| {
                format!(
                    "interface-name=kibera-7.hs.example.org,{lan}/4\ndhcp-option=tag:{lan},114,https://kibera-7.hs.example.org:8443/captive-portal/api\n"
                )
            })
            .concat();
        assert_eq!(router.get(PLACE), format!("{name}{https}local=/kibera-7.hs.example.org/\n{GARDEN_LINE}"));
        assert!(router.calls().contains(&"dnsmasq restart".to_owned()));
        run("dnsmasq", &["--test", "--conf-file=/dev/null", &format!("--conf-dir={}", text(&router.path("tmp/dnsmasq.d")))]);
        router.sh("uci set lango.https.port=9443; uci set lango.https.cert=/etc/lango/own.pem; uci commit lango; /etc/init.d/lango reload");
        assert!(!router.get(PLACE).contains("114"));
        router.put("etc/lango/own.pem", "-----BEGIN CERTIFICATE-----\n");
        router.sh("/etc/init.d/lango reload");
        assert!(router.get(PLACE).contains(",114,https://kibera-7.hs.example.org:9443/captive-portal/api\n"));
    }
}

#[test]
fn a_dnsmasq_without_nftset_gets_no_line_that_it_would_not_start_with() {
    for router in both() {
        router.put("dnsmasq-version", "Dnsmasq version 2.90\nCompile time options: IPv6 no-DBus no-ipset no-nftset\n");
        router.sh("uci set dhcp.@dnsmasq[0].confdir='/tmp/own,*.conf'; uci commit dhcp; /etc/init.d/lango boot");
        assert_eq!(router.get("tmp/own/lango.conf"), NAME_LINES);
        assert!(!router.path("tmp/dnsmasq.d").exists());
    }
}

#[test]
fn a_configuration_with_mistakes_leaves_dnsmasq_as_it_is() {
    for router in both() {
        router.sh("/etc/init.d/lango boot");
        router.sh("rm /garden; uci set lango.main.portal_host=other.lan; uci commit lango; /etc/init.d/lango reload || true");
        assert_eq!(router.get("tmp/dnsmasq.d/lango.conf"), format!("{NAME_LINES}{GARDEN_LINE}"));
    }
}
