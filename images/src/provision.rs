//! What makes an image one router's own: its name, its section of the relay, its keys. Text in, files out.

use crate::authority;
use crate::board::{Board, Updates};
use crate::keys::{APK_PUBLIC, Keys};
use crate::tree::Tree;
use anyhow::Context as _;
use lango_core::update::ReleaseKey;
use std::net::IpAddr;

/// What an image is to have besides the package.
#[derive(Default)]
pub struct Provision<'a> {
    /// What `lango-relay router add NAME` printed.
    pub relay: Option<&'a str>,
    /// The certificates that vouch for the relay's broker, a PEM file's text, where the system's do not.
    pub ca: Option<&'a str>,
    /// When that is to be good, in seconds since 1970: now.
    pub now: i64,
    /// The public half of the key that releases are signed with, as its file has it or its second line: without one the router takes no update
    /// over the air.
    pub release_key: Option<&'a str>,
    /// The router's name, where no relay says it.
    pub name: Option<&'a str>,
    /// Public SSH keys that may look after the router, as in `authorized_keys`.
    pub ssh_keys: Option<&'a str>,
    /// Where they look after it from, on the way out: an address, or `ADDRESS/PREFIX`.
    pub manage_from: Option<&'a str>,
    /// Whoever looks after it comes in another way, which is nothing of this image's.
    pub no_way_in: bool,
    /// The country that the radios are in, as two capital letters (ISO 3166-1); Kenya where none is given.
    pub country: Option<&'a str>,
    /// Where its updates come from: the address of the folder in which the architectures' feeds are, and their keys.
    pub feed: Option<(&'a str, &'a Keys)>,
}

/// The country of M-Pesa's customers.
const COUNTRY: &str = "KE";

impl Provision<'_> {
    /// Sees that somebody gets in: the gate closes the router to the customers' side, its firewall the way out. Gives from where, if it is
    /// by the image.
    ///
    /// # Errors
    /// When nobody would get in, anybody would, or it is no address.
    pub fn way_in(&self) -> anyhow::Result<Option<&str>> {
        let Some(from) = self.manage_from else {
            anyhow::ensure!(
                self.no_way_in,
                "nobody would get into this router: the gate closes SSH to customers, and the firewall to the way out. Give --ssh-keys FILE \
                 and --manage-from ADDRESS, or --no-way-in where there is another one"
            );
            return Ok(None);
        };
        anyhow::ensure!(!self.no_way_in, "--manage-from is a way in, --no-way-in says that there is none");
        anyhow::ensure!(self.ssh_keys.is_some(), "--manage-from wants --ssh-keys FILE: without a key anybody gets in from there");
        let (address, prefix) = from.split_once('/').map_or((from, None), |(address, prefix)| (address, Some(prefix)));
        let fine = address.parse::<IpAddr>().is_ok_and(|address| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            !address.is_unspecified() && prefix.is_none_or(|prefix| prefix.parse().is_ok_and(|prefix: u8| (1..=longest).contains(&prefix)))
        });
        anyhow::ensure!(fine, "{from} is no address that somebody comes from: 192.0.2.10, 192.0.2.0/24 or 2001:db8::/64 would be");
        Ok(Some(from))
    }
}

