//! The package's own scripts: installed, upgraded, removed.

use crate::{FIRST_BOOT, TRIAL, both, script};
use std::collections::BTreeSet;

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
        router.sh("mkdir -p /lib/apk/packages; mv /usr/lib/opkg/info/lango.list /lib/apk/packages/");
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
fn removal_while_an_image_is_on_its_way_leaves_nothing_of_it() {
    const MARK: &str = "usr/sbin/lango.before-image";
    for router in both() {
        router.put(MARK, "");
        script(&router, "prerm", "PKG_UPGRADE=1");
        script(&router, "prerm", "IPKG_INSTROOT=/nowhere");
        assert!(router.path(MARK).exists(), "the new program looks at it, too");
        script(&router, "prerm", "PKG_UPGRADE=0");
        assert!(!router.path(MARK).exists());
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
fn an_image_that_is_being_made_has_the_service_enabled_and_its_first_boot_before_it() {
    for router in both() {
        router.sh("for folder in etc lib usr; do mkdir -p /image && cp -a /$folder /image/$folder; done; rm /image/etc/rc.d/[SK]*");
        script(&router, "postinst", "IPKG_INSTROOT=/image");
        for link in ["S18lango", "K10lango", "S96lango-late"] {
            assert!(router.path("image/etc/rc.d").join(link).is_symlink(), "{link}");
        }
        assert!(router.path("image/etc/uci-defaults/90-lango").exists() && !router.path("image/etc/lango/first-boot").exists());
        script(&router, "prerm", "IPKG_INSTROOT=/image");
        assert!(!router.path("image/etc/rc.d/S18lango").is_symlink(), "another package takes its place");
        assert!(router.calls().is_empty(), "nothing is done to the machine that makes it");
    }
}

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
