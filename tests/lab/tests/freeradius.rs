//! FreeRADIUS with the configuration that operators are given, on both databases: what is left is what radacct says, nobody is told
//! of it without the password, and a database that does not answer gives nothing away.

use lango_lab::authority::Authority;
use lango_lab::freeradius::{ACCT_PORT, AUTH_PORT, FreeRadius, Options, RADSEC_PORT, Tables};
use lango_lab::postgres;
use std::time::{SystemTime, UNIX_EPOCH};

fn servers(options: &Options) -> [FreeRadius; 2] {
    [Tables::Sqlite, Tables::Postgres(postgres::database())].map(|tables| FreeRadius::alone(Options { tables, ..options.clone() }))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn login(server: &FreeRadius, device: &str, password: &str) -> (String, Option<String>, Option<String>) {
    let answer = server.login(&format!("User-Name=ab8bd7nu,User-Password={password},Calling-Station-Id={device},NAS-Identifier=kibera-7"));
    let text = |name: &str| answer.get(name).map(str::to_owned);
    (answer.code.clone(), text("Session-Timeout"), text("Reply-Message"))
}

/// A device's session: its state, how long it lasted, how many GiB and bytes went down, at which moment.
#[allow(clippy::too_many_arguments)] // each is an attribute
fn session(server: &FreeRadius, id: &str, state: &str, device: &str, router: &str, seconds: u64, down: (u64, u64), at: u64) {
    let (gigawords, octets) = down;
    server.account(&format!(
        "User-Name=ab8bd7nu,Acct-Session-Id={id},Acct-Status-Type={state},Calling-Station-Id={device},NAS-Identifier={router},\
         NAS-IP-Address=10.77.0.1,Acct-Session-Time={seconds},Acct-Output-Octets={octets},Acct-Output-Gigawords={gigawords},\
         Acct-Input-Octets=0,Event-Timestamp={at}"
    ));
}

const ONE: &str = "02-00-5E-00-00-01";
const TWO: &str = "02-00-5E-00-00-02";

#[test]
fn what_is_left_is_what_radacct_says() {
    for server in servers(&Options::default()) {
        let check = [("Lango-Max-Time", "3600"), ("Lango-Max-Octets", "6000000000"), ("Simultaneous-Use", "1")];
        server.user("ab8bd7nu", "secret", &check, &[("WISPr-Bandwidth-Max-Down", "5000000")]).unwrap();
        let pairs = format!("User-Name=ab8bd7nu,User-Password=secret,Calling-Station-Id={ONE}");
        let fresh = server.login(&pairs);
        assert_eq!(fresh.code, "Access-Accept");
        let told = [
            "Session-Timeout",
            "Mikrotik-Total-Limit",
            "Mikrotik-Total-Limit-Gigawords",
            "ChilliSpot-Max-Total-Octets",
            "WISPr-Bandwidth-Max-Down",
        ];
        assert_eq!(told.map(|name| fresh.get(name)), [Some("3600"), Some("1705032704"), Some("1"), None, Some("5000000")]);
        assert!(fresh.get("Message-Authenticator").is_some());
        // A router's first start, and its end: there is nothing to close, and it is acknowledged all the same.
        for state in ["Accounting-On", "Accounting-Off"] {
            server.account(&format!("Acct-Status-Type={state},Acct-Session-Id=0,NAS-Identifier=kibera-7,Event-Timestamp={}", now()));
        }
        // Ten minutes and 4 GiB later, at two routers of the same address.
        let began = now() - 600;
        session(&server, "1", "Start", ONE, "kibera-7", 0, (0, 0), began);
        session(&server, "1", "Interim-Update", ONE, "kibera-7", 600, (1, 0), began + 600);
        let later = server.login(&pairs);
        assert_eq!(told.map(|name| later.get(name)), [Some("3000"), Some("1705032704"), Some("0"), Some("1705032704"), Some("5000000")]);
        // The other device is one too many while the first is online, and the wrong password hears nothing.
        let (code, _, why) = login(&server, TWO, "secret");
        assert!(code == "Access-Reject" && why.as_deref().is_some_and(|why| why.contains("devices")), "{code} {why:?}");
        let (code, _, why) = login(&server, TWO, "wrong");
        assert_eq!((&*code, why), ("Access-Reject", None));
        // The first router restarts; the second, of the same address, has a session that goes on.
        session(&server, "1", "Start", ONE, "kibera-8", 0, (0, 0), began + 601);
        server.account(&format!(
            "Acct-Status-Type=Accounting-On,Acct-Session-Id=0,NAS-Identifier=kibera-7,NAS-IP-Address=10.77.0.1,Event-Timestamp={}",
            now()
        ));
        let open: Vec<_> = server
            .sessions()
            .into_iter()
            .map(|row| (row["nasportid"].clone(), row["acctstoptime"].clone(), row["acctsessiontime"].clone()))
            .collect();
        assert_eq!(
            (open[0].0.as_str(), open[0].1.as_u64(), open[0].2.as_u64()),
            (Some("kibera-7"), Some(began + 600), Some(600)),
            "{open:?}"
        );
        assert_eq!((open[1].0.as_str(), open[1].1.is_null()), (Some("kibera-8"), true), "{open:?}");
        // The last byte that was paid for.
        session(&server, "1", "Stop", ONE, "kibera-8", 1_200, (0, 1_705_032_704), began + 1_801);
        let (code, _, why) = login(&server, ONE, "secret");
        assert!(code == "Access-Reject" && why.as_deref().is_some_and(|why| why.contains("data")), "{code} {why:?}");
    }
}

#[test]
fn two_devices_in_the_same_hour_use_up_one_hour() {
    for server in servers(&Options::default()) {
        server.user("ab8bd7nu", "secret", &[("Lango-Max-Time", "3600"), ("Simultaneous-Use", "2")], &[]).unwrap();
        let began = now() - 3_000;
        // From 0 to 1200, from 600 to 1800, from 700 to 900, and, after a pause, from 2000 to 2500: 1800 and 500.
        for (id, device, from, to) in [("1", ONE, 0, 1_200), ("2", TWO, 600, 1_800), ("3", TWO, 700, 900), ("4", ONE, 2_000, 2_500)] {
            session(&server, id, "Start", device, "kibera-7", 0, (0, 0), began + from);
            session(&server, id, "Stop", device, "kibera-7", to - from, (0, 1), began + to);
        }
        assert_eq!(login(&server, ONE, "secret").1.as_deref(), Some("1300"));
        // A Start that was lost: the session is there by its Stop.
        session(&server, "5", "Stop", ONE, "kibera-7", 400, (0, 1), began + 3_000);
        assert_eq!(login(&server, ONE, "secret").1.as_deref(), Some("900"));
    }
}

#[test]
fn a_session_of_which_nothing_is_heard_holds_no_place() {
    for server in servers(&Options { silent: 60, ..Options::default() }) {
        server.user("ab8bd7nu", "secret", &[("Simultaneous-Use", "1")], &[]).unwrap();
        session(&server, "1", "Start", ONE, "kibera-7", 0, (0, 0), now() - 120);
        assert_eq!(login(&server, TWO, "secret").0, "Access-Accept");
        session(&server, "1", "Interim-Update", ONE, "kibera-7", 120, (0, 1), now());
        assert_eq!(login(&server, TWO, "secret").0, "Access-Reject");
        assert_eq!(login(&server, ONE, "secret").0, "Access-Accept");
        // Who is told to speak every 100 s may be silent for 300.
        server.user("slow", "secret", &[("Simultaneous-Use", "1")], &[("Acct-Interim-Interval", "100")]).unwrap();
        for (id, silent, answer) in [("2", 290, "Access-Reject"), ("3", 310, "Access-Accept")] {
            server.execute("DELETE FROM radacct WHERE username = 'slow'").unwrap();
            server.account(&format!(
                "User-Name=slow,Acct-Session-Id={id},Acct-Status-Type=Start,Calling-Station-Id={ONE},NAS-Identifier=kibera-7,\
                 NAS-IP-Address=10.77.0.1,Event-Timestamp={}",
                now() - silent
            ));
            let pairs = format!("User-Name=slow,User-Password=secret,Calling-Station-Id={TWO},NAS-Identifier=kibera-7");
            assert_eq!(server.login(&pairs).code, answer, "silent for {silent} s");
        }
    }
}

#[test]
fn a_device_is_the_same_however_its_address_is_written() {
    for server in servers(&Options::default()) {
        server.user("ab8bd7nu", "secret", &[("Simultaneous-Use", "1")], &[]).unwrap();
        session(&server, "1", "Start", ONE, "kibera-7", 0, (0, 0), now());
        let forms = |mac: &str| [mac.to_owned(), mac.to_lowercase(), mac.replace('-', ":"), mac.to_lowercase().replace('-', "")];
        for (one, two) in forms(ONE).iter().zip(&forms(TWO)) {
            assert_eq!(login(&server, one, "secret").0, "Access-Accept", "{one}");
            assert_eq!(login(&server, two, "secret").0, "Access-Reject", "{two}");
        }
        // The same device's sessions at two routers that write it each in their way are one device.
        session(&server, "2", "Start", &ONE.to_lowercase().replace('-', ":"), "kibera-8", 0, (0, 0), now());
        server.execute("UPDATE radcheck SET value = '2' WHERE attribute = 'Simultaneous-Use'").unwrap();
        assert_eq!(login(&server, TWO, "secret").0, "Access-Accept");
    }
}

#[test]
fn a_database_that_does_not_answer_gives_nothing_away() {
    for server in servers(&Options::default()) {
        server.user("ab8bd7nu", "secret", &[("Lango-Max-Time", "3600")], &[]).unwrap();
        server.user("other", "secret", &[("Lango-Max-Octets", "3600")], &[]).unwrap();
        server.user("third", "secret", &[("Simultaneous-Use", "1")], &[]).unwrap();
        server.execute("ALTER TABLE radacct RENAME TO gone").unwrap();
        for name in ["ab8bd7nu", "other", "third"] {
            // No refusal either: the next server, or the router itself, may know better.
            let pairs = format!("User-Name={name},User-Password=secret,Message-Authenticator=0x00");
            assert_eq!(server.radclient(&server.namespace, AUTH_PORT, "auth", &pairs, 2).unwrap(), None, "{name}");
        }
        let pairs = "Acct-Status-Type=Accounting-On,Acct-Session-Id=0,NAS-Identifier=kibera-7";
        assert_eq!(server.radclient(&server.namespace, ACCT_PORT, "acct", pairs, 2).unwrap(), None);
    }
}

#[test]
fn old_servers_and_strict_ones() {
    let old = FreeRadius::alone(Options { signs: false, requires_signature: false, ..Options::default() });
    old.user("ab8bd7nu", "secret", &[], &[]).unwrap();
    let answer = old.radclient(&old.namespace, AUTH_PORT, "auth", "User-Name=ab8bd7nu,User-Password=secret", 10).unwrap().unwrap();
    assert_eq!((&*answer.code, answer.get("Message-Authenticator")), ("Access-Accept", None));
    let strict = FreeRadius::alone(Options { radsec: Some(true), ..Options::default() });
    strict.user("ab8bd7nu", "secret", &[], &[]).unwrap();
    assert_eq!(strict.radclient(&strict.namespace, AUTH_PORT, "auth", "User-Name=ab8bd7nu,User-Password=secret", 2).unwrap(), None);
    assert_eq!(strict.login("User-Name=ab8bd7nu,User-Password=secret").code, "Access-Accept");
    strict.stop().unwrap();
    strict.start().unwrap();
}

#[test]
fn over_tls_who_has_a_certificate_of_ours_may_ask() {
    let server = FreeRadius::alone(Options { radsec: Some(true), ..Options::default() });
    let folder = server.folder.join("certificates");
    server.authority.write(&folder, "router", "router.example.org").unwrap();
    let stranger = Authority::new("Somebody else").unwrap();
    let (certificate, key) = stranger.certify("router.example.org").unwrap();
    std::fs::write(folder.join("stranger.pem"), certificate).unwrap();
    std::fs::write(folder.join("stranger.key"), key).unwrap();
    let address = format!("{}:{RADSEC_PORT}", server.options.address);
    // With TLS 1.2 the handshake is over when both have shown their certificates.
    for (name, taken) in [("router", true), ("stranger", false)] {
        let file = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
        let ca = folder.join("ca.pem").display().to_string();
        let (certificate, key) = (file("pem"), file("key"));
        let args = [
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            &ca,
            "-verify_return_error",
            "-cert",
            &certificate,
            "-key",
            &key,
            "-brief",
            "-tls1_2",
        ];
        let asked = server.namespace.exec("openssl", &args);
        assert_eq!(asked.is_ok(), taken, "{name}: {asked:?}");
    }
}
