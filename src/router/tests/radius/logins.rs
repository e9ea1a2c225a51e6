//! Questions to a real FreeRADIUS: each method, what it allows, and what it refuses.

use crate::world::{Adapter, DEVICE, accepted, config, inside, server};
use lango::radius::request::Method;
use lango_core::radius::{AccessOutcome, Authorization, Credential, RadiusEvent, StationFormat};
use lango_core::time::Wall;
use lango_core::units::{Bytes, Kbps, Seconds};
use lango_lab::freeradius::{AUTH_PORT, FreeRadius, Options};

const REPLY: [(&str, &str); 13] = [
    ("Session-Timeout", "3600"),
    ("Idle-Timeout", "300"),
    ("Acct-Interim-Interval", "120"),
    ("Class", "0x676f6c64"),
    ("Reply-Message", "Welcome."),
    ("Filter-Id", "hour"),
    ("WISPr-Bandwidth-Max-Up", "3000000"),
    ("WISPr-Session-Terminate-Time", "2031-01-01T03:00:00+03:00"),
    ("ChilliSpot-Max-Input-Octets", "1000"),
    ("ChilliSpot-Bandwidth-Max-Down", "5000"),
    ("Mikrotik-Rate-Limit", "2M/9M 3M/10M"),
    ("Mikrotik-Total-Limit", "5"),
    ("Mikrotik-Total-Limit-Gigawords", "1"),
];

#[test]
fn every_method_is_accepted_with_all_that_is_allowed_and_refused() {
    let radius = FreeRadius::alone(Options::default());
    radius.user("nemo", "arctangent", &[], &REPLY).unwrap();
    inside(&radius.namespace, async || {
        for method in [Method::Pap, Method::Chap, Method::MsChapV2] {
            let mut config = config(vec![server("127.0.0.1", AUTH_PORT)]);
            config.method = method;
            let mut adapter = Adapter::start(config);
            let expected = Authorization {
                time: Some(Seconds(3_600)),
                ends_at: Wall::from_rfc3339("2031-01-01T00:00:00Z"),
                idle: Some(Seconds(300)),
                interim: Some(Seconds(120)),
                total: Some(Bytes(4_294_967_301)),
                up: Some(Bytes(1_000)),
                down: None,
                up_speed: Some(Kbps(2_000)),
                down_speed: Some(Kbps(5_000)),
                package: Some("hour".parse().unwrap()),
                class: vec![b"gold".to_vec()],
                user: None,
                message: Some("Welcome.".into()),
            };
            assert_eq!(accepted(adapter.ask("nemo", "arctangent").await), expected, "{method:?}");
            for (user, password) in [("nemo", "arctangens"), ("nobody", "arctangent")] {
                let outcome = adapter.ask(user, password).await;
                assert!(matches!(outcome, AccessOutcome::Reject { .. }), "{method:?}: {outcome:?}");
            }
        }
    });
}

#[test]
fn a_device_is_known_by_its_address_in_the_form_that_the_server_has() {
    let radius = FreeRadius::alone(Options::default());
    let written = StationFormat { separator: None, capitals: false }.write(DEVICE.parse().unwrap());
    radius.user(&written, &written, &[("Service-Type", "Call-Check")], &[]).unwrap();
    inside(&radius.namespace, async || {
        let mut adapter = Adapter::start(config(vec![server("127.0.0.1", AUTH_PORT)]));
        adapter.question(&written, Credential::Mac);
        let event = adapter.event().await;
        assert!(matches!(event, RadiusEvent::Access(_, AccessOutcome::Accept(_))), "{event:?}");
    });
}

#[test]
fn an_old_server_is_believed_only_where_the_operator_says_so() {
    let radius = FreeRadius::alone(Options { signs: false, ..Options::default() });
    radius.user("nemo", "arctangent", &[], &[]).unwrap();
    inside(&radius.namespace, async || {
        let mut strict = Adapter::start(config(vec![server("127.0.0.1", AUTH_PORT)]));
        assert_eq!(strict.ask("nemo", "arctangent").await, AccessOutcome::NoAnswer);
        let mut old = server("127.0.0.1", AUTH_PORT);
        old.must_sign = false;
        accepted(Adapter::start(config(vec![old])).ask("nemo", "arctangent").await);
    });
}

#[test]
fn with_another_secret_nobody_is_believed() {
    let radius = FreeRadius::alone(Options::default());
    radius.user("nemo", "arctangent", &[], &[]).unwrap();
    inside(&radius.namespace, async || {
        let mut config = config(vec![server("127.0.0.1", AUTH_PORT)]);
        config.secret = b"another".to_vec();
        assert_eq!(Adapter::start(config).ask("nemo", "arctangent").await, AccessOutcome::NoAnswer);
    });
}
