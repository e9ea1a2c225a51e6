//! What phones and computers ask to find out whether they are captive, and what their makers' servers answer to one that is online.
//!
//! From the makers' documents, the Wireless Broadband Alliance's list of captive behaviour, and the sources of Android, Firefox and NetworkManager.

use crate::http::{Request, Response};

/// One check: whose, the host, the path, and the answer's status and body when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Whose.
    pub system: &'static str,
    /// Which host.
    pub host: &'static str,
    /// Path and query.
    pub target: &'static str,
    /// 204 or 200.
    pub status: u16,
    /// What a system looks for, byte for byte.
    pub body: &'static str,
}

const fn empty(system: &'static str, host: &'static str, target: &'static str) -> Check {
    Check { system, host, target, status: 204, body: "" }
}
const fn says(system: &'static str, host: &'static str, target: &'static str, body: &'static str) -> Check {
    Check { system, host, target, status: 200, body }
}

const APPLE: &str = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>";
const FIREFOX: &str = "<meta http-equiv=\"refresh\" content=\"0;url=https://support.mozilla.org/kb/captive-portal\"/>";
const KINDLE: &str =
    "<html><head><title>Kindle Reachability Probe Page</title></head><body>81ce4465-7167-4dcb-835b-dcc9e44c112a</body></html>";

/// All of them.
pub const CHECKS: &[Check] = &[
    empty("Android", "connectivitycheck.gstatic.com", "/generate_204"),
    empty("Android, second", "www.google.com", "/gen_204"),
    empty("Android, third", "play.googleapis.com", "/generate_204"),
    empty("older Android, ChromeOS", "clients3.google.com", "/generate_204"),
    empty("Samsung", "connectivitycheck.android.com", "/generate_204"),
    empty("Huawei", "connectivitycheck.platform.hicloud.com", "/generate_204"),
    empty("Xiaomi", "connect.rom.miui.com", "/generate_204"),
    empty("Vivo", "wifi.vivo.com.cn", "/generate_204"),
    empty("Oppo", "connectivitycheck.oppomobile.com", "/generate_204"),
    says("iPhone, Mac", "captive.apple.com", "/hotspot-detect.html", APPLE),
    says("older iPhone", "www.apple.com", "/library/test/success.html", APPLE),
    says("Windows", "www.msftconnecttest.com", "/connecttest.txt", "Microsoft Connect Test"),
    says("older Windows", "www.msftncsi.com", "/ncsi.txt", "Microsoft NCSI"),
    empty("Edge", "edge-http.microsoft.com", "/captiveportal/generate_204"),
    says("Firefox", "detectportal.firefox.com", "/canonical.html", FIREFOX),
    says("Firefox, IPv4", "detectportal.firefox.com", "/success.txt?ipv4", "success\n"),
    empty("Chrome", "www.gstatic.com", "/generate_204"),
    says("GNOME", "nmcheck.gnome.org", "/check_network_status.txt", "NetworkManager is online\n"),
    empty("Ubuntu", "connectivity-check.ubuntu.com", "/"),
    says("Fedora", "fedoraproject.org", "/static/hotspot.txt", "OK"),
    says("Arch", "ping.archlinux.org", "/nm-check.txt", "NetworkManager is online\n"),
    says("Debian", "network-test.debian.org", "/nm", "NetworkManager is online\n"),
    says("KDE", "networkcheck.kde.org", "/", "OK"),
    says("Kindle", "spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html", KINDLE),
    empty("Fire OS", "fireoscaptiveportal.com", "/generate_204"),
];

/// The maker's answer, where this request is a check.
#[must_use]
pub fn answer(request: &Request) -> Option<Response> {
    let host = request.header("host")?;
    let check = CHECKS.iter().find(|check| check.host == host && check.target == request.target)?;
    Some(match check.status {
        204 => Response { status: 204, headers: Vec::new(), body: Vec::new() },
        status => Response::new(status, "text/html", check.body),
    })
}
