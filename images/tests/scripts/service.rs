//! What the service tells procd, and what else tells the daemon something.

use crate::both;
use std::fs;

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
        router.sh("/etc/init.d/lango disable");
        router.calls();
        router.sh("/etc/init.d/lango-late boot");
        assert!(router.calls().is_empty(), "what is disabled stays off");
        router.sh("/etc/init.d/lango enable; /etc/init.d/lango-late boot");
        assert!(router.calls().contains(&"  command /usr/libexec/lango/start run".to_owned()));
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
