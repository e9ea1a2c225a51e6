//! Vouchers made in the cloud: their codes are printed once, their hashes reach the router, signed, until it has them.

use super::World;
use lango_core::message::{DownBody, UpBody, VouchersRevoked};
use lango_core::units::MessageId;
use lango_core::voucher::{NewVouchers, VoucherCode};
use serde_json::Value;
use std::process::{Command, Stdio};

/// The next message of vouchers, whatever else comes before it.
async fn next(world: &mut World) -> (MessageId, NewVouchers) {
    loop {
        let down = world.router.next().await;
        if let DownBody::Vouchers(new) = down.body {
            return (down.id, new);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reaches_its_router_in_parts_and_is_said_to_be_there() {
    let mut world = World::new().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_lango-relay"));
    command.args(["vouchers", "create", "kibera-7", "hour", "250", "--days", "30", "--json", "--config"]).arg(&world.relay.config);
    let making = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut parts, before) = (Vec::new(), super::router::now().0);
    for _ in 0..2 {
        let (id, new) = next(&mut world).await;
        world.router.say(UpBody::Ack { of: vec![id] });
        parts.push(new);
    }
    let printed = making.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&printed.stderr);
    assert!(printed.status.success() && told.contains("router kibera-7 has them"), "{told}");
    let batch: Value = serde_json::from_slice(&printed.stdout).unwrap();
    parts.sort_by_key(|part| part.first);
    assert_eq!(parts.iter().map(|part| (part.first, part.hashes.len())).collect::<Vec<_>>(), [(1, 200), (201, 50)]);
    for part in &parts {
        assert_eq!(
            (part.batch.to_string().as_str(), part.package.as_str(), part.salt.as_str()),
            (batch["batch"].as_str().unwrap(), "hour", "kibera-7")
        );
        let days = (part.expires.unwrap().0.saturating_sub(before)) / 86_400_000;
        assert!((29..=30).contains(&days), "{days}");
    }
    // What was printed is what the router was told, in the order of the numbers.
    let told: Vec<_> = parts.iter().flat_map(|part| &part.hashes).copied().collect();
    let codes: Vec<VoucherCode> =
        batch["vouchers"].as_array().unwrap().iter().map(|voucher| voucher["code"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(codes.iter().map(|code| code.hash(&parts[0].salt)).collect::<Vec<_>>(), told);
    let database = std::fs::read(world.relay.config.with_file_name("relay.db")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&database).contains(&codes[0].reveal()), "a code is in the ledger");
    assert!(!world.relay.log().contains(&codes[0].reveal()));
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_wait_for_a_router_that_does_not_answer() {
    let mut world = World::new().await;
    let printed = world.relay.command(&["vouchers", "create", "kibera-7", "hour", "2"]);
    assert!(printed.code == 0 && printed.stderr.contains("as soon as it is online"), "{}", printed.stderr);
    assert!(
        printed.stdout.contains("  Wi-Fi kibera-7: hour\n\n      ") && printed.stdout.contains("/2, good until 20"),
        "{}",
        printed.stdout
    );
    let (first, new) = next(&mut world).await;
    // Said again when it comes back, with the same id; never again once it has them.
    world.router.say(UpBody::Hello { nonce: "again".parse().unwrap(), version: "1.0".to_owned() });
    let (second, same) = next(&mut world).await;
    assert_eq!((&first, &new), (&second, &same));
    world.router.say(UpBody::Ack { of: vec![first] });
    let mut after = Vec::new();
    for nonce in ["once-more", "and-again"] {
        world.router.say(UpBody::Hello { nonce: nonce.parse().unwrap(), version: "1.0".to_owned() });
        after.clear();
        loop {
            match world.router.next().await.body {
                DownBody::Welcome { nonce: answered } if answered.as_str() == nonce => break,
                other => after.push(other),
            }
        }
    }
    assert!(!after.iter().any(|body| matches!(body, DownBody::Vouchers(_))), "{after:?}");
    let unknown = world.relay.command(&["vouchers", "create", "kibera-8", "hour", "2"]);
    assert!(
        unknown.code == 64 && unknown.stderr.contains("there is no router kibera-8") && unknown.stdout.is_empty(),
        "{}",
        unknown.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_is_taken_back_and_the_router_says_how_many_were() {
    let mut world = World::new().await;
    let printed = world.relay.command(&["vouchers", "create", "kibera-7", "hour", "2"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let (id, new) = next(&mut world).await;
    let batch = new.batch.to_string();
    // The two messages could pass each other on the way.
    let early = world.relay.command(&["vouchers", "revoke", "kibera-7", &batch]);
    assert!(early.code == 69 && early.stderr.contains("has not said yet that it has all"), "{}", early.stderr);
    world.router.say(UpBody::Ack { of: vec![id] });
    world.router.fence().await;
    let revoke = |which: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lango-relay"));
        command.args(["vouchers", "revoke", "kibera-7", which, "--config"]).arg(&world.relay.config);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for (which, revoked, used, said) in
        [(batch.clone(), 1, 1, "1 revoked; 1 were used before"), (format!("{batch}/2"), 0, 0, "it knows no such vouchers")]
    {
        let command = revoke(&which);
        let (of, meant) = loop {
            let down = world.router.next().await;
            if let DownBody::RevokeVouchers(meant) = down.body {
                break (down.id, meant);
            }
        };
        assert_eq!(Ok(meant), which.parse());
        world.router.say(UpBody::VouchersRevoked(VouchersRevoked { of, revoked, used }));
        let printed = command.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&printed.stdout);
        assert!(printed.status.success() && told.contains(said), "{told} {}", String::from_utf8_lossy(&printed.stderr));
    }
    world.router.fence().await;
    let unknown = world.relay.command(&["vouchers", "revoke", "kibera-8", &batch]);
    assert!(unknown.code == 64 && unknown.stderr.contains("there is no router kibera-8"), "{}", unknown.stderr);
}