/// The files that are laid over an image of this board. `template` is the package's configuration.
///
/// # Errors
/// When what the relay printed is not that, the name is none, or two names are given.
pub fn files(board: &Board, template: &str, provision: &Provision<'_>) -> anyhow::Result<Tree> {
    let manage_from = provision.way_in()?;
    let country = provision.country.unwrap_or(COUNTRY);
    anyhow::ensure!(
        country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase()),
        "{country} is no country's code, as KE is"
    );
    let mut files = Tree::default();
    let connections = board.limits().connections;
    files.add(
        "etc/sysctl.d/90-lango.conf",
        0o644,
        format!(
            "# As many connections as the memory of this model has room for.\nnet.netfilter.nf_conntrack_max={connections}\n\
             net.netfilter.nf_conntrack_buckets={}\n",
            connections / 4
        ),
    );
    // The package's own script sets it, of radios that come late, too.
    files.add("etc/lango/country", 0o644, format!("{country}\n"));
    let relay = provision.relay.map(relay_section).transpose()?;
    let name = match (&relay, provision.name) {
        (Some((theirs, _)), Some(name)) if theirs != name => {
            anyhow::bail!("the relay's section is for router {theirs}, and the name {name} was given")
        }
        (Some((theirs, _)), _) => Some(theirs.as_str()),
        (None, name) => name,
    };
    let mut sections: Vec<String> = relay.as_ref().map(|(_, section)| section.clone()).into_iter().collect();
    if let Some(ca) = provision.ca {
        let section = sections.first_mut().context("--ca vouches for the relay's broker: give --router FILE, too")?;
        section.push_str(&authority(ca, section, provision.now)?);
        files.add(CA, 0o644, ca);
    }
    anyhow::ensure!(
        provision.release_key.is_none() || relay.is_some(),
        "--release-key is for what the relay offers: give --router FILE, too"
    );
    sections.extend(provision.release_key.map(|key| update_section(board, key)).transpose()?);
    if name.is_some() || !sections.is_empty() {
        files.add("etc/config/lango", 0o600, config(template, name, &sections)?);
    }
    files.add("etc/uci-defaults/80-lango-image", 0o755, first_boot(board, name, manage_from));
    if let Some(keys) = provision.ssh_keys {
        anyhow::ensure!(
            keys.lines().any(|line| line.starts_with("ssh-") || line.starts_with("ecdsa-")),
            "there is no public SSH key in the file"
        );
        anyhow::ensure!(!keys.contains("PRIVATE KEY"), "that is a private SSH key: the public half is wanted, which ends in .pub");
        files.add("etc/dropbear/authorized_keys", 0o600, keys);
    }
    if let Some((address, keys)) = provision.feed {
        let fine = (address.starts_with("https://") || address.starts_with("http://")) && !address.contains(char::is_whitespace);
        anyhow::ensure!(fine, "{address} is no address of a feed");
        let folder = format!("{}/{}", address.trim_end_matches('/'), board.openwrt.architecture);
        files.add("etc/opkg/customfeeds.conf", 0o644, format!("src/gz lango {folder}\n"));
        files.add(&format!("etc/opkg/keys/{}", keys.usign.id()), 0o644, keys.usign.public_file());
        files.add("etc/apk/repositories.d/lango.list", 0o644, format!("{folder}/packages.adb\n"));
        files.add(&format!("etc/apk/keys/{APK_PUBLIC}"), 0o644, keys.apk.public_pem()?);
    }
    Ok(files)
}

/// The router's name and its section, of what `lango-relay router add` printed. Comments stay behind: older relays put the broker's
/// password line among them.
fn relay_section(printed: &str) -> anyhow::Result<(String, String)> {
    let lines: Vec<&str> = printed.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()).collect();
    let told = "that is not what `lango-relay router add NAME` prints";
    anyhow::ensure!(lines.first().is_some_and(|line| line.starts_with("config relay")), "{told}: it begins with `config relay 'relay'`");
    anyhow::ensure!(lines[1..].iter().all(|line| line.starts_with("\toption ")), "{told}: one section of options");
    for needed in ["broker", "username", "password", "relay_key"] {
        anyhow::ensure!(lines.iter().any(|line| line.starts_with(&format!("\toption {needed} "))), "{told}: it has no {needed}");
    }
    let name = lines
        .iter()
        .find_map(|line| line.strip_prefix("\toption username '")?.strip_suffix('\''))
        .with_context(|| format!("{told}: its user name"))?;
    Ok((name.to_owned(), lines.iter().map(|line| format!("{line}\n")).collect()))
}

/// Where the broker's authority lies.
const CA: &str = "etc/lango/ca.pem";

/// The relay section's line for it.
fn authority(ca: &str, section: &str, now: i64) -> anyhow::Result<String> {
    authority::check(ca, now)?;
    anyhow::ensure!(
        !section.contains("\toption ca "),
        "the relay's section names a file of certificates already: take its line `option ca` out"
    );
    Ok(format!("\toption ca '/{CA}'\n"))
}

