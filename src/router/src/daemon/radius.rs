//! The daemon's way to RADIUS servers, where the config names any.

use crate::config::Config;
use crate::radius::{self, RadiusConfig, RadiusHandle};
use anyhow::Context as _;
use lango_core::radius::{RadiusEvent, RadiusOrder};
use tokio::sync::mpsc;

/// Servers, as they are configured now.
pub(super) struct Radius {
    events: mpsc::Sender<RadiusEvent>,
    running: Option<RadiusHandle>,
}

impl Radius {
    pub(super) const fn new(events: mpsc::Sender<RadiusEvent>) -> Self {
        Self { events, running: None }
    }

    /// Begins with the servers that are configured now; what was under way with others is dropped.
    pub(super) fn begin(&mut self, config: &Config) -> anyhow::Result<()> {
        self.running = None; // its port is free before the next one wants it
        self.running = match RadiusConfig::of(config) {
            Some(wanted) => Some(radius::start(wanted, self.events.clone()).context("RADIUS cannot be begun")?),
            None => None,
        };
        Ok(())
    }

    /// Without servers nobody is asked or told; the rules do not count on an answer.
    pub(super) fn order(&self, order: RadiusOrder) {
        if let Some(running) = &self.running {
            running.order(order);
        }
    }
}
