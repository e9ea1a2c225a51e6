//! RADIUS (RFC 2865, 2866, 5176, 6614): asks servers for the rules, tells them of sessions, and takes their orders.
//!
//! The packets' octets are the `radius` library's; what is believed, and what is asked when, is ours. `dictionary`, `packet`,
//! `mschap`, `request`, `reply`, `values` and `dynamic` are pure; `server` and `client` ask; `udp` and `radsec` hold the sockets.

mod accounting;
mod client;
mod config;
pub mod dictionary;
pub mod dynamic;
pub mod mschap;
mod orders;
pub mod packet;
mod radsec;
pub mod reply;
pub mod request;
mod server;
mod udp;
pub mod values;

pub use config::{Certificates, RadiusConfig, ServerConfig};

use accounting::Teller;
use anyhow::Context as _;
use client::{PATIENCE, Pool};
use dynamic::Named;
use lango_core::radius::{AccessOutcome, AccessRequest, Accounting, RadiusEvent, RadiusOrder};
use orders::Desk;
use request::{Challenge, Method, Nas};
use ring::rand::{SecureRandom, SystemRandom};
use server::{Blame, Server};
use std::rc::Rc;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Questions that are open at once at most. Beyond it there is no answer: so many customers do not log in within seconds.
pub const QUESTIONS: usize = 2048;

/// What the daemon's side holds. Dropping it ends everything at once.
#[derive(Debug)]
pub struct RadiusHandle {
    orders: mpsc::UnboundedSender<RadiusOrder>,
    task: JoinHandle<()>,
}

impl RadiusHandle {
    /// Ends everything, and returns when its ports are free.
    pub async fn stop(self) {
        drop(self.orders);
        if let Err(cause) = self.task.await {
            log::error!("radius: its task ended: {cause}");
        }
    }

    /// Gives an order; never waits. Of [`RadiusOrder::Account`] all that are here are told beside each other: give those whose order
    /// matters one after the other, each when the last is acknowledged. One that is here already is not taken twice.
    pub fn order(&self, order: RadiusOrder) {
        if self.orders.send(order).is_err() {
            log::debug!("radius: it has ended; an order is not carried out");
        }
    }
}

/// Starts it on the current [`tokio::task::LocalSet`]: call it inside one.
///
/// # Errors
/// When the port for orders is taken, or certificates cannot be read.
pub fn start(config: RadiusConfig, events: mpsc::Sender<RadiusEvent>) -> anyhow::Result<RadiusHandle> {
    let desk = Desk::new(Named { identifier: config.nas.identifier.clone(), address: config.nas.address }, events.clone());
    let nas = Rc::new(config.nas);
    let all = config.servers.iter().chain(&config.accounting);
    let tls = if all.clone().any(|server| server.tls) { Some(radsec::connector(&config.certificates)?) } else { None };
    let mut tasks = JoinSet::new();
    let mut servers = Vec::new();
    for server in all {
        let (server, packets) = Server::new(server.clone(), &config.secret, Rc::clone(&desk));
        match &tls {
            Some(tls) if server.config.tls => {
                tasks.spawn_local(Rc::clone(&server).keep_alive(Rc::clone(&nas), radsec::IDLE));
                tasks.spawn_local(radsec::serve(Rc::clone(&server), packets, tls.clone()))
            }
            _ => tasks.spawn_local(udp::serve(Rc::clone(&server), packets)),
        };
        tasks.spawn_local(Rc::clone(&server).watch(Rc::clone(&nas)));
        servers.push(server);
    }
    if let Some(port) = config.coa_port {
        let socket = udp::listen(port).with_context(|| format!("radius: UDP port {port} for servers' orders (coa_port)"))?;
        tasks.spawn_local(udp::take_orders(socket, servers.clone(), config.secret, Rc::clone(&desk)));
    }
    let told = servers.split_off(config.servers.len());
    let (account, accounts) = mpsc::unbounded_channel();
    if !told.is_empty() {
        let boot = clock_boot()?;
        let teller = Teller { pool: Pool(told), nas: Rc::clone(&nas), boot, events: events.clone() };
        tasks.spawn_local(accounting::run(teller, accounts));
    }
    let asker = Rc::new(Asker { pool: Pool(servers), nas, method: config.method, events });
    let (orders, received) = mpsc::unbounded_channel();
    let task = tokio::task::spawn_local(run(asker, desk, account, received, tasks));
    Ok(RadiusHandle { orders, task })
}

fn clock_boot() -> anyhow::Result<lango_core::time::BootId> {
    crate::clock::boot_id().context("radius: which boot this is")
}

/// What asking needs.
struct Asker {
    pool: Pool,
    nas: Rc<Nas>,
    method: Method,
    events: mpsc::Sender<RadiusEvent>,
}

async fn run(
    asker: Rc<Asker>,
    desk: Rc<Desk>,
    account: mpsc::UnboundedSender<Accounting>,
    mut orders: mpsc::UnboundedReceiver<RadiusOrder>,
    mut tasks: JoinSet<()>,
) {
    // In a set of their own, to be counted; all end with this.
    let mut questions = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(RadiusOrder::Access(request)) => {
                    let asked = questions.len() < QUESTIONS;
                    questions.spawn_local(access(Rc::clone(&asker), request, asked));
                }
                // Without accounting servers nobody takes it: the rules know.
                Some(RadiusOrder::Account(told)) => drop(account.send(told)),
                Some(RadiusOrder::Answer(id, outcome)) => desk.answer(id, outcome),
                None => break,
            },
            Some(_) = questions.join_next() => {}
            Some(ended) = tasks.join_next() => if let Err(cause) = ended {
                log::error!("radius: a task ended: {cause}");
            },
        }
    }
    questions.shutdown().await;
    tasks.shutdown().await;
}

/// Asks one question, and tells what came of it.
async fn access(asker: Rc<Asker>, request: AccessRequest, asked: bool) {
    let outcome = if asked { answer(&asker, &request).await } else { None };
    // Nobody takes it: the daemon stops.
    let _ = asker.events.send(RadiusEvent::Access(request.id, outcome.unwrap_or(AccessOutcome::NoAnswer))).await;
}

async fn answer(asker: &Asker, request: &AccessRequest) -> Option<AccessOutcome> {
    let (mut own, mut peer) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    if random.fill(&mut own).and_then(|()| random.fill(&mut peer)).is_err() {
        log::error!("radius: the system gives no random numbers");
        return None;
    }
    let challenge = Challenge { own, peer };
    let mut proof = None;
    let asked = asker.pool.ask(Instant::now() + PATIENCE, Blame::Server, |sending| {
        let question = request::access(&asker.nas, asker.method, request, sending, &challenge)?;
        proof = question.proof;
        Ok(question.bytes)
    });
    match asked.await {
        Ok(packet) => match reply::outcome(&packet, proof.as_deref()) {
            Ok(outcome) => Some(outcome),
            Err(cause) => {
                log::warn!("radius: an answer is of no use: {cause}");
                None
            }
        },
        Err(cause) => {
            log::debug!("radius: no answer: {cause}");
            None
        }
    }
}
