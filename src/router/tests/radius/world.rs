//! The adapter under test, with words for what it is asked.

use lango::radius::request::{Method, Nas};
use lango::radius::{Certificates, RadiusConfig, RadiusHandle, ServerConfig, start};
use lango_core::gate::Traffic;
use lango_core::radius::{
    AccessId, AccessOutcome, AccessRequest, AccountedSession, Accounting, AccountingEvent, Authorization, Credential, RadiusEvent,
    RadiusOrder, SessionId, StationFormat,
};
use lango_core::units::{Bytes, Password, Seconds};
use lango_lab::net::Namespace;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const SECRET: &str = "lab-radius-secret";
pub const DEVICE: &str = "02:00:5e:10:00:0b";

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `work` as the daemon would, inside a network namespace.
pub fn inside(namespace: &Namespace, work: impl AsyncFnOnce() + Send) {
    namespace.run(|| alone(work));
}

/// The same on this machine's own loopback.
pub fn alone(work: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work());
}

pub fn server(host: &str, port: u16) -> ServerConfig {
    ServerConfig { host: host.into(), port, tls: false, must_sign: true }
}

/// A config that asks the given servers.
pub fn config(servers: Vec<ServerConfig>) -> RadiusConfig {
    RadiusConfig {
        servers,
        accounting: vec![],
        secret: SECRET.into(),
        method: Method::Pap,
        nas: Nas {
            identifier: "kibera-7".into(),
            address: Some("192.0.2.7".parse().unwrap()),
            called_station: "02-00-5E-10-00-01:Lango".into(),
            station: StationFormat::default(),
            location_id: Some("isocc=ke,cc=254".into()),
            location_name: Some("Lango,Kibera".into()),
        },
        coa_port: None,
        certificates: Certificates::default(),
    }
}

pub struct Adapter {
    pub handle: RadiusHandle,
    pub events: mpsc::Receiver<RadiusEvent>,
    last: u64,
}

impl Adapter {
    pub fn start(config: RadiusConfig) -> Self {
        let (sender, events) = mpsc::channel(64);
        Self { handle: start(config, sender).unwrap(), events, last: 0 }
    }

    pub async fn event(&mut self) -> RadiusEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("no event came").expect("the adapter ended")
    }

    /// Gives the order for a question, without waiting for its answer.
    pub fn question(&mut self, user: &str, credential: Credential) -> AccessId {
        self.last += 1;
        let id = AccessId(self.last);
        self.handle.order(RadiusOrder::Access(AccessRequest {
            id,
            session: SessionId(format!("session{:05}", self.last)),
            device: DEVICE.parse().unwrap(),
            address: Some("10.77.0.11".parse().unwrap()),
            user: user.parse().unwrap(),
            credential,
        }));
        id
    }

    pub async fn ask(&mut self, user: &str, password: &str) -> AccessOutcome {
        let asked = self.question(user, Credential::Password(Password::new(password).unwrap()));
        match self.event().await {
            RadiusEvent::Access(id, outcome) if id == asked => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn tell(&self, seq: u64, event: AccountingEvent) {
        let now = lango::clock::now();
        let boot = lango::clock::boot_id().unwrap();
        self.handle.order(RadiusOrder::Account(Accounting { seq, boot, at: now.monotonic, at_wall: now.wall, refused: false, event }));
    }

    pub async fn acknowledged(&mut self) -> u64 {
        match self.event().await {
            RadiusEvent::Accounted { seq } => seq,
            other => panic!("{other:?}"),
        }
    }
}

pub fn accepted(outcome: AccessOutcome) -> Authorization {
    match outcome {
        AccessOutcome::Accept(authorization) => *authorization,
        other => panic!("{other:?}"),
    }
}

pub fn session(id: &str, seconds: u64, up: u64, down: u64) -> AccountedSession {
    AccountedSession {
        id: SessionId(id.into()),
        user: "nemo".parse().unwrap(),
        device: DEVICE.parse().unwrap(),
        addresses: vec!["10.77.0.11".parse().unwrap(), "fd77::11".parse().unwrap()],
        class: vec![b"gold".to_vec()],
        remote: true,
        time: Seconds(seconds),
        traffic: Traffic { up: Bytes(up), down: Bytes(down) },
    }
}
