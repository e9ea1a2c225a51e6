//! From sections to settings: what each section may hold, what it must, and what must fit together. Pure.

use super::options::{Options, Shown, hint};
use super::settings::{Config, Gateway, Https, Placed, Portal, Radius, Relay, Update};
use super::uci::{Fault, File, Section};
use super::values::{self, RadiusServer, Rule, Secret};
use crate::portal::colour::{Colour, Colours};
use lango_core::package::{Limits, Package};
use lango_core::radius::RadiusSettings;
use lango_core::settings::Outage;
use lango_core::units::{Bytes, Invalid, Kbps, Millis, PackageId, RouterName, Seconds, Shillings};
use std::path::PathBuf;

const SECTIONS: [&str; 7] = ["gateway", "relay", "radius", "https", "portal", "update", "package"];

/// Ten years: a longer time is a slip of the finger.
const MAX_MINUTES: u64 = 10 * 365 * 24 * 60;
/// A petabyte, for the same reason.
const MAX_MEGABYTES: u64 = 1_000_000_000;

pub(super) fn config(file: &File) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    if let Some(package) = file.package.as_ref().filter(|package| package.text != "lango") {
        faults.push(Fault::new(
            package.line,
            "this is another program's file, by its package line",
            "write package 'lango', or take the line out",
        ));
    }
    for section in &file.sections {
        if !SECTIONS.contains(&section.kind.as_str()) {
            faults.push(Fault::new(section.line, format!("there is no section type '{}'", section.kind), hint(&section.kind, &SECTIONS)));
        }
    }
    let gateway_section = only(file, "gateway", &mut faults);
    if gateway_section.is_none() {
        faults.push(Fault::new(1, "there is no gateway section", "add: config gateway 'main', with its name, lan and wan"));
    }
    let gateway = gateway_section.and_then(|section| gather(gateway(section), &mut faults));
    let relay = only(file, "relay", &mut faults).map(|section| gather(relay(section), &mut faults));
    let name = gateway.as_ref().map(|gateway| gateway.name.as_str());
    let radius = only(file, "radius", &mut faults).map(|section| gather(radius(section, name), &mut faults));
    let update = only(file, "update", &mut faults).map(|section| (section, gather(update(section), &mut faults)));
    if let (Some((section, _)), None) = (&update, &relay) {
        faults.push(Fault::new(section.line, "no update comes without a relay", "add a relay section, or take this one out"));
    }
    if let (Some(Some(set)), None, Some(section)) = (&radius, &relay, only(file, "radius", &mut Vec::new()))
        && set.rules.roaming
    {
        let right = "add a relay section, or take `option roaming` out";
        faults.push(Fault::new(section.line, "accounts cannot roam without a relay: nobody would tell the RADIUS server of them", right));
    }
    let portal_port = gateway.as_ref().map(|gateway| gateway.portal_port);
    let https = only(file, "https", &mut faults).map(|section| gather(https(section, portal_port), &mut faults));
    let portal = only(file, "portal", &mut faults).and_then(|section| gather(portal(section), &mut faults));
    let sold: Vec<_> = file.sections.iter().filter(|section| section.kind == "package").collect();
    if let (true, None, Some(section)) = (sold.is_empty(), &radius, gateway_section) {
        let right = "add a package section, or a radius section for accounts that are sold elsewhere";
        faults.push(Fault::new(section.line, "nothing is sold: there is no package section", right));
    }
    let packages = sold.into_iter().filter_map(|section| gather(package(section), &mut faults)).collect();
    faults.sort_by_key(|fault| fault.line);
    match (gateway, faults.is_empty()) {
        (Some(gateway), true) => Ok(Config {
            gateway,
            relay: relay.flatten(),
            radius: radius.flatten(),
            https: https.flatten(),
            portal: portal.unwrap_or_default(),
            update: update.and_then(|(_, update)| update),
            packages,
        }),
        _ => Err(faults),
    }
}

/// What may be meant, and often is not: nothing that keeps the file from being taken.
pub(super) fn warnings(file: &File) -> Vec<Fault> {
    let limits = ["minutes", "megabytes"];
    let endless =
        |section: &&Section| section.kind == "package" && !section.options.iter().any(|entry| limits.contains(&entry.name.as_str()));
    let warning = |section: &Section| {
        let what = format!("{} never ends: it has neither minutes nor megabytes", section.title());
        Fault::new(section.line, what, "leave it so where that is meant; give it one of the two otherwise")
    };
    file.sections.iter().filter(endless).map(warning).collect()
}

/// A section as its type, where nothing in it is wrong, and what is.
type Outcome<T> = (Option<T>, Vec<Fault>);

fn gather<T>((part, more): Outcome<T>, faults: &mut Vec<Fault>) -> Option<T> {
    faults.extend(more);
    part
}

