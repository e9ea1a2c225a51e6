//! The router's own DHCP, DNS and router advertisements: Debian's dnsmasq, as OpenWrt configures it.

use crate::dns::{self, Kind};
use crate::internet::{HOST4, HOST6, NAME};
use crate::net::Namespace;
use crate::process::Program;
use crate::tool;
use crate::world::{PORTAL, ROUTER4};
use anyhow::Result;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Hosts that phones ask whether they are online: all of them are the internet host here.
const PROBES: [&str; 5] =
    ["connectivitycheck.gstatic.com", "captive.apple.com", "www.msftconnecttest.com", "detectportal.firefox.com", "example.com"];

/// dnsmasq's lease file in the lab's folder.
#[must_use]
pub fn leases(folder: &Path) -> PathBuf {
    folder.join("dhcp.leases")
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
         dhcp-option-force=114,{PORTAL}/captive-portal/api\n\
         enable-ra\n\
         ra-param=br-lan,10,1800\n\
         dhcp-range=::,constructor:br-lan,ra-only,64,12h\n\
         host-record=portal.lan,{ROUTER4}\n\
         host-record={NAME},{HOST4},{HOST6}\n",
        leases(folder).display(),
    );
    for name in PROBES {
        config += &format!("host-record={name},{HOST4},{HOST6}\n");
    }
    let file = folder.join("dnsmasq.conf");
    std::fs::write(&file, config)?;
    let program = Program::new(router, &tool::path("dnsmasq")?, &[&format!("--conf-file={}", file.display())], &folder.join("dnsmasq.log"));
    program.start()?;
    program.ready_when("dnsmasq to answer for its own portal", || answers(router).unwrap_or(false))?;
    Ok(program)
}

fn answers(router: &Namespace) -> std::io::Result<bool> {
    let socket = router.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.send_to(&dns::query(1, "portal.lan", Kind::A), (ROUTER4, 53))?;
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer)?;
    Ok(dns::addresses(1, &answer[..length]).is_ok_and(|found| !found.is_empty()))
}
