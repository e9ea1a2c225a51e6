//! What the first boot sets up, once, and what it leaves alone.

use crate::router::{Router, SHELLS};
use crate::{FIRST_BOOT, assert_in_order, board, boards, both, script};
use lango_images::provision::{self, Provision};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

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
        router.sh(". /lib/functions.sh; uci_apply_defaults");
        assert_eq!(router.configuration(), before);
        assert_eq!(router.sh("ls /etc/uci-defaults"), "", "each succeeds, and is not run again");
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
        // No gate is put up at any boot.
        ("/etc/init.d/lango disable", UNTOUCHED),
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

const HOTPLUG: &str = "(. /etc/hotplug.d/ieee80211/50-lango)";

/// Has OpenWrt write down a radio that appeared, as to 24.10, and tells hotplug.
fn appears(radio: u8) -> String {
    format!(
        "uci set wireless.radio{radio}=wifi-device; uci set wireless.radio{radio}.disabled=1; uci set wireless.default_radio{radio}=wifi-iface; \
         uci set wireless.default_radio{radio}.device=radio{radio}; uci set wireless.default_radio{radio}.network=lan; \
         uci set wireless.default_radio{radio}.ssid=OpenWrt; uci set wireless.default_radio{radio}.encryption=none; uci commit wireless; \
         ACTION=add; {HOTPLUG}"
    )
}

#[test]
fn radios_that_appear_while_the_first_boot_runs_are_opened_by_it() {
    const OPEN: [&str; 5] = ["lango-a1b2c3", "none", "1", "lan", "0"];
    const UNTOUCHED: [&str; 5] = ["OpenWrt", "none", "", "lan", "1"];
    for router in both() {
        // It has looked at all radios that there were, and is about to say that it is through.
        router.put("etc/config/wireless", "");
        router.sh(&format!("mv() {{ {}; command mv \"$@\"; }}; {FIRST_BOOT}", appears(0)));
        assert_eq!(wifi(&router, 0), OPEN);
        assert!(!router.calls_contain("wifi reload"), "netifd is not there yet, and reads it when it comes");
        assert!(router.get("etc/lango/first-boot").ends_with("\nwifi default_radio0\n"), "the removal closes it");
    }
    for router in both() {
        // OpenWrt is just writing one down: it has no network yet.
        router.put("etc/config/wireless", "");
        router.sh(&format!("uci set wireless.radio0=wifi-device; uci set wireless.radio0.disabled=1; {FIRST_BOOT}"));
        assert_eq!(router.get("etc/lango/radios"), "", "nothing of it is looked at");
        router.sh(&appears(0));
        assert_eq!(wifi(&router, 0), OPEN);
    }
    for router in both() {
        // Where no gate is put up at the boot, nothing is opened; once one is, the next boot's hotplug does.
        router.put("etc/config/wireless", "");
        router.sh(&format!("/etc/init.d/lango disable; {FIRST_BOOT}"));
        router.sh(&appears(0));
        assert_eq!(wifi(&router, 0), UNTOUCHED);
        router.sh(&format!("/etc/init.d/lango enable; ACTION=add; {HOTPLUG}"));
        assert_eq!(wifi(&router, 0), OPEN);
    }
}

#[test]
fn radios_as_openwrt_makes_them_from_25_12_on_are_opened_too() {
    let openwrt = fs::read_to_string(crate::repository().join("images/tests/openwrt/wireless-25.12")).unwrap();
    let off = |router: &Router| ["radio0", "default_radio0"].map(|section| router.uci(&format!("wireless.{section}.disabled")));
    // The power went while the first boot wrote it down, and it stands there twice; or somebody has switched that network off.
    for (meanwhile, router) in
        ["", "echo 'wifi default_radio0' >>/etc/lango/first-boot", "uci set wireless.default_radio0.disabled=1; uci commit wireless"]
            .into_iter()
            .flat_map(|meanwhile| both().map(move |router| (meanwhile, router)))
    {
        router.put("etc/config/wireless", &openwrt);
        router.put("etc/lango/country", "KE\n");
        // Switched on and off again by somebody; the one beside it is as OpenWrt makes it.
        router.sh("uci set wireless.radio1.disabled=0; uci commit wireless");
        router.sh(FIRST_BOOT);
        assert_eq!(
            (wifi(&router, 0), off(&router)),
            (["lango-a1b2c3", "none", "1", "lan", ""].map(str::to_owned), ["", "0"].map(str::to_owned))
        );
        assert_eq!(wifi(&router, 1), ["OpenWrt", "none", "", "lan", "0"]);
        assert_eq!(router.uci("wireless.default_radio1.disabled"), "1", "that one is somebody's");
        // Behind it there will be no gate. What else the radio carries stays.
        router.sh(meanwhile);
        script(&router, "prerm", "PKG_UPGRADE=0");
        let left = (off(&router), router.uci("wireless.default_radio0.ssid"));
        assert_eq!(left, (["", "1"].map(str::to_owned), "OpenWrt".to_owned()), "{meanwhile}");
    }
}

#[test]
fn radios_that_appear_after_the_first_boot_are_opened_too_each_once() {
    const OPEN: [&str; 5] = ["lango-a1b2c3", "none", "1", "lan", "0"];
    const UNTOUCHED: [&str; 5] = ["OpenWrt", "none", "", "lan", "1"];
    for router in both() {
        router.put("etc/lango/country", "KE\n");
        router.put("etc/config/wireless", "");
        // It appeared before the script: that one will see it.
        router.sh(&format!("ACTION=add; {HOTPLUG}; {FIRST_BOOT}; ACTION=remove; {HOTPLUG}; ACTION=add; {HOTPLUG}"));
        assert!(!router.calls_contain("wifi reload"), "there is none yet");
        for radio in [0, 1] {
            router.sh(&appears(radio));
            assert_eq!(
                (wifi(&router, radio), router.uci(&format!("wireless.radio{radio}.country"))),
                (OPEN.map(str::to_owned), "KE".to_owned())
            );
            assert!(router.calls().contains(&"wifi reload".to_owned()));
        }
        assert!(router.get("etc/lango/first-boot").ends_with("\nwifi default_radio0\nwifi default_radio1\n"), "the removal closes them");
        // At each boot they appear again. What was made of them meanwhile is somebody's.
        router.sh("uci set wireless.radio0.disabled=1; uci set wireless.default_radio0.ssid=OpenWrt; uci commit wireless");
        let before = router.configuration();
        router.sh(&format!("ACTION=add; {HOTPLUG}"));
        assert!(router.configuration() == before && !router.calls_contain("wifi reload"));
        script(&router, "prerm", "PKG_UPGRADE=0");
        let closed = [0, 1].map(|radio| router.uci(&format!("wireless.radio{radio}.disabled")));
        assert!(closed == ["1", "1"] && !router.path("etc/lango/radios").exists(), "{closed:?}");
        // And what is done again is done with all of them.
        router.sh("uci set wireless.default_radio0.ssid=OpenWrt; uci -q delete wireless.default_radio0.isolate; uci commit wireless");
        router.sh(&format!("/etc/init.d/lango enable; {FIRST_BOOT}"));
        assert_eq!((wifi(&router, 0), wifi(&router, 1)), (OPEN.map(str::to_owned), OPEN.map(str::to_owned)));
    }
    for router in both() {
        router.put("etc/config/wireless", "");
        router.sh(&format!("export LANGO_INSTALLING=1; {FIRST_BOOT}"));
        router.sh(&appears(0));
        assert_eq!(wifi(&router, 0), UNTOUCHED, "installed by hand, Wi-Fi is the operator's");
    }
}
