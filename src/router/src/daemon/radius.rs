//! The daemon's way to RADIUS servers: the configuration's radius section as the adapter needs it, and the adapter that runs.

use crate::config::Config;
use crate::config::values::RadiusServer;
use crate::radius::request::Nas;
use crate::radius::{self, Certificates, RadiusConfig, RadiusHandle, ServerConfig};
use lango_core::radius::{RadiusEvent, RadiusOrder};
use lango_core::units::Mac;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// When what could not be begun is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Servers, as they are configured now.
pub(super) struct Radius {
    events: mpsc::Sender<RadiusEvent>,
    running: Option<(RadiusConfig, RadiusHandle)>,
    /// What could not be begun, and when it is tried again.
    wanted: Option<(RadiusConfig, Instant)>,
}

impl Radius {
    pub(super) const fn new(events: mpsc::Sender<RadiusEvent>) -> Self {
        Self { events, running: None, wanted: None }
    }

    /// Goes on with the servers that are configured now. What was under way with others is dropped; the rules give it again.
    /// A port that is taken, or a certificate that cannot be read, is told and tried again: nobody who paid here waits for it.
    pub(super) async fn reconfigure(&mut self, config: &Config) {
        let wanted = adapter_config(config);
        self.wanted = None;
        if self.running.as_ref().map(|(running, _)| running) == wanted.as_ref() {
            return;
        }
        if let Some((_, running)) = self.running.take() {
            running.stop().await; // its port is free before the next one wants it
        }
        if let Some(wanted) = wanted {
            self.begin(wanted);
        }
    }

    fn begin(&mut self, wanted: RadiusConfig) {
        match radius::start(wanted.clone(), self.events.clone()) {
            Ok(running) => self.running = Some((wanted, running)),
            Err(cause) => {
                log::error!("radius: no server is asked or told: {cause:#}; trying again in {} s", AGAIN.as_secs());
                self.wanted = Some((wanted, Instant::now() + AGAIN));
            }
        }
    }

    /// When something is to be done about what could not be begun.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.as_ref().map(|(_, at)| *at)
    }

    /// Tries again what could not be begun. Gives back whether it runs now: then the rules have to give everything again.
    pub(super) fn try_again(&mut self) -> bool {
        let Some((wanted, _)) = self.wanted.take_if(|(_, at)| *at <= Instant::now()) else { return false };
        self.begin(wanted);
        self.running.is_some()
    }

    /// Without servers nobody is asked or told; the rules do not count on an answer.
    pub(super) fn order(&self, order: RadiusOrder) {
        if let Some((_, running)) = &self.running {
            running.order(order);
        }
    }
}

/// What the adapter needs; nothing where there is no such section.
fn adapter_config(config: &Config) -> Option<RadiusConfig> {
    let bridge = config.gateway.lan.first().and_then(|lan| ethernet_address(lan.as_str()));
    with_bridge(config, bridge)
}

/// An interface's Ethernet address; nothing where it is not there yet.
fn ethernet_address(interface: &str) -> Option<Mac> {
    std::fs::read_to_string(format!("/sys/class/net/{interface}/address")).ok()?.trim().parse().ok()
}

fn with_bridge(config: &Config, bridge: Option<Mac>) -> Option<RadiusConfig> {
    let radius = config.radius.as_ref()?;
    let station = radius.rules.station_id;
    let server = |server: &RadiusServer| ServerConfig {
        host: server.at.host.clone(),
        port: server.at.port,
        tls: server.tls,
        must_sign: radius.require_message_authenticator && !radius.old_servers.contains(&server.at.host),
    };
    // Without its address a router is still known by its name.
    let own = radius.called_station_id.clone().or_else(|| bridge.map(|bridge| station.write(bridge)));
    let mut called_station = own.unwrap_or_else(|| radius.nas_identifier.clone());
    if let Some(ssid) = &radius.ssid {
        called_station.push(':');
        called_station.push_str(ssid);
    }
    Some(RadiusConfig {
        servers: radius.servers.iter().map(server).collect(),
        accounting: radius.accounting.iter().map(server).collect(),
        secret: radius.secret.reveal().as_bytes().to_vec(),
        method: radius.method,
        nas: Nas {
            identifier: radius.nas_identifier.clone(),
            address: radius.nas_ip,
            called_station,
            station,
            location_id: radius.location_id.clone(),
            location_name: radius.location_name.clone(),
        },
        coa_port: radius.coa_port,
        certificates: Certificates { ca: radius.ca.clone(), own: radius.own.clone() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(more: &str) -> RadiusConfig {
        let text = format!(
            "config gateway\noption name kibera-7\noption lan br-lan\noption wan wan\nconfig radius\nlist server 192.0.2.10\nlist server new.lan\noption secret s\n{more}"
        );
        let config = crate::config::parse("lango", text.as_bytes()).unwrap();
        with_bridge(&config, "02:00:5e:10:00:0a".parse().ok()).unwrap()
    }

    #[test]
    fn what_the_servers_are_told_of_the_router() {
        let plain = made("");
        assert_eq!((plain.nas.identifier.as_str(), plain.nas.called_station.as_str()), ("kibera-7", "02-00-5E-10-00-0A"));
        assert_eq!(made("option ssid 'Free Wi-Fi'\noption station_id aabbccddeeff\n").nas.called_station, "02005e10000a:Free Wi-Fi");
        assert_eq!(made("option ssid x\noption called_station_id gate\n").nas.called_station, "gate:x");
    }

    #[test]
    fn whose_answers_must_be_signed() {
        let must = |more| made(more).servers.iter().map(|server| server.must_sign).collect::<Vec<_>>();
        assert_eq!(must(""), [true, true]);
        assert_eq!(must("list old_server 192.0.2.10\n"), [false, true]);
        assert_eq!(must("option require_message_authenticator 0\n"), [false, false]);
    }
}
