//! The rules, as the loop has them. The portal may look into them while nothing is under way that is not durable yet.

use crate::clock;
use anyhow::Context as _;
use lango_core::gateway::Gateway;
use lango_core::package::Package;
use lango_core::step::{Effect, Input};
use lango_core::units::Mac;
use std::cell::{Cell, Ref, RefCell};

/// The loop's, and the portal's to look at.
pub struct Rules {
    gateway: RefCell<Gateway>,
    /// Whether all that they hold is carried out. Not while a step is, and not while there is no store: what they say then may never come true.
    settled: Cell<bool>,
}

impl Rules {
    /// Not settled yet.
    pub const fn new(gateway: Gateway) -> Self {
        Self { gateway: RefCell::new(gateway), settled: Cell::new(false) }
    }

    /// To be asked. Not to be kept over a wait.
    pub fn get(&self) -> Ref<'_, Gateway> {
        self.gateway.borrow()
    }

    /// Begins again with others.
    pub fn replace(&self, gateway: Gateway) {
        self.gateway.replace(gateway);
    }

    /// Takes an input through; what is wanted then is to be carried out.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn handle(&self, input: Input) -> anyhow::Result<Vec<Effect>> {
        let entropy = clock::entropy().context("the system gives no randomness")?;
        Ok(self.gateway.borrow_mut().handle(input, clock::now(), &entropy))
    }

    /// Says whether all that was wanted is carried out.
    pub fn settle(&self, settled: bool) {
        self.settled.set(settled);
    }

    /// What the start page shows to a device that has nothing of its own: `look` is told the packages, and whether payments are possible. None for
    /// other devices, and where the rules are not settled: then they must be asked.
    pub fn common_start<T>(&self, device: Mac, look: impl FnOnce(&[Package], bool) -> T) -> Option<T> {
        if !self.settled.get() {
            return None;
        }
        let gateway = self.gateway.borrow();
        gateway.common_start(device, clock::now()).map(|(packages, payments)| look(packages, payments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use lango_core::request::{AskId, Request};

    #[test]
    fn nobody_looks_at_what_may_not_come_true() {
        let text = "config gateway\n\toption name r1\n\toption lan br-lan\n\toption wan wan\nconfig package day\n\toption label day\n\toption price 50\n\
                    \toption minutes 1440\n";
        let settings = config::parse("lango", text.as_bytes()).unwrap().settings();
        let (boot, device, other) = (clock::boot_id().unwrap(), Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let rules = Rules::new(Gateway::load(settings.clone(), Vec::new(), boot.clone(), clock::now()));
        let seen = |device| rules.common_start(device, |packages, payments| (packages.len(), payments));
        assert_eq!(seen(device), None, "nothing is taken over yet");
        rules.settle(true);
        assert_eq!((seen(device), seen(other)), (Some((1, false)), Some((1, false))));
        rules.settle(false);
        rules.handle(Input::Neighbour { mac: device, address: "10.0.0.2".parse().unwrap(), present: true }).unwrap();
        let wanted = rules.handle(Input::Ask(AskId(1), Request::Grant { device, package: "day".parse().unwrap() })).unwrap();
        assert!(wanted.iter().any(|effect| matches!(effect, Effect::Persist(_))));
        assert_eq!((seen(device), seen(other)), (None, None), "it is not stored yet");
        rules.settle(true);
        assert_eq!((seen(device), seen(other)), (None, Some((1, false))), "it has something of its own");
        rules.replace(Gateway::load(settings, Vec::new(), boot, clock::now()));
        assert_eq!(seen(device), Some((1, false)));
    }
}
