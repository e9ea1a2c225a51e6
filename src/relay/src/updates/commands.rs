//! `lango-relay update offer` and `update list`, beside the running daemon.

use super::OFFERED;
use crate::clock;
use crate::commands::{Misused, existing, table};
use crate::config::Config;
use crate::ledger::{Ledger, Message, Offered, Router, Sequences};
use crate::mqtt::down_topic;
use crate::nairobi;
use crate::secret;
use crate::signer::Signer;
use anyhow::Context;
use lango_core::message::{Down, DownBody, VERSION};
use lango_core::time::Wall;
use lango_core::units::RouterName;
use lango_core::update::{Manifest, Offer, Reason, ReleaseKey, Signature};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is offered, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offering {
    /// The manifest's file; its signature is beside it, with `.sig` behind its name.
    pub manifest: PathBuf,
    /// The release key's public half, to look before routers do.
    pub key: Option<PathBuf>,
    /// To whom.
    pub whom: Whom,
}

/// To whom something is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// To these, whatever they said of it before.
    Named(Vec<RouterName>),
    /// To this part of all, who have not heard of it yet. A larger part contains a smaller one.
    All {
        /// 1 to 100.
        percent: u8,
    },
}

struct Release {
    manifest: Manifest,
    offer: Offer,
    /// The manifest's SHA-256, as hex digits.
    digest: String,
}

fn read(offering: &Offering) -> anyhow::Result<Release> {
    let text = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    let mut beside = offering.manifest.clone().into_os_string();
    beside.push(".sig");
    let (manifest_text, signature_text) = (text(&offering.manifest)?, text(Path::new(&beside))?);
    let shown = offering.manifest.display();
    let manifest = Manifest::parse(&manifest_text).map_err(|wrong| Misused(format!("{shown} is no manifest: {wrong}")))?;
    let signature = Signature::parse(&signature_text)
        .ok_or_else(|| Misused(format!("{shown}.sig is no signature of usign or signify (two lines, the second in base64)")))?;
    if let Some(path) = &offering.key {
        let key =
            ReleaseKey::parse(&text(path)?).ok_or_else(|| Misused(format!("{} is no public key of usign or signify", path.display())))?;
        let holds = UnparsedPublicKey::new(&ED25519, &key.key).verify(manifest_text.as_bytes(), &signature.bytes).is_ok();
        if key.id != signature.id || !holds {
            return Err(
                Misused(format!("{shown}.sig is not made over {shown} by the key of {}: no router would take it", path.display())).into()
            );
        }
    }
    let digest = digest(&SHA256, manifest_text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Release { manifest, offer: Offer { manifest: manifest_text, signature: signature.to_line() }, digest })
}

/// The part of the routers who are to have it first: always the same ones for one release, and others for another.
fn part<'a>(routers: &'a [Router], release: &str, percent: u8) -> Vec<&'a RouterName> {
    let mut dealt: Vec<_> = routers.iter().map(|router| &router.name).collect();
    dealt.sort_by_cached_key(|name| digest(&SHA256, format!("{release} {name}").as_bytes()).as_ref().to_vec());
    dealt.truncate((dealt.len() * usize::from(percent)).div_ceil(100));
    dealt
}

async fn whom(ledger: &Ledger, whom: &Whom, release: &Release) -> anyhow::Result<Vec<RouterName>> {
    let mut routers = ledger.routers().await?;
    routers.retain(|router| router.revoked_at.is_none());
    match whom {
        Whom::Named(names) => {
            if let Some(unknown) = names.iter().find(|name| !routers.iter().any(|router| router.name == **name)) {
                return Err(Misused(format!("there is no router {unknown} that is served: `lango-relay router list` shows them")).into());
            }
            Ok(names.clone())
        }
        Whom::All { percent } => {
            let known: Vec<RouterName> =
                ledger.updates().await?.into_iter().filter(|update| update.digest == release.digest).map(|update| update.router).collect();
            Ok(part(&routers, &release.digest, *percent).into_iter().filter(|name| !known.contains(name)).cloned().collect())
        }
    }
}

/// Offers it.
///
/// # Errors
/// When it is no release, there is no such router, or the ledger cannot be written; then it is offered to nobody.
pub async fn offer(config: &Config, offering: &Offering) -> anyhow::Result<()> {
    let release = read(offering)?;
    let signer = Signer::open(&config.signing_key)?;
    let ledger = existing(config).await?;
    ledger.expect_key(&signer.public_key(), clock::now()).await?;
    let routers = whom(&ledger, &offering.whom, &release).await?;
    let (sequences, now) = (Sequences::default(), clock::now());
    let mut messages = Vec::new();
    for router in &routers {
        let seq = sequences.next(&ledger, router).await?;
        messages.push(message(&signer, router, &release, seq, now)?);
    }
    let mut change = ledger.begin().await?;
    for message in &messages {
        change.offer_update(&offered(message, &release)).await?;
        // Not ours to send: the running daemon does, within seconds.
        change.post(message, false).await?;
    }
    change.commit().await?;
    ledger.close().await;
    let Manifest { version, number, kind, .. } = &release.manifest;
    match routers.len() {
        0 => println!("Nobody is left to whom {} {version} (number {number}) was not offered.", kind.name()),
        count => {
            let names = routers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            println!(
                "{} {version} (number {number}) is offered to {count}: {names}\n`lango-relay update list` shows what becomes of it.",
                kind.name()
            );
        }
    }
    Ok(())
}

