//! What phones and computers ask to find out whether they are captive, and what their makers' servers answer to one that is online.
//!
//! From the makers' documents, the Wireless Broadband Alliance's list of captive behaviour, and the sources of Android, Firefox and NetworkManager.

use crate::http::{Request, Response};
use std::net::{Ipv4Addr, Ipv6Addr};

/// One check: whose, the host, the path, and the answer's status, headers and body when all is well.
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
    /// Header lines that a system looks at, names in lower case.
    pub headers: &'static [(&'static str, &'static str)],
    /// What a system looks for, byte for byte.
    pub body: &'static str,
}

impl Check {
    /// The answer of the maker's server.
    #[must_use]
    pub fn answer(&self) -> Response {
        let kind = (self.status != 204).then_some(("content-type", "text/html"));
        let headers = kind.iter().chain(self.headers).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Response { status: self.status, headers, body: self.body.into() }
    }

    /// Whether its host has an IPv6 address alone, so that the check says whether that works.
    #[must_use]
    pub fn six_alone(&self) -> bool {
        self.host.starts_with("ipv6.")
    }
}

const fn empty(system: &'static str, host: &'static str, target: &'static str) -> Check {
    Check { system, host, target, status: 204, headers: &[], body: "" }
}
const fn says(system: &'static str, host: &'static str, target: &'static str, body: &'static str) -> Check {
    Check { system, host, target, status: 200, headers: &[], body }
}
/// A page that a system opens for a person to see the portal. What its maker shows there to one that is online is no check: here it is the
/// internet host's page, as long as it is not the portal's.
const fn opens(system: &'static str, host: &'static str, target: &'static str) -> Check {
    says(system, host, target, crate::internet::PAGE)
}

const APPLE: &str = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>";
const FIREFOX: &str = "<meta http-equiv=\"refresh\" content=\"0;url=https://support.mozilla.org/kb/captive-portal\"/>";
const KINDLE: &str =
    "<html><head><title>Kindle Reachability Probe Page</title></head><body>81ce4465-7167-4dcb-835b-dcc9e44c112a</body></html>";
const ONLINE: &str = "NetworkManager is online";
const WINDOWS: &str = "Microsoft Connect Test";

/// All of them.
pub const CHECKS: &[Check] = &[
    empty("Android", "connectivitycheck.gstatic.com", "/generate_204"),
    empty("Android, second", "www.google.com", "/gen_204"),
    empty("Android, third", "play.googleapis.com", "/generate_204"),
    empty("older Android, ChromeOS", "clients3.google.com", "/generate_204"),
    empty("older Android, second", "clients4.google.com", "/generate_204"),
    empty("older Android, third", "android.clients.google.com", "/generate_204"),
    empty("older Android, fourth", "www.androidbak.net", "/generate_204"),
    empty("Samsung", "connectivitycheck.android.com", "/generate_204"),
    empty("Samsung, second", "d2uzsrnmmf6tds.cloudfront.net", "/generate_204"),
    empty("Huawei", "connectivitycheck.platform.hicloud.com", "/generate_204"),
    empty("Xiaomi", "connect.rom.miui.com", "/generate_204"),
    empty("Vivo", "wifi.vivo.com.cn", "/generate_204"),
    empty("Oppo", "connectivitycheck.oppomobile.com", "/generate_204"),
    empty("Oppo, second", "conn1.oppomobile.com", "/generate_204"),
    empty("Realme", "wifi.coloros.com", "/generate_204"),
    says("iPhone, Mac", "captive.apple.com", "/hotspot-detect.html", APPLE),
    says("older iPhone", "www.apple.com", "/library/test/success.html", APPLE),
    says("older iPhone, second", "www.appleiphonecell.com", "/library/test/success.html", APPLE),
    says("older iPhone, third", "www.airport.us", "/library/test/success.html", APPLE),
    says("older iPhone, fourth", "www.ibook.info", "/library/test/success.html", APPLE),
    says("older iPhone, fifth", "www.itools.info", "/library/test/success.html", APPLE),
    says("older iPhone, sixth", "www.thinkdifferent.us", "/library/test/success.html", APPLE),
    says("Windows", "www.msftconnecttest.com", "/connecttest.txt", WINDOWS),
    says("Windows, IPv6", "ipv6.msftconnecttest.com", "/connecttest.txt", WINDOWS),
    opens("Windows's browser", "www.msftconnecttest.com", "/redirect"),
    opens("Windows's browser, second", "www.msftconnecttest.com", "/fwlink"),
    opens("Windows's browser, third", "go.microsoft.com", "/fwlink/?LinkID=219472"),
    says("older Windows", "www.msftncsi.com", "/ncsi.txt", "Microsoft NCSI"),
    empty("Edge", "edge-http.microsoft.com", "/captiveportal/generate_204"),
    says("Firefox", "detectportal.firefox.com", "/canonical.html", FIREFOX),
    says("Firefox, IPv4", "detectportal.firefox.com", "/success.txt?ipv4", "success\n"),
    says("Firefox, IPv6", "detectportal.firefox.com", "/success.txt?ipv6", "success\n"),
    empty("Chrome", "www.gstatic.com", "/generate_204"),
    says("GNOME", "nmcheck.gnome.org", "/check_network_status.txt", ONLINE),
    Check { headers: &[("x-networkmanager-status", "online")], ..empty("Ubuntu", "connectivity-check.ubuntu.com", "/") },
    says("Fedora", "fedoraproject.org", "/static/hotspot.txt", "OK"),
    says("Arch", "ping.archlinux.org", "/nm-check.txt", ONLINE),
    says("Arch, second", "ping.archlinux.org", "/", "This domain is used for connectivity checking"),
    says("Debian", "network-test.debian.org", "/nm", ONLINE),
    says("KDE", "networkcheck.kde.org", "/", "OK"),
    says("Kindle", "spectrum.s3.amazonaws.com", "/kindle-wifi/wifistub.html", KINDLE),
    opens("Kindle's browser", "spectrum.s3.amazonaws.com", "/kindle-wifi/wifiredirect.html"),
    empty("Fire OS", "fireoscaptiveportal.com", "/generate_204"),
    says("Facebook's devices", "portal.fb.com", "/mobile/status.php", "success"),
];

/// What Windows asks the DNS for, and the addresses that it must hear: anything else, and it says that the network has a portal for ever.
pub const NAME_CHECK: (&str, Ipv4Addr, Ipv6Addr) =
    ("dns.msftncsi.com", Ipv4Addr::new(131, 107, 255, 255), Ipv6Addr::new(0xfd3e, 0x4f5a, 0x5b81, 0, 0, 0, 0, 1));

/// The maker's answer, where this request is a check.
#[must_use]
pub fn answer(request: &Request) -> Option<Response> {
    let host = request.header("host")?;
    CHECKS.iter().find(|check| check.host == host && check.target == request.target).map(Check::answer)
}
