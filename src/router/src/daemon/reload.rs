//! SIGHUP: the configuration is read again, and what runs is made to fit.

use super::{AGAIN, Daemon, start};
use crate::config;
use crate::gate::Gate;
use crate::sync::{Sync, SyncEvent};
use lango_core::step::Input;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::time::Instant;

impl Daemon {
    /// Reads the configuration again, and goes by it. An invalid one is refused, told, and the one in force stays.
    pub(super) async fn reload(&mut self, sync: Option<mpsc::Receiver<SyncEvent>>) -> anyhow::Result<Option<mpsc::Receiver<SyncEvent>>> {
        let (config, own) = match config::load_whole(&self.config_path) {
            Ok(whole) => whole,
            Err(error) => {
                error.to_string().lines().for_each(|line| log::error!("config: {line}"));
                log::error!("config: it is refused, the one in force stays");
                return Ok(sync);
            }
        };
        for what in start::only_at_start(&self.config, &config) {
            log::warn!("config: {what} changed; that takes effect when lango starts again");
        }
        // What the portal sees of the configuration is new from here on, and the rules are only when they have been through it.
        self.rules.settle(false);
        let old_https = self.config.https.clone();
        self.config = start::keep_what_only_starts(&self.config, config);
        self.renew_certificate(old_https);
        let update_told = self.updates.reconfigure(self.config.update.clone());
        self.portal_config.send_replace(start::portal_config_of(&self.config, own));
        let fewer = self.garden.set_hosts(&self.config.gateway.allow);
        if fewer && let Some(Err(cause)) = self.gate.as_mut().map(Gate::empty_garden) {
            log::warn!("gate: {cause}");
            self.failures.gate += 1;
            self.gate_again = Some(Instant::now() + AGAIN);
        }
        // An interface that came up since the start, or the first package with a speed: not at somebody's purchase.
        if let Some(gate) = self.gate.as_mut().filter(|_| start::sells_speeds(&self.config)) {
            gate.expect_speeds();
        }
        // Before the rules give everything again: what the one before had under way is gone with it.
        self.radius.reconfigure(&self.config).await;
        let mut inputs = VecDeque::from([Input::Reconfigured(self.config.settings())]);
        let mut events = sync;
        match (self.sync.take(), start::sync_config(&self.config)?) {
            (Some(running), Some(config)) => {
                running.reconfigure(config);
                self.sync = Some(running);
            }
            (None, Some(config)) => (self.sync, events) = Some(Sync::start(config)).unzip(),
            (Some(running), None) => {
                let (unsent, refused) = running.failures();
                (self.failures.unsent, self.failures.refused) = (self.failures.unsent + unsent, self.failures.refused + refused);
                running.stop().await;
                (self.connected, events) = (false, None);
                inputs.push_back(Input::Link { connected: false });
            }
            (None, None) => {}
        }
        inputs.extend(update_told.map(Input::Update));
        self.step(inputs).await?;
        log::info!("config: read again and in force");
        Ok(events)
    }
}
