//! The cloud of the run: relays on one PostgreSQL (or one on SQLite), the broker, Safaricom, and the proxy in front of the relays.

use crate::database::Database;
use anyhow::{Context, Result};
use lango_lab::broker::Broker;
use lango_lab::net::Namespace;
use lango_lab::relay::{PORT, Relay};
use lango_lab::safaricom::Safaricom;
use lango_lab::safaricom::daraja::Merchant;
use lango_lab::safaricom::org::Masking;
use lango_lab::world::{CLOUD4, SAFARICOM4, World};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Where Safaricom's callbacks arrive: the proxy.
const PROXY: u16 = 8100;

/// The cloud.
pub struct Cloud {
    /// The relays.
    pub relays: Vec<Relay>,
    /// The broker.
    pub broker: Broker,
    /// The database, where it is a server.
    pub database: Option<Database>,
    /// Who moves the money.
    pub safaricom: Safaricom,
    /// The routers' config sections.
    pub sections: Vec<String>,
    place: Namespace,
}

impl Cloud {
    /// Everything started, with these routers known.
    pub fn start(world: &World, relays: usize, routers: &[String]) -> Result<Self> {
        let merchant = Merchant::sandbox();
        let safaricom = Safaricom::start(Some(&world.cloud), SocketAddr::new(SAFARICOM4.parse()?, 80), merchant.clone())?;
        safaricom.prompts_live(Duration::from_secs(10));
        let broker = Broker::new(&world.cloud, &world.folder)?;
        let database = (relays > 1).then(|| Database::start(&world.folder)).transpose()?;
        let mut all = Vec::new();
        for number in 0..relays {
            let folder = if number == 0 { world.folder.clone() } else { world.folder.join(format!("relay{}", number + 1)) };
            std::fs::create_dir_all(&folder)?;
            let relay = Relay::new(&world.cloud, &folder, &merchant, &broker)?;
            let config = folder.join("relay/lango-relay.toml");
            let mut lines: Vec<String> = std::fs::read_to_string(&config)?.lines().map(str::to_owned).collect();
            for line in &mut lines {
                match (line.split(' ').next(), &database) {
                    (Some("listen"), _) => *line = format!("listen = \"{CLOUD4}:{}\"", port(number)),
                    (Some("public_url"), _) => *line = format!("public_url = \"http://{CLOUD4}:{PROXY}\""),
                    (Some("database"), Some(database)) => *line = format!("database = \"{}\"", database.url()),
                    _ => {}
                }
            }
            std::fs::write(&config, lines.join("\n"))?;
            all.push(relay);
        }
        let sections = routers.iter().map(|name| Ok(all[0].add_router(name, &broker)?.section)).collect::<Result<_>>()?;
        for number in 1..relays {
            std::fs::copy(world.folder.join("relay/signing.key"), world.folder.join(format!("relay{}/relay/signing.key", number + 1)))?;
        }
        broker.start()?;
        let cloud = Self { relays: all, broker, database, safaricom, sections, place: world.cloud.clone() };
        for number in 0..relays {
            cloud.start_relay(number)?;
        }
        proxy(&world.cloud, relays)?;
        Ok(cloud)
    }

    /// Money that is paid by hand is told to the relays, with the payer's whole number: each has one of its own here, by which it
    /// is found in every book.
    pub fn pay_bill_tells(&self) -> Result<()> {
        self.safaricom.masks(Masking::Whole);
        self.relays[0].command(&["c2b", "register"]).map(drop)
    }

    /// Starts a relay, and waits until it takes callbacks. One that ends at once, because its database is away, is started again.
    pub fn start_relay(&self, number: usize) -> Result<()> {
        let program = &self.relays[number].program;
        let address = SocketAddr::new(CLOUD4.parse()?, port(number));
        lango_lab::wait::until_true("a relay to take callbacks", Duration::from_secs(60), || {
            if !program.running() {
                program.kill9();
                let _ = program.start();
            }
            self.place.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).is_ok()
        })
        .with_context(|| program.tail(20))
    }

    /// Starts the broker where it does not run.
    pub fn start_broker(&self) -> Result<()> {
        if !self.broker.program.running() {
            self.broker.program.kill9();
            self.broker.start()?;
        }
        Ok(())
    }
}

fn port(number: usize) -> u16 {
    PORT + u16::try_from(number).unwrap_or(0)
}

/// What stands before the relays in the cloud: it passes a callback to the first relay that takes the connection.
fn proxy(cloud: &Namespace, relays: usize) -> Result<()> {
    let address = SocketAddr::new(CLOUD4.parse()?, PROXY);
    let listener = cloud.run(|| TcpListener::bind(address)).context("the proxy")?;
    let cloud = cloud.clone();
    std::thread::spawn(move || {
        for (count, client) in listener.incoming().flatten().enumerate() {
            let cloud = cloud.clone();
            std::thread::spawn(move || {
                let connect = |number| {
                    let address = SocketAddr::new(address.ip(), port(number));
                    cloud.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1))).ok()
                };
                if let Some(relay) = (0..relays).find_map(|n| connect((count + n) % relays)) {
                    pass(client, relay);
                }
            });
        }
    });
    Ok(())
}

fn pass(client: TcpStream, relay: TcpStream) {
    let (Ok(from), Ok(to)) = (client.try_clone(), relay.try_clone()) else { return };
    std::thread::spawn(move || copy(from, to));
    copy(relay, client);
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut block = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut block) {
        if to.write_all(&block[..length]).is_err() {
            break;
        }
    }
    // Whoever is left hears the end; a connection that is gone already has nothing to hear.
    let _ = to.shutdown(Shutdown::Write);
}
