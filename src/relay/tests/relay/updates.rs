//! Updates: what others have signed is offered to routers, until they say what they make of it; signed here by Debian's
//! `signify-openbsd`, as docs/updates.md says.

use super::World;
use super::program::{Printed, Program};
use lango_core::message::{DownBody, UpBody};
use lango_core::units::MessageId;
use lango_core::update::{Manifest, Offer, Reason, ReleaseKey, Report, Signature, State};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

fn signify(arguments: &[&str], folder: &Path) {
    let output = Command::new("signify-openbsd").args(arguments).current_dir(folder).output();
    let output = output.expect("signify-openbsd is installed: apt-get install signify-openbsd, or tools/setup.sh");
    assert!(output.status.success(), "signify {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A signed release in a folder of its own: the manifest's path.
fn release(relay: &Program, folder: &Path, number: u64) -> PathBuf {
    std::fs::write(folder.join("lango"), b"abc").unwrap();
    if !folder.join("release.pub").exists() {
        signify(&["-G", "-n", "-p", "release.pub", "-s", "release.sec", "-c", "release"], folder);
    }
    let (file, number) = (folder.join("lango"), number.to_string());
    let words = ["--version", "0.2.0", "--number", &number, "--target", "armv7", "--url", "https://updates.example.org/lango"];
    let printed = relay.command(&[&["update", "manifest", file.to_str().unwrap()], &words[..]].concat());
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let name = format!("lango-{number}");
    std::fs::write(folder.join(&name), &printed.stdout).unwrap();
    signify(&["-S", "-s", "release.sec", "-m", &name], folder);
    folder.join(name)
}

fn offer(relay: &Program, manifest: &Path, words: &[&str]) -> Printed {
    relay.command(&[&["update", "offer", manifest.to_str().unwrap()], words].concat())
}

fn list(relay: &Program) -> Vec<Value> {
    serde_json::from_str(&relay.command(&["update", "list", "--json"]).stdout).unwrap()
}

async fn next(world: &mut World) -> (MessageId, Offer) {
    loop {
        let down = world.router.next().await;
        if let DownBody::Update(offer) = down.body {
            return (down.id, offer);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_reaches_the_router_as_it_was_signed_and_its_word_is_kept() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let manifest = release(&world.relay, folder.path(), 7);
    let key = folder.path().join("release.pub");
    let printed = offer(&world.relay, &manifest, &["kibera-7", "--key", key.to_str().unwrap()]);
    assert!(printed.code == 0 && printed.stdout.contains("offered to 1: kibera-7"), "{} {}", printed.stdout, printed.stderr);
    let (id, offered) = next(&mut world).await;
    assert_eq!(offered.manifest, std::fs::read_to_string(&manifest).unwrap());
    assert_eq!(Manifest::parse(&offered.manifest).unwrap().size, 3);
    let key = ReleaseKey::parse(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let signature = Signature::parse(&offered.signature).unwrap();
    UnparsedPublicKey::new(&ED25519, key.key).verify(offered.manifest.as_bytes(), &signature.bytes).expect("signify's signature holds");
    assert_eq!(list(&world.relay)[0]["update"]["state"], "offered");

    // Until it answers it is offered again, with the same id; an acknowledgement alone would be an answer, too, and says nothing.
    world.router.say(UpBody::Hello { nonce: "again".parse().unwrap(), version: "1.0".to_owned() });
    assert_eq!(next(&mut world).await, (id.clone(), offered));
    let mut said = Vec::new();
    for (state, reason) in
        [(State::Accepted, None), (State::Trying, None), (State::RolledBack, Some(Reason::Crashed)), (State::Trying, None)]
    {
        said.push(world.router.say(UpBody::Update(Report { offer: id.clone(), state, reason })));
        // Each word is acknowledged, when it is written down.
        loop {
            if let DownBody::Ack { of } = world.router.next().await.body {
                assert_eq!(of.as_slice(), &said[said.len() - 1..]);
                break;
            }
        }
        let now = &list(&world.relay)[0]["update"];
        let wanted = if said.len() == 4 { "rolled_back" } else { state.name() };
        assert_eq!((&now["state"], &now["number"]), (&json!(wanted), &json!(7)), "{now}");
    }
    let table = world.relay.command(&["update", "list"]).stdout;
    assert!(table.contains("program 0.2.0 (number 7)  rolled back") && table.contains("ended again and again"), "{table}");
    let after = world.router.fence().await;
    assert!(after.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_router_would_take_is_offered_to_none() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let manifest = release(&world.relay, folder.path(), 7);
    let other = tempfile::tempdir().unwrap();
    release(&world.relay, other.path(), 7);
    let strangers = other.path().join("release.pub");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let changed = folder.path().join("changed");
    std::fs::write(&changed, text.replace("armv7", "armv8")).unwrap();
    std::fs::copy(manifest.with_file_name("lango-7.sig"), folder.path().join("changed.sig")).unwrap();
    let alone = folder.path().join("alone");
    std::fs::write(&alone, &text).unwrap();
    std::fs::write(folder.path().join("rubbish"), "rubbish").unwrap();
    std::fs::write(folder.path().join("rubbish.sig"), "rubbish").unwrap();
    let key = folder.path().join("release.pub");
    for (manifest, words, code, said) in [
        (manifest.as_path(), ["kibera-7", "--key", strangers.to_str().unwrap()].as_slice(), 64, "no router would take it"),
        (&changed, &["kibera-7", "--key", key.to_str().unwrap()], 64, "no router would take it"),
        (&manifest, &["kibera-8"], 64, "there is no router kibera-8"),
        (&manifest, &["kibera-7", "kibera-8"], 64, "there is no router kibera-8"),
        (&alone, &["kibera-7"], 69, "alone.sig cannot be read"),
        (&folder.path().join("rubbish"), &["--all"], 64, "is no manifest"),
    ] {
        let printed = offer(&world.relay, manifest, words);
        assert!(printed.code == code && printed.stderr.contains(said), "{words:?}: {} {}", printed.code, printed.stderr);
    }
    assert_eq!(list(&world.relay)[0]["update"], Value::Null);
    let empty = folder.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    let words =
        ["update", "manifest", empty.to_str().unwrap(), "--version", "1", "--number", "7", "--target", "t", "--url", "https://u.example/x"];
    let printed = world.relay.command(&words);
    assert!(printed.code == 64 && printed.stderr.contains("no router would take this manifest"), "{}", printed.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn some_routers_come_first_and_the_others_later() {
    let world = World::new().await;
    for number in 0..9 {
        world.relay.add_router(&format!("ngong-{number}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = release(&world.relay, folder.path(), 7);
    let offered = |relay: &Program| list(relay).iter().filter(|router| !router["update"].is_null()).count();
    for (words, count) in [
        (["--all", "--percent", "20"].as_slice(), 2),
        (&["--all", "--percent", "20"], 2),
        (&["--all", "--percent", "50"], 5),
        (&["--all"], 10),
        (&["--all"], 10),
    ] {
        let printed = offer(&world.relay, &manifest, words);
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        assert_eq!(offered(&world.relay), count, "{words:?}: {}", printed.stdout);
    }
    let again = offer(&world.relay, &manifest, &["--all"]);
    assert!(again.stdout.contains("Nobody is left"), "{}", again.stdout);
}