/// The section of a type that there can be one of.
fn only<'a>(file: &'a File, kind: &str, faults: &mut Vec<Fault>) -> Option<&'a Section> {
    let mut all = file.sections.iter().filter(|section| section.kind == kind);
    let first = all.next()?;
    for other in all {
        faults.push(Fault::new(
            other.line,
            format!("this is a second {kind} section (line {} has the first)", first.line),
            "keep one of them",
        ));
    }
    Some(first)
}

fn gateway(section: &Section) -> Outcome<Gateway> {
    let mut options = Options::of(section);
    let name = options.required("name", Shown::Yes, "kibera-7", core_value::<RouterName>);
    let lan = options.required_list("lan", "br-lan", values::interface);
    let wan = options.required("wan", Shown::Yes, "wan", values::interface);
    let portal_port = options.optional("portal_port", Shown::Yes, values::port).unwrap_or(8088);
    let portal_host = options.optional("portal_host", Shown::Yes, values::host_name).or_else(|| values::host_name("portal.lan").ok());
    let store = options.optional("store", Shown::Yes, values::path).unwrap_or_else(|| PathBuf::from("/etc/lango/store"));
    let control = options.optional("control", Shown::Yes, values::socket_path).unwrap_or_else(|| PathBuf::from(super::CONTROL));
    let leases = options.optional("leases", Shown::Yes, values::path).unwrap_or_else(|| PathBuf::from("/tmp/dhcp.leases"));
    let outage = options.optional("outage", Shown::Yes, outage).unwrap_or_default();
    let checkpoint = options.optional("checkpoint", Shown::Yes, |text| {
        values::number(text, 10..=3_600).map(Seconds).ok_or("whole seconds from 10 to 3600, in digits")
    });
    let isolate = options.optional("isolate", Shown::Yes, values::switch).unwrap_or(true);
    let allow = options.list("allow", values::host_name);

    if let Some(wan) = wan.as_ref().filter(|wan| lan.contains(wan)) {
        options.fault(
            options.line_of("wan"),
            format!("'{wan}' is the way out and a customers' interface at once"),
            "lan and wan must be different interfaces",
        );
    }
    if let Some(twice) = lan.iter().enumerate().find_map(|(index, name)| lan.get(..index)?.contains(name).then_some(name)) {
        options.fault(options.line_of("lan"), format!("'{twice}' stands twice in lan"), "name each interface once");
    }
    let faults = options.finish();
    let gateway = (|| {
        Some(Gateway {
            name: name?,
            lan,
            wan: wan?,
            portal_port,
            portal_host: portal_host?,
            store,
            control,
            leases,
            outage,
            checkpoint: checkpoint.unwrap_or(Seconds(60)),
            isolate,
            allow,
        })
    })();
    (gateway, faults)
}

fn relay(section: &Section) -> Outcome<Relay> {
    let mut options = Options::of(section);
    // Not shown: people write user name and password into a URL.
    let broker = options.required("broker", Shown::Never, "mqtts://mqtt.example.org:8883", values::broker);
    let username = options.required("username", Shown::Yes, "kibera-7", values::printable);
    let password = options.required("password", Shown::Never, "…", values::secret);
    let ca = options.optional("ca", Shown::Yes, values::path);
    let relay_key = options.required("relay_key", Shown::Never, "…", values::ed25519_key);
    let end_notice = options.optional("end_notice", Shown::Yes, |text| {
        values::number(text, 0..=1_440).map(Millis::from_minutes).ok_or("minutes from 0 (at the end) to 1440, in digits")
    });
    if let Some(broker) = broker.as_ref().filter(|broker| options.has("ca") && !broker.tls) {
        options.fault(
            options.line_of("ca"),
            "'ca' has no use without TLS",
            format!("write the broker as mqtts://{}, or take ca out", broker.at.host),
        );
    }
    let faults = options.finish();
    let relay = (|| Some(Relay { broker: broker?, username: username?, password: password?, ca, relay_key: relay_key?, end_notice }))();
    (relay, faults)
}

