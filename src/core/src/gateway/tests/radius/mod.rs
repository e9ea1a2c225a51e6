//! RADIUS: who is let in by a server, what servers are told, and what they order.

mod access;
mod accounting;
mod orders;

use super::world::*;
use crate::gate::{Traffic, Usage};
use crate::radius::{
    AccessId, AccessOutcome, AccessRequest, Accounting, AccountingEvent, Authorization, Credential, DynamicId, DynamicOrder,
    DynamicRequest, ErrorCause, RadiusEvent, RadiusOrder, RadiusSettings, SessionMatch, StationFormat,
};
use crate::request::{Answer, AskId, Refusal, Request, SessionView, Target};
use crate::settings::Settings;
use crate::step::{Effect, Input};
use crate::time::Wall;
use crate::units::{Bytes, Kbps, Mac, Password, Seconds};

const CAROL: Mac = Mac([2, 0, 0, 0, 0, 0xc]);

fn with_radius(change: impl FnOnce(&mut RadiusSettings)) -> Settings {
    let mut radius =
        RadiusSettings { accounting: true, interim: Seconds(300), mac_login: false, roaming: false, station_id: StationFormat::default() };
    change(&mut radius);
    Settings { radius: Some(radius), ..settings() }
}

fn ready(change: impl FnOnce(&mut RadiusSettings)) -> World {
    let mut world = World::ready();
    world.settings = with_radius(change);
    world.step(Input::Reconfigured(world.settings.clone()));
    world.arrives(BOB, 101);
    world
}

/// Asks, and gives back the server's question where there is one, and the answer where that comes at once.
fn asks(world: &mut World, device: Mac, username: &str, password: &str) -> (Option<AccessRequest>, Option<Answer>) {
    let (username, password) = (username.parse().unwrap(), Password::new(password).unwrap());
    let effects = world.step(Input::Ask(AskId(9_000), Request::Login { device, username, password, replace: false }));
    (question(&effects), reply(&effects))
}

fn question(effects: &[Effect]) -> Option<AccessRequest> {
    effects.iter().find_map(|effect| match effect {
        Effect::Radius(RadiusOrder::Access(request)) => Some(request.clone()),
        _ => None,
    })
}

fn reply(effects: &[Effect]) -> Option<Answer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(AskId(9_000), answer) => Some(answer.clone()),
        _ => None,
    })
}

fn server_says(world: &mut World, id: AccessId, outcome: AccessOutcome) -> Option<Answer> {
    reply(&world.step(Input::Radius(RadiusEvent::Access(id, outcome))))
}

fn accept(granted: Authorization) -> AccessOutcome {
    AccessOutcome::Accept(Box::new(granted))
}

fn seconds(time: u64) -> Authorization {
    Authorization { time: Some(Seconds(time)), ..Authorization::default() }
}

/// Ann logs in with a device, and the server grants this.
fn let_in(world: &mut World, device: Mac, granted: Authorization) -> SessionView {
    let (request, None) = asks(world, device, "Ann@isp", "secret") else { panic!("answered by itself") };
    match server_says(world, request.unwrap().id, accept(granted)) {
        Some(Answer::Session(session)) => session,
        other => panic!("{other:?}"),
    }
}

/// What servers were told since the last look; all of it has arrived with that.
fn told(world: &mut World) -> Vec<Accounting> {
    let mut all = Vec::new();
    loop {
        let orders = std::mem::take(&mut world.radius);
        let new: Vec<Accounting> = orders
            .into_iter()
            .filter_map(|order| match order {
                RadiusOrder::Account(accounting) => Some(accounting),
                RadiusOrder::Access(_) | RadiusOrder::Answer(..) => None,
            })
            .collect();
        if new.is_empty() {
            return all;
        }
        for accounting in new {
            world.step(Input::Radius(RadiusEvent::Accounted { seq: accounting.seq }));
            all.push(accounting);
        }
    }
}

/// The same in short: what, of whom, how long, how much up and down, and why.
fn heard(world: &mut World) -> Vec<String> {
    told(world).into_iter().map(line).collect()
}

fn line(accounting: Accounting) -> String {
    match accounting.event {
        AccountingEvent::On => "on".to_owned(),
        AccountingEvent::Off { cause } => format!("off {cause:?}"),
        AccountingEvent::Start(session) => format!("start {}", session.user),
        AccountingEvent::Interim(session) => {
            format!("interim {} {} s {}/{}", session.user, session.time.0, session.traffic.up.0, session.traffic.down.0)
        }
        AccountingEvent::Stop { session, cause } => {
            format!("stop {} {} s {}/{} {cause:?}", session.user, session.time.0, session.traffic.up.0, session.traffic.down.0)
        }
    }
}

/// The kernel's last counts of a device that was just taken offline.
fn last_counts(world: &mut World, gate: crate::gate::GateId, device: Mac, up: u64, down: u64) {
    world.step(Input::LastCounts(vec![Usage { id: gate, mac: device, traffic: Traffic { up: Bytes(up), down: Bytes(down) } }]));
}
