//! What a sysupgrade and a backup pack.

use crate::{TRIAL, both};
use std::collections::BTreeSet;

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