fn offered(message: &Message, release: &Release) -> Offered {
    Offered {
        offer: message.id.clone(),
        router: message.router.clone(),
        kind: release.manifest.kind.name().to_owned(),
        version: release.manifest.version.clone(),
        number: release.manifest.number,
        digest: release.digest.clone(),
        offered_at: message.made_at,
        state: OFFERED.to_owned(),
        reason: None,
        state_at: message.made_at,
    }
}

fn message(signer: &Signer, router: &RouterName, release: &Release, seq: u64, now: Wall) -> anyhow::Result<Message> {
    let body = DownBody::Update(release.offer.clone());
    let topic = down_topic(router, body.topic());
    let down = Down { v: VERSION, id: secret::message_id()?, seq, router: router.clone(), at: now, body };
    let sealed = signer.seal(&down).to_json();
    // In the place of a payment's id: the same release offered once more supersedes itself, and no other.
    let order = format!("update{}", release.digest.get(..20).unwrap_or_default()).parse()?;
    Ok(Message { id: down.id, router: down.router, order, seq, topic, payload: String::from_utf8(sealed)?, made_at: now })
}

/// Whether the router said that it is for others.
fn is_for_others(offered: &Offered) -> bool {
    let reason = offered.reason.as_deref().and_then(Reason::named);
    matches!(reason, Some(Reason::OtherTarget | Reason::OtherBoard))
}

/// The latest offer of each router, of all in the order in which they were made. One that was for others says nothing of this router:
/// in a fleet of several processors each release comes once for each of them. It counts where there is no other.
fn latest(all: Vec<Offered>) -> BTreeMap<RouterName, Offered> {
    let mut latest = BTreeMap::<RouterName, Offered>::new();
    for offered in all {
        if !is_for_others(&offered) || latest.get(&offered.router).is_none_or(is_for_others) {
            latest.insert(offered.router.clone(), offered);
        }
    }
    latest
}

/// Lists where each router is.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn list(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    let routers = ledger.routers().await?;
    let latest = latest(ledger.updates().await?);
    if as_json {
        let all: Vec<Value> = routers.iter().map(|router| object(router, latest.get(&router.name))).collect();
        println!("{}", Value::from(all));
        return Ok(());
    }
    let none = || "-".to_owned();
    let rows = routers.iter().map(|router| {
        let update = latest.get(&router.name);
        let release = update.map(|update| format!("{} {} (number {})", update.kind, update.version, update.number));
        [
            router.name.to_string(),
            router.version.clone().unwrap_or_else(none),
            release.unwrap_or_else(none),
            update.map_or_else(none, |update| update.state.replace('_', " ")),
            update.map_or_else(none, |update| nairobi::text(update.state_at)),
            update.and_then(Offered::why).unwrap_or_default().to_owned(),
        ]
    });
    print!("{}", table(["ROUTER", "RUNS", "OFFERED", "STATE", "SINCE", "WHY"], rows));
    Ok(())
}

fn object(router: &Router, update: Option<&Offered>) -> Value {
    let update = update.map(|update| {
        json!({
            "kind": update.kind,
            "version": update.version,
            "number": update.number,
            "offered_at": update.offered_at.to_rfc3339(),
            "state": update.state,
            "reason": update.reason,
            "since": update.state_at.to_rfc3339(),
        })
    });
    json!({"router": router.name, "version": router.version, "update": update})
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::units::Password;

    #[test]
    fn what_was_for_other_routers_is_not_a_routers_latest() {
        let offered = |router: &str, number: u64, state: &str, reason: Option<Reason>| Offered {
            offer: format!("m-{number}").parse().unwrap(),
            router: router.parse().unwrap(),
            kind: "program".to_owned(),
            version: "1".to_owned(),
            number,
            digest: String::new(),
            offered_at: Wall::EARLIEST,
            state: state.to_owned(),
            reason: reason.map(|reason| reason.name().to_owned()),
            state_at: Wall::EARLIEST,
        };
        let all = vec![
            offered("a", 1, "refused", Some(Reason::OtherBoard)),
            offered("b", 2, "confirmed", None),
            offered("c", 3, "confirmed", None),
            offered("a", 4, "refused", Some(Reason::OtherTarget)),
            offered("b", 5, "refused", Some(Reason::OtherTarget)),
            offered("c", 6, "refused", Some(Reason::NotNewer)),
        ];
        let numbers: Vec<_> = latest(all).into_values().map(|offered| offered.number).collect();
        assert_eq!(numbers, [4, 2, 6]);
    }

    #[test]
    fn a_larger_part_contains_the_smaller_one() {
        let router = |number: u16| Router {
            name: format!("router-{number}").parse().unwrap(),
            password: Password::new("secret").unwrap(),
            added_at: Wall::EARLIEST,
            hello_at: None,
            version: None,
            online: None,
            online_at: None,
            revoked_at: None,
        };
        let routers: Vec<Router> = (0..30).map(router).collect();
        let mut before = Vec::new();
        for (percent, count) in [(1, 1), (10, 3), (11, 4), (50, 15), (100, 30)] {
            let part = part(&routers, "one", percent);
            assert_eq!(part.len(), count, "{percent} %");
            assert!(part.starts_with(&before), "{percent} %");
            before = part;
        }
        assert_ne!(part(&routers, "one", 50), part(&routers, "two", 50));
        assert!(part(&[], "one", 50).is_empty());
    }
}
