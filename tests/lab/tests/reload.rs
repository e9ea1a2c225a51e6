//! SIGHUP: what of a new config takes effect at once, and what is said of the rest.

use lango_lab::Lab;
use lango_lab::wait::until_true;
use nix::sys::signal::Signal;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_way_to_the_relay_goes_and_comes_with_the_config() {
    let lab = Lab::start();
    let good = std::fs::read_to_string(&lab.lango.config).unwrap();
    let reload = |text: &str| {
        std::fs::write(&lab.lango.config, text).unwrap();
        lab.lango.program.signal(Signal::SIGHUP).unwrap();
    };
    let payments = |possible: bool| until_true("payments", SOON, || lab.lango.status().is_ok_and(|s| s["payments"] == possible)).unwrap();
    let without: String = {
        let (before, after) = good.split_once("config relay").unwrap();
        let rest = after.split_once("\nconfig ").map_or(String::new(), |(_, rest)| format!("config {rest}"));
        before.to_owned() + &rest
    };
    assert!(without.contains("config package") && !without.contains("config relay"), "{without}");
    let wrong = good.replace(&lab.credentials.password, "not-the-password");
    assert_ne!(wrong, good);
    for (text, possible) in [(&without, false), (&good, true), (&wrong, false), (&good, true)] {
        reload(text);
        payments(possible);
    }
    let phone = lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));

    // What the kernel's gate hangs on stays as it is until the next start, and the log says so.
    reload(&good.replace("option wan 'wan'", "option wan 'wan9'"));
    until_true("a word on it in the log", SOON, || lab.lango.program.log().contains("`wan` changed")).unwrap();
    assert!(lab.lango.program.running());
    lab.money_is_service();
}
