//! The package's scripts under real shells, with the real `uci`: first boot, service, hotplug, sysupgrade, upgrade and removal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod common;
#[path = "common/router.rs"]
mod router;

use common::{repository, run, text};
use lango_images::board::Board;
use lango_images::provision::{self, Provision};
use router::{Router, SHELLS};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const FIRST_BOOT: &str = ". /etc/uci-defaults/90-lango";

fn boards() -> Vec<Board> {
    Board::read_all(&repository().join("board")).unwrap()
}

fn board(id: &str) -> Board {
    boards().into_iter().find(|board| board.id == id).unwrap()
}

/// For tests that the model does not matter to.
fn both() -> impl Iterator<Item = Router> {
    let board = board("ax3000t");
    SHELLS.into_iter().map(move |shell| Router::new(shell, &board))
}

/// The program itself reads what the scripts wrote.
fn assert_in_order(router: &Router) {
    let (said, code) = lango::config::check(&router.path("etc/config/lango"));
    assert!(code == 0 && said.iter().all(|line| line.contains("in order")), "{said:?}");
}

#[test]
fn the_first_boot_makes_a_hotspot_of_every_board() {
    for board in boards() {
        for shell in SHELLS {
            let router = Router::new(shell, &board);
            router.sh(FIRST_BOOT);
            let wan = match board.interfaces.wan.as_slice() {
                [] => "wan",
                [one] => one.as_str(),
                _ => "br-wan",
            };
            let told = |option: &str| router.uci(&format!("lango.main.{option}"));
            assert_eq!(
                (told("name").as_str(), told("lan").as_str(), told("wan").as_str()),
                ("lango-a1b2c3", "br-lan", wan),
                "{} {shell}",
                board.name
            );
            assert_eq!(router.calls().iter().any(|call| call.contains("there is no way out")), board.interfaces.wan.is_empty());
            assert_eq!(router.uci("dhcp.lan.dhcp_option"), "42,0.0.0.0");
            assert_eq!(router.uci("system.ntp.enable_server"), "1");
            assert_eq!(router.uci("firewall.@defaults[0].flow_offloading"), "0");
            assert_in_order(&router);
            assert!(router.get("etc/config/lango").starts_with("# Lango's configuration."), "its comments are still there");
            for (path, mode) in [("etc/config/lango", 0o600), ("etc/lango", 0o700)] {
                assert_eq!(fs::metadata(router.path(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
            }
        }
    }
}

#[test]
fn what_an_image_is_made_with_comes_first() {
    let board = board("rpi-4");
    let printed = "config relay 'relay'\n\toption broker 'mqtts://mqtt.example.org:8883'\n\toption username 'kibera-7'\n\toption password 's3cret'\n\
        \toption relay_key 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='\n";
    for shell in SHELLS {
        let router = Router::new(shell, &board);
        let template = router.get("etc/config/lango");
        let provision = Provision {
            relay: Some(printed),
            ssh_keys: Some("ssh-ed25519 AAAA operator\n"),
            manage_from: Some("192.0.2.0/24"),
            ..Provision::default()
        };
        let files = provision::files(&board, &template, &provision).unwrap();
        for (path, file) in files.files() {
            router.put(path, std::str::from_utf8(&file.content).unwrap());
        }
        router.sh("for script in /etc/uci-defaults/*; do ( . $script ) || exit 1; done");
        let (name, wan) = (router.uci("lango.main.name"), router.uci("lango.main.wan"));
        assert_eq!((name.as_str(), wan.as_str()), ("kibera-7", "eth1"), "the adapter is the way out");
        assert_eq!(
            (router.uci("network.wan.device"), router.uci("system.@system[0].hostname")),
            ("eth1".to_owned(), "kibera-7".to_owned())
        );
        assert_eq!(router.uci("lango.relay.password"), "s3cret");
        let way_in = ["src", "src_ip", "proto", "dest_port", "target"].map(|option| router.uci(&format!("firewall.lango_manage.{option}")));
        assert_eq!(way_in, ["wan", "192.0.2.0/24", "tcp", "22", "ACCEPT"]);
        let passwords = ["PasswordAuth", "RootPasswordAuth"].map(|option| router.uci(&format!("dropbear.@dropbear[0].{option}")));
        assert_eq!(passwords, ["off", "off"], "who comes from there without the key stays out");
        assert_eq!((router.uci("wireless.radio0.country"), router.uci("wireless.radio1.country")), ("KE".to_owned(), "KE".to_owned()));
        assert_in_order(&router);
        let before = router.configuration();
        router.sh("for script in /etc/uci-defaults/*; do ( . $script ) || exit 1; done");
        assert_eq!(router.configuration(), before);
    }
}

#[test]
fn a_second_boot_and_a_sysupgrade_change_nothing_any_more() {
    for router in both() {
        router.sh(FIRST_BOOT);
        let (before, marker) = (router.configuration(), router.get("etc/lango/first-boot"));
        router.sh(FIRST_BOOT);
        assert_eq!(router.configuration(), before);
        assert_eq!(router.get("etc/lango/first-boot"), marker);
        // What keeps it over a sysupgrade, as that reads it.
        let kept = router.sh("find $(sed -ne '/^[[:space:]]*$/d; /^#/d; p' /lib/upgrade/keep.d/*) -type f");
        assert!(kept.contains("/etc/lango/first-boot"), "{kept}");

        // The power went before it was done: what had been changed by then is still remembered.
        fs::rename(router.path("etc/lango/first-boot"), router.path("etc/lango/first-boot.new")).unwrap();
        router.sh(FIRST_BOOT);
        assert_eq!((router.configuration(), router.get("etc/lango/first-boot")), (before.clone(), marker));

        // The operator's own way of it, and then a sysupgrade, which has the scripts run again.
        router.sh("uci del_list dhcp.lan.dhcp_option='42,0.0.0.0'; uci set firewall.@defaults[0].flow_offloading=1; uci set system.ntp.enable_server=0");
        router.sh("uci set lango.main.name=lango; uci set lango.main.wan=wan; uci set lango.main.portal_host=wifi.example.org; uci commit");
        let own = router.configuration();
        assert_ne!(own, before);
        router.sh(FIRST_BOOT);
        assert_eq!(router.configuration(), own, "it stays as the operator made it");
    }
}

#[test]
fn what_somebody_wrote_before_the_first_boot_stays() {
    for router in both() {
        router.sh("uci set lango.main.name=kibera-7; uci set lango.main.lan=br-guest; uci set lango.main.wan=wwan0; uci commit lango");
        router.sh("uci add_list dhcp.lan.dhcp_option='42,192.0.2.1'; uci set firewall.@defaults[0].flow_offloading=0; uci commit");
        router.sh(FIRST_BOOT);
        let told = ["name", "lan", "wan"].map(|option| router.uci(&format!("lango.main.{option}")));
        assert_eq!(told, ["kibera-7", "br-guest", "wwan0"]);
        assert_eq!(router.uci("dhcp.lan.dhcp_option"), "42,192.0.2.1");
        assert_eq!(router.get("etc/lango/first-boot"), "ntp_server\n", "only what was changed is remembered");
    }
}

#[test]
fn the_way_out_is_what_the_configuration_or_netifd_says() {
    let cases: [(&str, &str, &str); 7] = [
        ("uci set network.wan.proto=pppoe", "", "pppoe-wan"),
        ("uci set network.wan.proto=static", "", "wan"),
        ("uci set network.wan.device=eth0.2", "", "eth0.2"),
        ("uci set network.wan.proto=qmi", "wwan0", "wwan0"),
        ("uci set network.wan.proto=qmi", "", "wan"),
        ("uci set network.wan.device=\"a'b; reboot\"", "", "wan"),
        ("uci set network.wan.device=sixteen_letters_", "", "wan"),
    ];
    for (setting, netifd, expected) in cases {
        for router in both() {
            router.sh(&format!("{setting}; uci commit network"));
            if !netifd.is_empty() {
                router.put("netifd/network.interface.wan", netifd);
            }
            router.sh(FIRST_BOOT);
            assert_eq!(router.uci("lango.main.wan"), expected, "{setting}");
        }
    }
}

fn wifi(router: &Router, radio: u8) -> [String; 5] {
    let [ssid, encryption, isolate, network] =
        ["ssid", "encryption", "isolate", "network"].map(|option| router.uci(&format!("wireless.default_radio{radio}.{option}")));
    [ssid, encryption, isolate, network, router.uci(&format!("wireless.radio{radio}.disabled"))]
}

#[test]
fn radios_that_nobody_has_touched_are_an_open_network_of_customers() {
    const OPEN: [&str; 5] = ["kibera-7", "none", "1", "lan", "0"];
    const UNTOUCHED: [&str; 5] = ["OpenWrt", "none", "", "lan", "1"];
    for router in both() {
        router.sh("uci set lango.main.name=kibera-7; uci commit lango");
        // One has a password; the other is as OpenWrt makes it.
        router.sh("uci set wireless.default_radio1.encryption=psk2; uci set wireless.default_radio1.key=mama-achieng; uci commit wireless");
        router.sh(FIRST_BOOT);
        assert_eq!(wifi(&router, 0), OPEN);
        assert_eq!(wifi(&router, 1), ["OpenWrt", "psk2", "", "lan", "1"]);
        assert!(router.get("etc/lango/first-boot").ends_with("\nwifi default_radio0\n"));
        // Behind it there will be no gate.
        script(&router, "prerm", "PKG_UPGRADE=0");
        assert!(wifi(&router, 0) == UNTOUCHED && router.calls_contain("wifi reload"));
    }
    for (done, expected) in [
        // The portal's name is what people look for, where it is short enough.
        ("uci set lango.portal=portal; uci set lango.portal.name='Mama Achieng Wi-Fi'", ["Mama Achieng Wi-Fi", "none", "1", "lan", "0"]),
        (
            "uci set lango.portal=portal; uci set lango.portal.name='Mkahawa wa Mama Achieng na Dada Zake'; uci set lango.main.name=kibera-7",
            OPEN,
        ),
        // Switched on by somebody, or named: it is theirs.
        ("uci delete wireless.radio0.disabled", ["OpenWrt", "none", "", "lan", ""]),
        ("uci set wireless.default_radio0.ssid=Home", ["Home", "none", "", "lan", "1"]),
        ("uci set wireless.default_radio0.network=guest", ["OpenWrt", "none", "", "guest", "1"]),
        // No gate stands there.
        ("uci set lango.main.lan=br-guest", UNTOUCHED),
        // Installed by hand, it would be open until the next boot.
        ("export LANGO_INSTALLING=1", UNTOUCHED),
    ] {
        for router in both() {
            router.sh(&format!("{done}; uci commit; {FIRST_BOOT}"));
            assert_eq!(wifi(&router, 0), expected, "{done}");
        }
    }
    for router in both() {
        router.sh(&format!("rm /etc/config/wireless; {FIRST_BOOT}"));
        assert!(!router.path("etc/config/wireless").exists(), "a router without radios");
    }
}

#[test]
fn a_host_name_of_its_own_is_the_routers_name() {
    for (host, mac, expected) in [
        ("kibera-7", "94:83:c4:a1:b2:c3", "kibera-7"),
        ("OpenWrt", "94:83:c4:a1:b2:c3", "lango-a1b2c3"),
        ("a.b", "94:83:c4:a1:b2:c3", "lango-a1b2c3"),
        ("OpenWrt", "00:00:00:00:00:00", "lango"),
    ] {
        for router in both() {
            router.sh(&format!("uci set system.@system[0].hostname='{host}'; uci commit system"));
            router.put("sys/class/net/eth0/address", &format!("{mac}\n"));
            router.sh(FIRST_BOOT);
            assert_eq!(router.uci("lango.main.name"), expected);
        }
    }
}

#[test]
fn a_reload_reaches_the_daemon_whatever_file_was_changed() {
    for router in both() {
        router.put("running/lango", "");
        router.sh("/etc/init.d/lango reload");
        assert_eq!(router.calls(), ["signal lango * HUP", "lango garden"], "it is told, and nothing is started anew");
        fs::remove_file(router.path("running/lango")).unwrap();
        router.sh("/etc/init.d/lango reload");
        assert!(router.calls().contains(&"  command /usr/libexec/lango/start run".to_owned()), "one that does not run is started");
    }
}

#[test]
fn the_service_tells_procd_this() {
    for router in both() {
        router.sh("/etc/init.d/lango boot");
        assert_eq!(
            router.calls(),
            [
                "nft -f -",
                "service lango",
                "nft -f -",
                "instance",
                "  command /usr/libexec/lango/start run",
                "  file /etc/config/lango",
                "  reload_signal HUP",
                "  respawn 3600 5 0",
                "  term_timeout 10",
                "  stdout 1",
                "  stderr 1",
                "end of instance",
                "reload when lango changes",
                "end of service",
                "lango garden",
            ]
        );
        let script = router.get("etc/init.d/lango");
        for line in ["START=18", "STOP=10", "USE_PROCD=1"] {
            assert!(script.lines().any(|told| told == line), "{line}");
        }
        // What procd is told is there and can be run, and becomes the program, to which it says who put it there.
        fs::write(router.path("usr/sbin/lango"), "#!/bin/sh\necho \"$LANGO_START $*\" >>/calls\n").unwrap();
        router.sh("/usr/libexec/lango/start run");
        assert_eq!(router.calls(), ["/usr/libexec/lango/start run"]);
    }
}

#[test]
fn while_the_flash_is_not_ready_nothing_is_sold_into_ram() {
    for router in both() {
        let ready = router.get("proc/mounts");
        router.put(
            "proc/mounts",
            "overlayfs:/tmp/root / overlay rw,noatime,lowerdir=/,upperdir=/tmp/root/upper,workdir=/tmp/root/work 0 0\n",
        );
        router.sh("/etc/init.d/lango boot");
        assert_eq!(router.calls(), ["nft -f -", "logger -t lango the flash is not ready yet: lango-late starts it"]);
        // `done` made it ready.
        router.put("proc/mounts", &ready);
        router.sh("/etc/init.d/lango-late boot");
        assert!(router.calls().is_empty(), "what is disabled stays off");
        router.put("enabled/lango", "");
        router.sh("/etc/init.d/lango-late boot");
        assert!(router.calls().contains(&"  command /usr/libexec/lango/start run".to_owned()));
    }
}

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

/// Runs one of the package's scripts as opkg does.
fn script(router: &Router, name: &str, variable: &str) -> String {
    let argument = if name == "postinst" { "configure" } else { "remove" };
    let path = format!("usr/lib/opkg/info/lango.{name}");
    router.program(&path, &fs::read_to_string(repository().join("images/scripts").join(name)).unwrap());
    router.sh(&format!("{variable} /{path} {argument}"))
}

#[test]
fn every_openwrt_knows_the_package_by_its_scripts() {
    for router in both() {
        for older in [true, false] {
            router.sh(if older { "touch /older" } else { "rm /older" });
            script(&router, "postinst", "PKG_UPGRADE=0");
            let enabled = ["default_postinst lango", "enable lango", "enable lango-late"];
            assert!(enabled.iter().all(|told| router.calls_contain(told)), "older: {older}");
            router.calls();
            script(&router, "prerm", "PKG_UPGRADE=0");
            let disabled = ["default_prerm lango", "disable lango", "stop lango", "disable lango-late", "lango flush"];
            assert!(disabled.iter().all(|told| router.calls_contain(told)), "older: {older}");
            router.calls();
        }
        // apk calls them as something else, and says the name by what the script sets.
        let prerm = router.get("usr/lib/opkg/info/lango.prerm");
        router.program("lib/apk/exec/lango-0.1.0-r1.pre-deinstall", &prerm);
        router.sh("mkdir -p /lib/apk/packages; mv /usr/lib/opkg/info/lango.list /lib/apk/packages/; /lib/apk/exec/lango-0.1.0-r1.pre-deinstall 0.1.0-r1");
        assert!(router.calls_contain("disable lango"));
    }
}

#[test]
fn an_installation_by_hand_does_not_cut_itself_off() {
    for router in both() {
        let said = script(&router, "postinst", "PKG_UPGRADE=0");
        assert!(said.contains("service lango start") && said.contains("no SSH and no LuCI from br-lan"), "{said}");
        let calls = router.calls();
        assert!(calls.contains(&"default_postinst lango".to_owned()) && calls.contains(&"enable lango".to_owned()), "{calls:?}");
        assert!(!calls.iter().any(|call| call.contains("/usr/libexec/lango/start run") || call.contains("dnsmasq")), "{calls:?}");
        assert!(
            !router.path("etc/uci-defaults/90-lango").exists() && router.path("etc/lango/first-boot").exists(),
            "the first boot is done"
        );
        router.sh("/etc/init.d/lango start");
        assert!(router.calls().contains(&"  command /usr/libexec/lango/start run".to_owned()));
    }
}

#[test]
fn an_upgrade_starts_the_new_program_and_keeps_the_gate() {
    for router in both() {
        router.put("enabled/lango", "");
        router.sh(FIRST_BOOT);
        let before = router.configuration();
        router.put("running/lango", "");
        script(&router, "prerm", "PKG_UPGRADE=1");
        script(&router, "postrm", "PKG_UPGRADE=1");
        let calls = router.calls();
        assert!(calls.contains(&"sleep 1".to_owned()), "until it has ended: {calls:?}");
        assert!(
            calls.contains(&"stop lango".to_owned()) && !calls.iter().any(|call| call.contains("flush") || call.contains("disable")),
            "{calls:?}"
        );
        script(&router, "postinst", "PKG_UPGRADE=1");
        let calls = router.calls();
        let runs = |calls: &[String]| calls.iter().rposition(|call| call.contains("/usr/libexec/lango/start run"));
        assert!(runs(&calls).is_some() && !calls.contains(&"stop lango".to_owned()), "{calls:?}");
        // apk stops nothing before an upgrade: the one that runs is the old program until then.
        router.put("lib/apk/packages/lango.list", "/etc/init.d/lango\n");
        router.put("running/lango", "");
        script(&router, "postinst", "PKG_UPGRADE=1");
        let calls = router.calls();
        let stop = calls.iter().rposition(|call| call == "stop lango");
        assert!(stop.is_some() && stop < runs(&calls), "{calls:?}");
        let ended = calls.iter().position(|call| call == "sleep 1");
        assert!(stop < ended && ended < runs(&calls), "the old one has ended before: {calls:?}");
        assert_eq!(router.configuration(), before);
    }
}

#[test]
fn removal_leaves_the_router_as_it_was_and_the_store_to_the_operator() {
    for router in both() {
        let untouched = router.configuration();
        router.sh(FIRST_BOOT);
        router.put("running/dnsmasq", "");
        router.put("running/lango", "");
        router.put("etc/lango/store/db", "money");
        router.sh("/etc/init.d/lango start");
        router.calls();
        script(&router, "prerm", "PKG_UPGRADE=0");
        let calls = router.calls();
        let at = |what: &str| calls.iter().position(|call| call == what).unwrap_or_else(|| panic!("{what}: {calls:?}"));
        assert!(at("stop lango") < at("sleep 1") && at("sleep 1") < at("lango flush"), "a daemon that runs would put the gate back");
        assert!(at("wifi reload") < at("lango flush"), "an open network without a gate");
        assert!(at("lango flush") < at("dnsmasq restart"));
        assert!(!router.path("tmp/dnsmasq.d/lango.conf").exists());
        // uci writes an option that was set behind the others.
        let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let others = |configuration: Vec<(String, String)>| {
            configuration.into_iter().filter(|(name, _)| name != "lango").map(|(name, text)| (name, lines(text))).collect::<Vec<_>>()
        };
        assert_eq!(others(router.configuration()), others(untouched));
        let said = script(&router, "postrm", "PKG_UPGRADE=0");
        assert!(said.contains("still in /etc/lango") && router.path("etc/lango/store/db").exists(), "{said}");
        script(&router, "postrm", "LANGO_PURGE=1");
        assert!(!router.path("etc/lango").exists() && !router.path("etc/config/lango").exists(), "where that was asked for");
    }
}

#[test]
fn removal_opens_the_gate_also_where_the_configuration_has_mistakes() {
    for router in both() {
        router.put("mistakes", "");
        script(&router, "prerm", "PKG_UPGRADE=0");
        assert!(router.calls().contains(&"nft delete table inet lango".to_owned()));
    }
}

#[test]
fn in_an_image_that_is_being_made_nothing_is_started_or_removed() {
    for router in both() {
        for name in ["postinst", "prerm", "postrm"] {
            script(&router, name, "IPKG_INSTROOT=/nowhere");
        }
        assert!(router.calls().is_empty());
    }
}

#[test]
fn a_sysupgrade_packs_a_store_that_nobody_writes_to() {
    const HOOKS: &str = "sysupgrade_init_conffiles=add_uci_conffiles; . /lib/upgrade/lango.sh; \
        add_uci_conffiles() { echo pack >>/calls; }; for hook in $sysupgrade_init_conffiles; do $hook /tmp/list; done; wait";
    for router in both() {
        router.put("running/lango", "");
        router.sh(&format!("CONF_BACKUP_LIST=0 CONF_BACKUP=; {HOOKS}"));
        let calls = router.calls();
        let packed = calls.iter().position(|call| call == "pack").unwrap();
        assert_eq!(calls[..2], ["stop lango", "sleep 1"], "until it has ended: {calls:?}");
        assert!(packed >= 2);
        assert!(
            calls.contains(&"sleep 120".to_owned()) && calls.iter().any(|call| call.contains("/usr/libexec/lango/start run")),
            "one that gave up: {calls:?}"
        );
        router.sh(&format!("CONF_BACKUP_LIST=0 CONF_BACKUP=; {HOOKS}"));
        assert_eq!(router.calls(), ["stop lango", "pack"], "it was stopped before, and stays so");
        for only in ["CONF_BACKUP_LIST=1 CONF_BACKUP=", "CONF_BACKUP_LIST=0 CONF_BACKUP=/tmp/backup.tgz"] {
            router.sh(&format!("{only}; {HOOKS}"));
            assert_eq!(router.calls(), ["pack"], "{only}: it goes on selling");
        }
    }
}

const TRIAL: [&str; 7] = [
    "etc/lango/update/trial",
    "etc/lango/update/start.1",
    "etc/lango/update/start.2",
    "etc/lango/update/start.3",
    "etc/lango/update/overdue",
    "usr/sbin/lango.old",
    "usr/sbin/lango.new",
];

#[test]
fn what_is_installed_over_a_trial_is_not_on_trial() {
    for router in both() {
        for (name, variable) in [("prerm", "PKG_UPGRADE=1"), ("postinst", "PKG_UPGRADE=1"), ("prerm", "PKG_UPGRADE=0")] {
            TRIAL.iter().for_each(|path| router.put(path, ""));
            router.put("etc/lango/update/standing", "kept");
            script(&router, name, variable);
            let left: Vec<_> = TRIAL.iter().filter(|path| router.path(path).exists()).collect();
            assert!(left.is_empty() && router.get("etc/lango/update/standing") == "kept", "{name}: {left:?}");
        }
    }
}

#[test]
fn a_trial_is_not_carried_into_another_image_or_a_backup() {
    const LIST: &str = "sysupgrade_init_conffiles=add_uci_conffiles; . /lib/upgrade/lango.sh; \
        add_uci_conffiles() { find /etc/lango -type f >$1; }; for hook in $sysupgrade_init_conffiles; do $hook /tmp/list; done; wait";
    for router in both() {
        TRIAL.iter().for_each(|path| router.put(path, ""));
        router.put("etc/lango/update/standing", "kept");
        router.put("etc/lango/store/db", "money");
        for kind in ["CONF_BACKUP_LIST=0 CONF_BACKUP=", "CONF_BACKUP_LIST=0 CONF_BACKUP=/tmp/backup.tgz"] {
            router.sh(&format!("{kind}; {LIST}"));
            let list: BTreeSet<_> = router.get("tmp/list").lines().map(str::to_owned).collect();
            assert_eq!(list, BTreeSet::from(["/etc/lango/store/db", "/etc/lango/update/standing"].map(str::to_owned)), "{kind}");
        }
        assert!(router.path("etc/lango/update/trial").exists(), "one that gives up is still on trial here");
    }
}

#[test]
fn an_interface_of_ours_that_comes_up_is_told_to_the_daemon() {
    const HUP: &str = "ubus -t 5 call service signal {\"name\":\"lango\",\"signal\":1}";
    for router in both() {
        for (action, device, told) in [("ifup", "br-lan", true), ("ifup", "wan", true), ("ifup", "eth7", false), ("ifdown", "wan", false)] {
            router.sh(&format!("ACTION={action} DEVICE={device}; . /etc/hotplug.d/iface/50-lango"));
            assert_eq!(router.calls() == [HUP], told, "{action} {device}");
        }
    }
}

#[test]
fn the_clock_is_vouched_for_once_ntp_has_set_it() {
    for router in both() {
        for (action, stratum, told) in [("stratum", "3", true), ("step", "2", true), ("stratum", "16", false), ("unsync", "2", false)] {
            router.sh(&format!("ACTION={action} stratum={stratum}; . /etc/hotplug.d/ntp/50-lango; wait"));
            assert_eq!(router.calls() == ["lango clock-is-set"], told, "{action} {stratum}");
        }
    }
}