/// What has the router take updates. The board's name is the file's: of some models it differs from machine to machine.
fn update_section(board: &Board, key: &str) -> anyhow::Result<String> {
    // The file with its comment, or the line alone.
    anyhow::ensure!(
        ReleaseKey::parse(key).is_some(),
        "that is no public release key: the file whose name ends in .pub is wanted (docs/updates.md)"
    );
    let line = key.lines().last().unwrap_or_default();
    let images = if board.flash.updates == Updates::Image { "\toption images '1'\n" } else { "" };
    Ok(format!("config update 'update'\n\tlist key '{line}'\n\toption board '{}'\n{images}", board.board_name))
}

fn config(template: &str, name: Option<&str>, sections: &[String]) -> anyhow::Result<String> {
    const NAME: &str = "\toption name 'lango'\n";
    let mut text = template.to_owned();
    if let Some(name) = name {
        anyhow::ensure!(is_router_name(name), "{name:?} is no router's name: 1 to 63 letters, digits, - and _");
        anyhow::ensure!(
            template.matches(NAME).count() == 1,
            "the package's configuration has no line `option name 'lango'` to be replaced"
        );
        text = template.replace(NAME, &format!("\toption name '{name}'\n"));
    }
    Ok(sections.iter().fold(text, |text, section| format!("{text}\n{section}")))
}

const MANAGE: &str = "\
# Who looks after it: from there, and with a key alone.
[ \"$(uci -q get firewall.lango_manage)\" = rule ] || {
	uci set firewall.lango_manage=rule
	uci set firewall.lango_manage.name='Look after it'
	uci set firewall.lango_manage.src='wan'
	uci add_list firewall.lango_manage.src_ip='FROM'
	uci set firewall.lango_manage.proto='tcp'
	uci set firewall.lango_manage.dest_port='22'
	uci set firewall.lango_manage.target='ACCEPT'
	uci commit firewall
	uci -q set dropbear.@dropbear[0].PasswordAuth='off'
	uci -q set dropbear.@dropbear[0].RootPasswordAuth='off'
	uci -q commit dropbear
}
";

/// Runs before the package's own first-boot script, so that this one finds the names and the interfaces.
fn first_boot(board: &Board, name: Option<&str>, manage_from: Option<&str>) -> String {
    let mut script = String::from("#!/bin/sh\n# Made with the image: what this router is.\n");
    if let Some(name) = name {
        // A host's name has no underscore.
        let host = name.replace('_', "-");
        script += &format!(
            "[ \"$(uci -q get system.@system[0].hostname)\" != OpenWrt ] || {{\n\tuci set system.@system[0].hostname='{host}'\n\tuci commit system\n}}\n"
        );
    }
    if let Some(wan) = &board.interfaces.added_wan {
        script += &format!(
            "# This model has one port: the way out is an adapter that is added.\nuci -q get network.wan >/dev/null || {{\n\tuci set network.wan=interface\n\t\
             uci set network.wan.device='{wan}'\n\tuci set network.wan.proto='dhcp'\n\tuci commit network\n}}\n"
        );
    }
    if let Some(from) = manage_from {
        script += &MANAGE.replace("FROM", from);
    }
    script + "exit 0\n"
}

fn is_router_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "# At the broker, once: its user:\n#   mosquitto_passwd -b /etc/mosquitto/passwd kibera-7 geheim\n\
        # On the router, in /etc/config/lango:\nconfig relay 'relay'\n\toption broker 'mqtts://mqtt.example.org:8883'\n\
        \toption username 'kibera-7'\n\toption password 'geheim'\n\toption relay_key 'AAAA'\n";

    #[test]
    fn the_relays_words_become_a_section_without_its_comments() {
        let (name, section) = relay_section(PRINTED).unwrap();
        assert_eq!(name, "kibera-7");
        assert!(section.starts_with("config relay 'relay'\n\toption broker"), "{section}");
        assert!(!section.contains('#'));
    }

    #[test]
    fn other_words_are_refused() {
        for wrong in [
            "",
            "hello",
            "config gateway 'main'\n",
            "config relay 'relay'\n\toption broker 'x'\n",
            "config relay 'relay'\n\toption broker 'x'\nconfig package\n",
        ] {
            let error = relay_section(wrong).unwrap_err().to_string();
            assert!(error.contains("lango-relay router add NAME"), "{error}");
        }
    }

    #[test]
    fn a_template_without_the_line_is_told() {
        assert!(config("config gateway 'main'\n", Some("a"), &[]).is_err());
    }
}
