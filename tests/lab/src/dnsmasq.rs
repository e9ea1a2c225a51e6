//! The router's own DHCP, DNS and router advertisements: Debian's dnsmasq, as OpenWrt configures it.

use crate::checks::{CHECKS, NAME_CHECK};
use crate::dns::{self, Kind};
use crate::internet::{HOST4, HOST6, NAME};
use crate::net::Namespace;
use crate::process::Program;
use crate::tool;
use crate::world::{CLOUD4, ROUTER4};
use anyhow::Result;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// dnsmasq's lease file in the lab's folder.
#[must_use]
pub fn leases(folder: &Path) -> PathBuf {
    folder.join("dhcp.leases")
}

/// The folder with more configuration, as OpenWrt has it. What is put there counts from dnsmasq's next start on.
#[must_use]
pub fn more(folder: &Path) -> PathBuf {
    folder.join("dnsmasq.d")
}

/// Starts it and waits until it answers.
///
/// # Errors
/// When it is not installed or does not answer.
pub fn start(router: &Namespace, folder: &Path) -> Result<Program> {
    let mut config = format!(
        "no-daemon\n\
         log-dhcp\n\
         no-hosts\n\
         no-resolv\n\
         interface=br-lan\n\
         except-interface=lo\n\
         bind-interfaces\n\
         dhcp-authoritative\n\
         no-ping\n\
         dhcp-leasefile={}\n\
         dhcp-range=10.77.0.50,10.77.0.250,255.255.255.0,12h\n\
         enable-ra\n\
         ra-param=br-lan,10,1800\n\
         dhcp-range=::,constructor:br-lan,ra-only,64,12h\n\
         host-record=portal.lan,{ROUTER4}\n\
         host-record={NAME},{HOST4},{HOST6}\n\
         conf-dir={}\n",
        leases(folder).display(),
        more(folder).display(),
    );
    // Hosts that phones ask whether they are online: all of them are the internet host here.
    let checked: BTreeSet<_> = CHECKS.iter().map(|check| (check.host, check.six_alone())).chain([("example.com", false)]).collect();
    for (name, six_alone) in checked {
        let four = if six_alone { String::new() } else { format!("{HOST4},") };
        config += &format!("host-record={name},{four}{HOST6}\n");
    }
    let (name, four, six) = NAME_CHECK;
    config += &format!("host-record={name},{four},{six}\n");
    let file = folder.join("dnsmasq.conf");
    std::fs::write(&file, config)?;
    std::fs::create_dir_all(more(folder))?;
    let program = Program::new(router, &tool::path("dnsmasq")?, &[&format!("--conf-file={}", file.display())], &folder.join("dnsmasq.log"));
    run(&program, router)?;
    Ok(program)
}

/// Starts it again, and waits until it answers.
///
/// # Errors
/// When it does not.
pub fn run(program: &Program, router: &Namespace) -> Result<()> {
    program.start()?;
    program.ready_when("dnsmasq to answer for its own portal", || answers(router, ROUTER4, "portal.lan").unwrap_or(false))
}

/// A DNS server of the internet, in the cloud's namespace, that knows these records and writes down every question.
///
/// # Errors
/// When it is not installed or does not answer.
pub fn upstream(cloud: &Namespace, folder: &Path, records: &str) -> Result<Program> {
    let file = folder.join("upstream.conf");
    let config = format!(
        "no-daemon\n\
         log-queries\n\
         no-hosts\n\
         no-resolv\n\
         listen-address={CLOUD4}\n\
         bind-interfaces\n\
         local-ttl=600\n\
         host-record=ready.test,{CLOUD4}\n\
         {records}"
    );
    std::fs::write(&file, config)?;
    let log = folder.join("upstream.log");
    let program = Program::new(cloud, &tool::path("dnsmasq")?, &[&format!("--conf-file={}", file.display())], &log);
    program.start()?;
    program.ready_when("the internet's DNS to answer", || answers(cloud, CLOUD4, "ready.test").unwrap_or(false))?;
    Ok(program)
}

/// Has the router's dnsmasq forget what it knows of the internet itself, and ask that one for all but the portal's name, as a router does.
///
/// # Errors
/// When it does not start again.
pub fn ask_upstream_for_all(program: &Program, router: &Namespace, folder: &Path) -> Result<()> {
    let file = folder.join("dnsmasq.conf");
    let config = std::fs::read_to_string(&file)?;
    let kept = config.lines().filter(|line| !line.starts_with("host-record=") || line.contains("portal.lan"));
    let config: String = kept.map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, format!("{config}server={CLOUD4}\n"))?;
    program.terminate()?;
    run(program, router)
}

/// The line by which the router's dnsmasq asks that one for all names below `domain`.
#[must_use]
pub fn ask_upstream(domain: &str) -> String {
    format!("server=/{domain}/{CLOUD4}\n")
}

fn answers(from: &Namespace, server: &str, name: &str) -> std::io::Result<bool> {
    let socket = from.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.send_to(&dns::query(1, name, Kind::A), (server, 53))?;
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer)?;
    Ok(dns::addresses(1, &answer[..length]).is_ok_and(|found| !found.is_empty()))
}
