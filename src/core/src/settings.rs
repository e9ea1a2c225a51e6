//! What the operator configured, as far as rules depend on it.

use crate::package::Package;
use crate::radius::RadiusSettings;
use crate::units::{Millis, PackageId, RouterName, Shillings};
use serde::{Deserialize, Serialize};

/// What happens to paid time while the router is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// It stands still.
    #[default]
    Pause,
    /// It goes on.
    Run,
}

/// The rules' settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The router's name in its fleet.
    pub name: RouterName,
    /// What is sold, in the operator's order.
    pub packages: Vec<Package>,
    /// What a power cut does to paid time.
    pub outage: Outage,
    /// How often what was used is made durable while somebody is online: a power cut forgets at most this much, in the
    /// customer's favour.
    pub checkpoint: Millis,
    /// Whether there is a relay in the config at all.
    pub relay: bool,
    /// Whether customers are told of the end of what they have, and how long before it; zero: at the end.
    pub end_notice: Option<Millis>,
    /// RADIUS, where there is a section of it in the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius: Option<RadiusSettings>,
    /// The program's version, told to the relay and to operators.
    pub version: String,
}

impl Settings {
    /// The package of that id.
    #[must_use]
    pub fn package(&self, id: &PackageId) -> Option<&Package> {
        self.packages.iter().find(|package| package.id == *id)
    }

    /// What money buys of which no order tells any more, but the name of a package perhaps: that package at its price; else the
    /// first in the list that costs just this; else the named one, if it costs less by now. Anything else would be a guess.
    #[must_use]
    pub fn package_paid(&self, named: Option<&PackageId>, amount: Shillings) -> Option<&Package> {
        let named = named.and_then(|id| self.package(id));
        let at_price = |package: &&Package| package.price == amount;
        named.filter(at_price).or_else(|| self.packages.iter().find(at_price)).or_else(|| named.filter(|package| package.price < amount))
    }
}