fn radius(section: &Section, router: Option<&str>) -> Outcome<Radius> {
    let mut options = Options::of(section);
    let server = |port| move |text: &str| -> Result<RadiusServer, Rule> { values::radius_server(text, port) };
    let servers = options.required_list("server", "192.0.2.10:1812", server(1812));
    let accounting = options.list("accounting", server(1813));
    let coa_port = options.optional("coa_port", Shown::Yes, values::port);
    let (tls, clear): (Vec<_>, Vec<_>) = servers.iter().chain(&accounting).partition(|server| server.tls);
    // Over TLS it is always the same (RFC 6614 section 2.3).
    let secret = if tls.is_empty() || !clear.is_empty() || coa_port.is_some() {
        options.required("secret", Shown::Never, "…", values::secret)
    } else {
        options.optional("secret", Shown::Never, values::secret).or_else(|| Some(Secret::none()))
    };
    let nas_identifier = options.optional("nas_identifier", Shown::Yes, values::printable);
    let interim = options.optional("interim", Shown::Yes, |text| {
        values::number(text, 60..=86_400).map(Seconds).ok_or("seconds from 60 to 86400, in digits")
    });
    let method = options.optional("method", Shown::Yes, values::method).unwrap_or_default();
    let require = options.optional("require_message_authenticator", Shown::Yes, values::switch).unwrap_or(true);
    let old_servers = options.list("old_server", values::radius_host);
    let nas_ip = options.optional("nas_ip", Shown::Yes, values::address);
    let called_station_id = options.optional("called_station_id", Shown::Yes, values::short);
    let ssid = options.optional("ssid", Shown::Yes, values::ssid);
    let location_id = options.optional("location_id", Shown::Yes, values::short);
    let location_name = options.optional("location_name", Shown::Yes, values::short);
    let station_id = options.optional("station_id", Shown::Yes, values::station_id).unwrap_or_default();
    let mac_login = options.optional("mac_login", Shown::Yes, values::switch).unwrap_or(false);
    let roaming = options.optional("roaming", Shown::Yes, values::switch).unwrap_or(false);
    let ca = options.optional("ca", Shown::Yes, values::path);
    let cert = options.optional("cert", Shown::Yes, values::path);
    let key = options.optional("key", Shown::Yes, values::path);
    for name in ["ca", "cert", "key"] {
        if tls.is_empty() && options.has(name) {
            let right = "write the server as radsec://HOST:PORT, or take the option out";
            options.fault(options.line_of(name), format!("'{name}' has no use without RadSec"), right);
        }
    }
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if options.has(one) && !options.has(other) {
            options.fault(
                options.line_of(one),
                format!("'{one}' is of no use without '{other}'"),
                format!("add: option {other} '/etc/lango/{other}.pem'"),
            );
        }
    }
    for old in &old_servers {
        if !servers.iter().any(|server| server.at.host == *old) {
            let line = options.line_of("old_server");
            options.fault(
                line,
                format!("'old_server' names {old}, which is none of the servers"),
                "write it as in 'server', without the port",
            );
        }
    }
    let faults = options.finish();
    let radius = secret.map(|secret| Radius {
        rules: RadiusSettings {
            accounting: !accounting.is_empty(),
            interim: interim.unwrap_or(Seconds(300)),
            mac_login,
            roaming,
            station_id,
        },
        servers,
        accounting,
        secret,
        method,
        require_message_authenticator: require,
        old_servers,
        nas_identifier: nas_identifier.or_else(|| router.map(str::to_owned)).unwrap_or_default(),
        nas_ip,
        called_station_id,
        ssid,
        location_id,
        location_name,
        coa_port,
        ca,
        own: cert.zip(key),
    });
    (radius, faults)
}

fn https(section: &Section, portal_port: Option<u16>) -> Outcome<Https> {
    let mut options = Options::of(section);
    let name = options.required("name", Shown::Yes, "kibera-7.hs.example.org", values::dns_name);
    let port = options.optional("port", Shown::Yes, values::port).unwrap_or(8443);
    let cert = options.optional("cert", Shown::Yes, values::path).unwrap_or_else(|| PathBuf::from("/etc/lango/https.pem"));
    let key = options.optional("key", Shown::Yes, values::path).unwrap_or_else(|| PathBuf::from("/etc/lango/https.key"));
    if portal_port == Some(port) {
        options.fault(
            options.line_of("port"),
            format!("port {port} is the plain portal's already"),
            "choose another `option port`, as 8443",
        );
    }
    if cert == key {
        let right = "give certificate and key a file each";
        options.fault(
            options.line_of("key"),
            "'cert' and 'key' are one file: the certificate goes to others, and the key to nobody",
            right,
        );
    }
    let faults = options.finish();
    (name.map(|name| Https { name, port, cert, key }), faults)
}

