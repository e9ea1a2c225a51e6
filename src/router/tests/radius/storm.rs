//! A thousand devices at once.

use crate::world::{Adapter, config, inside, server};
use lango_core::radius::{AccessOutcome, Credential, RadiusEvent};
use lango_core::units::Password;
use lango_lab::freeradius::{AUTH_PORT, FreeRadius, Options};
use std::collections::BTreeSet;
use std::time::Instant;

const DEVICES: usize = 1_000;

/// At the server's pace, each answered once; who has no answer within 8 s is told so. How many a server accepts is the server's.
#[test]
fn a_thousand_questions_at_once_are_each_answered_once() {
    let radius = FreeRadius::alone(Options::default());
    radius.user("nemo", "arctangent", &[], &[]).unwrap();
    inside(&radius.namespace, async || {
        let mut adapter = Adapter::start(config(vec![server("127.0.0.1", AUTH_PORT)]));
        let began = Instant::now();
        let mut open: BTreeSet<_> =
            (0..DEVICES).map(|_| adapter.question("nemo", Credential::Password(Password::new("arctangent").unwrap()))).collect();
        let (mut accepted, mut refused) = (0, 0);
        while !open.is_empty() {
            let RadiusEvent::Access(id, outcome) = adapter.event().await else { panic!("another event") };
            assert!(open.remove(&id), "{id:?} twice");
            match outcome {
                AccessOutcome::Accept(_) => accepted += 1,
                AccessOutcome::NoAnswer => {}
                // The server's own word: a FreeRADIUS under load refuses some.
                AccessOutcome::Reject { .. } => refused += 1,
            }
        }
        println!("{accepted} of {DEVICES} accepted and {refused} refused in {:?}", began.elapsed());
        assert!(accepted >= 32, "{accepted}");
        // And it goes on.
        assert!(matches!(adapter.ask("nemo", "arctangent").await, AccessOutcome::Accept(_)));
    });
}
