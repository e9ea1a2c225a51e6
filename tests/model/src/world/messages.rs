//! What is under way between routers, relays and Safaricom: that it arrives, and who is connected.

use super::{Packet, World};
use crate::input::Answer;
use lango_core::step;

impl World {
    /// Everything that is under way arrives, in order; what follows from it is under way after that.
    pub(super) fn flow(&mut self) -> Result<(), String> {
        for number in 0..self.relays.len() {
            for _ in 0..self.relays[number].tasks.len() {
                self.work(number, 0, Answer::Given)?;
            }
        }
        for number in 0..self.bus.len() {
            // What cannot arrive yet goes to the back of the queue.
            self.deliver(0, number)?;
        }
        for number in 0..self.safaricom.calls.len() {
            let call = self.safaricom.calls.remove(0);
            let first = number % self.relays.len();
            // The proxy in front of the relays takes the first that answers.
            let relay = (0..self.relays.len()).map(|n| (first + n) % self.relays.len()).find(|n| self.relays[*n].runs);
            self.call_back(&call, relay.unwrap_or(first))?;
        }
        for number in 0..self.safaricom.tells.len() {
            let hand = self.safaricom.tells.remove(0);
            let first = number % self.relays.len();
            let relay = (0..self.relays.len()).map(|n| (first + n) % self.relays.len()).find(|n| self.relays[*n].runs);
            self.tell(&hand, relay.unwrap_or(first));
        }
        self.safaricom.pass(self.now);
        self.collect();
        Ok(())
    }

    pub(super) fn deliver(&mut self, n: usize, relay: usize) -> Result<(), String> {
        let Some(packet) = self.take_packet(n) else { return Ok(()) };
        self.steps += 1;
        match packet {
            Packet::Down(router, down) => {
                let Some(down) = self.falsified(router, down) else { return Ok(()) };
                let to = &mut self.routers[router];
                if to.runs() && to.net {
                    to.step(step::Input::Relay(down), self.now);
                } else {
                    self.bus.push_back(Packet::Down(router, down)); // the broker keeps it for a router's session
                }
            }
            Packet::Up(router, up) => {
                let count = self.relays.len();
                let relay = (0..count).map(|n| (relay + n) % count).find(|n| self.relays[*n].runs && self.relays[*n].connected);
                match relay {
                    Some(relay) => self.router_says(relay, router, up)?,
                    None if self.is_shared() => {} // nobody's session: routers say it again when a relay is back
                    None => self.bus.push_back(Packet::Up(router, up)),
                }
            }
        }
        self.collect();
        Ok(())
    }

    pub(super) fn link_router(&mut self, number: usize, connected: bool) {
        let router = &mut self.routers[number];
        if router.net {
            router.net = false;
            router.step(step::Input::Link { connected: false }, self.now);
        }
        if connected {
            router.net = true;
            router.suffered = false;
            router.step(step::Input::Link { connected: true }, self.now);
            let online = self.is_present();
            self.routers[number].step(step::Input::RelayPresence { online }, self.now);
        }
        self.collect();
    }

    pub(super) fn start_router(&mut self, number: usize) {
        if self.routers[number].runs() {
            return;
        }
        let online = self.is_present();
        let router = &mut self.routers[number];
        router.start(self.now);
        router.suffered = false;
        if router.net {
            router.step(step::Input::RelayPresence { online }, self.now);
        }
        self.collect();
    }

    pub(super) fn is_present(&self) -> bool {
        self.relays.iter().any(|relay| relay.runs && relay.connected)
    }

    pub(super) fn presence(&mut self, online: bool) {
        for number in 0..self.routers.len() {
            if self.routers[number].net {
                self.routers[number].step(step::Input::RelayPresence { online }, self.now);
            }
        }
        self.collect();
    }
}