fn portal(section: &Section) -> Outcome<Portal> {
    let mut options = Options::of(section);
    let name = options.optional("name", Shown::Yes, values::label);
    let logo = options.optional("logo", Shown::Yes, values::path).map(|value| Placed { value, line: options.line_of("logo") });
    let light = accent(&mut options, "colour", false);
    let dark = accent(&mut options, "colour_dark", true);
    if options.has("colour_dark") && !options.has("colour") {
        options.fault(options.line_of("colour_dark"), "'colour_dark' is of no use without 'colour'", "add: option colour '#0a6b3b'");
    }
    let support = options.optional("support", Shown::Yes, values::support);
    let mut terms: Vec<Placed<(String, PathBuf)>> = Vec::new();
    for (value, line) in options.placed("terms", values::in_language) {
        if let Some(first) = terms.iter().find(|first| first.value.0 == value.0) {
            let what = format!("the terms in '{}' are said twice (line {} has the first)", value.0, first.line);
            options.fault(line, what, "keep one of the two lines");
            continue;
        }
        terms.push(Placed { value, line });
    }
    let templates =
        options.optional("templates", Shown::Yes, values::path).map(|value| Placed { value, line: options.line_of("templates") });
    let colours = light.map(|light| dark.map_or_else(|| Colours::of_one(light), |dark| Colours { light, dark }));
    (Some(Portal { name, logo, colours, support, terms, templates }), options.finish())
}

/// A colour that can be read.
fn accent(options: &mut Options<'_>, name: &'static str, dark: bool) -> Option<Colour> {
    let colour = options.optional(name, Shown::Yes, values::colour)?;
    match colour.check(dark) {
        Ok(()) => Some(colour),
        Err((what, right)) => {
            options.fault(options.line_of(name), format!("'{name}' is {colour}, and has {what}"), right);
            None
        }
    }
}

fn update(section: &Section) -> Outcome<Update> {
    let mut options = Options::of(section);
    let keys = options.required_list("key", "RWQ…", values::release_key);
    let board = options.optional("board", Shown::Yes, values::board);
    let images = options.optional("images", Shown::Yes, values::switch).unwrap_or(false);
    let hours = options.optional("hours", Shown::Yes, values::hours);
    let ca = options.optional("ca", Shown::Yes, values::path);
    let trial = options.optional("trial", Shown::Yes, |text| {
        values::number(text, 1..=60).map(|minutes| Seconds(minutes * 60)).ok_or("minutes from 1 to 60, in digits")
    });
    let update = Update { keys, board, images, hours, ca, trial: trial.unwrap_or(Seconds(600)) };
    (Some(update), options.finish())
}

fn package(section: &Section) -> Outcome<Package> {
    let mut options = Options::of(section);
    let id = match section.name.as_deref().map(core_value::<PackageId>) {
        Some(Ok(id)) => Some(id),
        Some(Err(rule)) => {
            options.fault(section.line, "the package's name cannot be its id", format!("it must be {rule}"));
            None
        }
        None => {
            options.fault(section.line, "this package has no name", "write config package 'hour': the name is the package's id");
            None
        }
    };
    let label = options.required("label", Shown::Yes, "1 hour", values::label);
    let price = options.required("price", Shown::Yes, "10", price);
    let time = options.optional("minutes", Shown::Yes, |text| {
        values::number(text, 1..=MAX_MINUTES).map(Millis::from_minutes).ok_or("whole minutes from 1 to 5256000 (ten years), in digits")
    });
    let data = options.optional("megabytes", Shown::Yes, |text| {
        values::number(text, 1..=MAX_MEGABYTES).map(Bytes::from_megabytes).ok_or("whole megabytes from 1 to 1000000000, in digits")
    });
    let down = options.optional("down_kbps", Shown::Yes, speed);
    let up = options.optional("up_kbps", Shown::Yes, speed);
    let devices = options.optional("devices", Shown::Yes, |text| {
        values::number(text, 1..=16).and_then(|number| u8::try_from(number).ok()).ok_or("a number of devices from 1 to 16, in digits")
    });
    let faults = options.finish();
    let limits = Limits { time, data, down, up, devices: devices.unwrap_or(1) };
    let package = (|| Some(Package { id: id?, label: label?, price: price?, limits }))();
    (package, faults)
}

fn price(text: &str) -> Result<Shillings, Rule> {
    match values::number(text, 0..=500_000) {
        Some(0) => {
            Err("at least 1, as M-Pesa moves no less; to let somebody online for nothing, take vouchers of the package, or `lango grant`")
        }
        Some(price) => Ok(Shillings(price)),
        None => Err("whole shillings from 1 to 500000, in digits"),
    }
}

fn speed(text: &str) -> Result<Kbps, Rule> {
    values::number(text, 64..=10_000_000).map(Kbps).ok_or("kilobits a second from 64 to 10000000, in digits")
}

fn outage(text: &str) -> Result<Outage, Rule> {
    match text {
        "pause" => Ok(Outage::Pause),
        "run" => Ok(Outage::Run),
        _ => Err("'pause' (paid time stands still while the router is off) or 'run' (it goes on)"),
    }
}

fn core_value<T: std::str::FromStr<Err = Invalid>>(text: &str) -> Result<T, Rule> {
    text.parse().map_err(|invalid: Invalid| invalid.rule)
}
