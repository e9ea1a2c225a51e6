//! A second router of the same fleet: another place with a LAN, a store and keys of its own, behind an address of its own. To the
//! customers it looks as the first: the same Wi-Fi, the same addresses on the LAN.

use crate::Lab;
use crate::dnsmasq;
use crate::net::Namespace;
use crate::phone::Phone;
use crate::process::Program;
use crate::relay::Credentials;
use crate::router::Lango;
use crate::wait::until;
use crate::world::{self, LAN};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Its name in the fleet.
pub const NAME: &str = "kibera-8";

/// The kernel asks three times, a second apart, after some seconds of doubt, before it says that nobody is there.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// The router. Drop it before the lab.
pub struct Second {
    /// Its program.
    pub lango: Lango,
    /// What the relay gave it.
    pub credentials: Credentials,
    /// Its host, with `br-lan` and `wan`.
    pub router: Namespace,
    /// Where its files and logs are.
    pub folder: PathBuf,
    _dnsmasq: Program,
}

impl Second {
    /// Lays it beside the lab's own, with these packages, and starts it; payments are possible there, too.
    ///
    /// # Errors
    /// When something does not start: with the end of its log.
    pub fn start(lab: &Lab, packages: &str) -> Result<Self> {
        let router = lab.world.second_router().context("laying a second router")?;
        let folder = lab.world.folder.join("second");
        std::fs::create_dir(&folder)?;
        let dnsmasq = dnsmasq::start(&router, &folder)?;
        let credentials = lab.relay.add_router(NAME, &lab.broker)?;
        let lango = Lango::named(NAME, &router, &folder, &credentials.section, packages)?;
        let second = Self { lango, credentials, router, folder, _dnsmasq: dnsmasq };
        second.lango.start()?;
        second.lango.await_payments().with_context(|| lab.relay.program.tail(40))?;
        Ok(second)
    }
}

/// The phone leaves the Wi-Fi of `from` and joins that of `to`: as it is, under its own MAC address. `from` has noticed that it is gone:
/// there is always something from the internet for a phone that has just left.
///
/// # Panics
/// When it cannot join, or `from` goes on taking it for present.
pub fn walk(phone: &Phone, from: &Namespace, to: &Namespace) {
    try_walk(phone, from, to).unwrap_or_else(|e| panic!("{} walking from {} to {}: {e:#}", phone.name, from.name(), to.name()));
}

fn try_walk(phone: &Phone, from: &Namespace, to: &Namespace) -> Result<()> {
    phone.leave();
    from.ip(&["link", "set", &phone.name, "netns", to.name()])?;
    let mut here = String::new();
    let noticed = until("the router that it left to notice", GIVEN_UP, || {
        let known = from.ip(&["neigh", "show", "dev", LAN]).ok()?;
        let still: Vec<&str> = known.lines().filter(|line| line.contains(&phone.mac) && !line.contains("FAILED")).collect();
        here = still.join("; ");
        if still.is_empty() {
            return Some(());
        }
        // Nobody answers: that is the point of it.
        std::thread::scope(|scope| {
            for address in still.iter().filter_map(|line| line.split(' ').next()) {
                let zone = if address.starts_with("fe80:") { format!("%{LAN}") } else { String::new() };
                scope.spawn(move || from.exec("ping", &["-c", "1", "-W", "1", &format!("{address}{zone}")]));
            }
        });
        None
    });
    noticed.with_context(|| format!("it holds these for present: {here}"))?;
    world::plug(to, &phone.name)?;
    phone.try_join().map(drop)
}
