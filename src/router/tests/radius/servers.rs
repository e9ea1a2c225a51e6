//! Several servers: the next one where the first does not answer, and back to it.

use crate::world::{Adapter, accepted, config, inside, server};
use lango_core::radius::AccessOutcome;
use lango_lab::freeradius::{AUTH_PORT, FreeRadius, Options};
use std::time::{Duration, Instant};

#[test]
fn the_next_server_answers_for_the_first_until_that_is_back() {
    let first = FreeRadius::alone(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let other = Options { address: "127.0.0.2".into(), ..Options::default() };
    let second = FreeRadius::new(&first.namespace, folder.path(), other).unwrap();
    second.start().unwrap();
    first.user("nemo", "arctangent", &[], &[("Reply-Message", "first")]).unwrap();
    second.user("nemo", "arctangent", &[], &[("Reply-Message", "second")]).unwrap();
    let asked = async |adapter: &mut Adapter| accepted(adapter.ask("nemo", "arctangent").await).message;
    inside(&first.namespace, async || {
        let mut adapter = Adapter::start(config(vec![server("127.0.0.1", AUTH_PORT), server("127.0.0.2", AUTH_PORT)]));
        assert_eq!(asked(&mut adapter).await.as_deref(), Some("first"));
        first.stop().unwrap();
        let began = Instant::now();
        assert_eq!(asked(&mut adapter).await.as_deref(), Some("second"));
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(8), "{waited:?}");
        let began = Instant::now();
        assert_eq!(asked(&mut adapter).await.as_deref(), Some("second"));
        assert!(began.elapsed() < waited / 2, "the one that is away is not waited for again: {:?}", began.elapsed());
        first.start().unwrap();
        let began = Instant::now();
        while asked(&mut adapter).await.as_deref() != Some("first") {
            assert!(began.elapsed() < Duration::from_secs(90), "it never came back");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        second.stop().unwrap();
        first.stop().unwrap();
        let began = Instant::now();
        assert_eq!(adapter.ask("nemo", "arctangent").await, AccessOutcome::NoAnswer);
        assert!(began.elapsed() < Duration::from_secs(9), "a customer waits 8 s at most: {:?}", began.elapsed());
    });
}
