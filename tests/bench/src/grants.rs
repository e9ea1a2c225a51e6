//! From the grant to the first packet of the device that arrives outside.

use crate::daemon::{Control, Lango, gate_config};
use crate::device::Device;
use crate::figures::Samples;
use crate::network::Network;
use crate::traffic::{Sink, Stream, now};
use anyhow::{Context as _, Result, ensure};
use lango::clock;
use lango::gate::Gate;
use lango_core::gate::{GateAccount, GateChange, GateDevice, GateId};
use lango_core::request::OnlineView;
use lango_core::units::{Bytes, Millis, PackageId};
use lango_lab::process::PATIENCE;
use lango_lab::wait::{until, until_true};
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

/// The device's packets come this often: an earlier arrival than half of it on average cannot be seen.
const PACE: Duration = Duration::from_micros(150);
/// So many are sent, and refused, before the grant.
const BEFORE: u64 = 5;
/// The net of device 0's further addresses, which show that the daemon has heard all before them. Link-local: a second address
/// of any other kind would be held back until the first is known to be gone.
const FURTHER_ADDRESSES: [u8; 2] = [169, 254];
/// For thousands of devices at a time.
pub const LONG: Duration = Duration::from_secs(120);
/// Numbers of accounts that the daemon has not.
const OWN_ACCOUNTS: u32 = 3_000_000_000;

/// What was measured, in milliseconds.
pub struct Grants {
    /// From before the request to the first packet outside.
    pub first_packet: Samples,
    /// From before the request to its answer.
    pub answered: Samples,
}

/// Through the daemon: its control socket, its store, its gate.
///
/// # Errors
/// When a grant is refused, or a packet does not come, or one comes too early.
pub fn through_daemon(network: &Network, lango: &Lango, sink: &Sink, package: &PackageId, devices: &[Device]) -> Result<Grants> {
    let mut control = lango.control()?;
    meet(network, &mut control, devices)?;
    let grants = devices.iter().map(|device| {
        timed(network, sink, *device, || {
            ensure!(control.grant(*device, package)?, "the router has not seen {} yet", device.mac());
            Ok(())
        })
    });
    let grants = grants.collect::<Result<Vec<_>>>()?;
    for device in devices {
        control.kick(*device)?;
    }
    Ok(sorted(&grants))
}

/// Makes the daemon know where these devices are. Who is not online is in no list of its; but addresses are told in order,
/// and a new one of a device that is online shows: of device 0.
///
/// # Errors
/// When it does not hear of them.
pub fn meet(network: &Network, control: &mut Control, devices: &[Device]) -> Result<()> {
    let last = devices.last().context("no device")?;
    let known = Device(0);
    let ([net, rest], [_, _, high, low]) = (FURTHER_ADDRESSES, last.0.to_be_bytes());
    let further = Ipv4Addr::new(net, rest, high, low);
    network.neighbours(devices.iter().map(|device| (device.address(), device.mac())).chain([(further, known.mac())]))?;
    until_true("the daemon to have seen all devices", LONG, || {
        let shown = |session: &OnlineView| session.mac == known.mac() && session.addresses.contains(&further.into());
        control.sessions().is_ok_and(|sessions| sessions.iter().any(shown))
    })
}

/// The gate alone, without rules and store, by the library: what the kernel's part costs. The daemon must not run.
///
/// # Errors
/// As [`through_daemon`].
pub fn gate_alone(network: &Network, sink: &Sink, devices: &[Device]) -> Result<Grants> {
    let mut gate = network.router.run(|| Gate::open(gate_config())).context("the gate")?;
    let mut grants = Vec::new();
    for device in devices {
        let change = GateChange::Set(account(*device));
        grants.push(timed(network, sink, *device, || gate.apply(&[change], clock::monotonic()).map(drop).context("the gate"))?);
    }
    let gone: Vec<_> = devices.iter().map(|device| GateChange::Remove(account(*device).id)).collect();
    gate.apply(&gone, clock::monotonic())?;
    Ok(sorted(&grants))
}

fn account(device: Device) -> GateAccount {
    let addresses = [IpAddr::from(device.address())].into();
    GateAccount {
        id: GateId(OWN_ACCOUNTS + device.0),
        until: Some(clock::monotonic().after(Millis::from_minutes(60))),
        data_end: Some(Bytes(500_000_000)),
        used: Bytes::ZERO,
        down: None,
        up: None,
        devices: [(device.mac(), GateDevice { addresses, ..GateDevice::default() })].into(),
    }
}

fn timed(network: &Network, sink: &Sink, device: Device, grant: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    let stream = Stream::start(network, device, device.0, PACE)?;
    until("the device's packets", PATIENCE, || (stream.sent() >= BEFORE).then_some(()))?;
    ensure!(sink.first(device.0).is_none(), "packets of {} got out before the grant", device.mac());
    let (asked, begun) = (now(), Instant::now());
    grant()?;
    let answered = begun.elapsed();
    let arrived = until("the first packet of a device that was granted", PATIENCE, || sink.first(device.0))?;
    stream.stop()?;
    let took = arrived.checked_sub(asked).context("a packet got out before the grant, or somebody set the clock")?;
    Ok((took, answered))
}

fn sorted(grants: &[(Duration, Duration)]) -> Grants {
    Grants { first_packet: grants.iter().map(|grant| grant.0).collect(), answered: grants.iter().map(|grant| grant.1).collect() }
}

/// What it costs here to make 4 KiB durable in a file that has its length already, as the store's has: a grant makes its
/// record so before the kernel is told. In milliseconds.
///
/// # Errors
/// When the disk refuses.
pub fn durable_write(folder: &Path, times: u32) -> Result<Samples> {
    const BLOCK: usize = 4096;
    let path = folder.join("durable");
    let mut file = File::create(&path)?;
    file.write_all(&vec![0; BLOCK * times as usize])?;
    file.sync_all()?;
    file.rewind()?;
    let write = || -> Result<Duration> {
        let begun = Instant::now();
        file.write_all(&[0x5a; BLOCK])?;
        file.sync_data()?;
        Ok(begun.elapsed())
    };
    let samples = std::iter::repeat_with(write).take(times as usize).collect::<Result<Samples>>();
    std::fs::remove_file(&path)?;
    samples
}
