//! The tables as FreeRADIUS's own schema makes them, in a real SQLite file and a real PostgreSQL.

use super::rule::Totals;
use super::tables::{Listed, NoSchema, Tables, Written};
use crate::ledger::Place;
use lango_core::notice::AccountNotice;
use lango_core::package::{Limits, Package};
use lango_core::units::{Bytes, Kbps, Millis, Password, RouterName, Shillings};
use lango_lab::{freeradius, postgres};
use std::path::Path;
use std::sync::Arc;

const NOW: u64 = 1_795_340_997;
const QUARTER: u64 = 92 * 86_400;

/// A RADIUS server's database.
struct Database {
    address: String,
    _folder: Option<tempfile::TempDir>,
}

impl Database {
    /// One of each kind; empty where `schema` is false.
    fn both(schema: bool) -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = Self { address: format!("sqlite://{}/radius.db", folder.path().display()), _folder: Some(folder) };
        let server = Self { address: postgres::database(), _folder: None };
        for (database, kind) in [(&file, "sqlite"), (&server, "postgresql")] {
            let text = freeradius::schema(kind).unwrap();
            database.sql(if schema { &text } else { "SELECT 1" });
        }
        [file, server]
    }

    fn sql(&self, sql: &str) -> String {
        let Some(path) = self.address.strip_prefix("sqlite://") else { return postgres::psql(&self.address, sql).unwrap() };
        freeradius::sqlite(Path::new(path), &[], sql).unwrap()
    }

    fn tables(&self) -> Tables {
        Tables::new(Place::parse(&self.address).ok().unwrap(), 300)
    }

    /// What FreeRADIUS reads of an account, as lines.
    fn rows(&self) -> Vec<String> {
        let sql = "SELECT username || ' ' || attribute || ' ' || op || ' ' || value FROM radcheck UNION ALL \
                   SELECT username || ' ' || attribute || ' ' || op || ' ' || value FROM radreply UNION ALL \
                   SELECT username || ' in ' || groupname FROM radusergroup ORDER BY 1";
        self.sql(sql).lines().map(str::to_owned).collect()
    }

    /// Sessions in radacct: user, last heard of, seconds, bytes.
    fn used(&self, username: &str, at: u64, seconds: u64, bytes: u64) {
        let time = match self.address.starts_with("sqlite") {
            true => at.to_string(),
            false => format!("to_timestamp({at})"),
        };
        self.sql(&format!(
            "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime, acctstoptime, acctsessiontime, \
             acctinputoctets, acctoutputoctets) VALUES ('s{at}', 'u{username}{at}', '{username}', '10.77.0.1', {time}, {time}, {time}, {seconds}, 0, {bytes})"
        ));
    }
}

fn router(name: &str) -> RouterName {
    name.parse().unwrap()
}

fn notice(username: &str, minutes: Option<u64>, megabytes: Option<u64>) -> AccountNotice {
    let limits = Limits {
        time: minutes.map(|minutes| Millis(minutes * 60_000)),
        data: megabytes.map(|megabytes| Bytes(megabytes * 1_000_000)),
        down: Some(Kbps(5_000)),
        up: None,
        devices: 1,
    };
    let package = Package { id: "hour".parse().unwrap(), label: "1 hour".to_owned(), price: Shillings(10), limits };
    AccountNotice::of(username.parse().unwrap(), Password::new("secret").unwrap(), &package)
}

async fn only(tables: &Tables) -> Listed {
    let mut all = tables.accounts("", 10).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test]
async fn a_purchase_is_written_as_freeradius_wants_it() {
    for database in Database::both(true) {
        let tables = database.tables();
        database.sql("INSERT INTO radcheck (username, attribute, op, value) VALUES ('ab8bd7nu', 'Login-Time', ':=', 'Wk0800-2000')");
        let first = notice("ab8bd7nu", Some(60), Some(5_000));
        assert_eq!(tables.write(&router("kibera-7"), "receipt NLJ7RT61SV", &first, NOW).await.unwrap(), Written::Now);
        let rows = [
            "ab8bd7nu Acct-Interim-Interval := 300",
            "ab8bd7nu Cleartext-Password := secret",
            "ab8bd7nu Lango-Max-Octets := 5000000000",
            "ab8bd7nu Lango-Max-Time := 3600",
            "ab8bd7nu Login-Time := Wk0800-2000",
            "ab8bd7nu Simultaneous-Use := 1",
            "ab8bd7nu WISPr-Bandwidth-Max-Down := 5000000",
            "ab8bd7nu in hour",
        ];
        assert_eq!(sorted(database.rows()), rows);
        assert_eq!(tables.write(&router("kibera-7"), "receipt NLJ7RT61SV", &first, NOW).await.unwrap(), Written::Before);
        assert_eq!(sorted(database.rows()), rows);
        // Another package: the totals are summed, the rest is the newest's.
        let mut second = notice("ab8bd7nu", Some(120), Some(1_000));
        (second.package, second.devices, second.down_kbps, second.up_kbps) = ("two".parse().unwrap(), 3, None, Some(Kbps(64)));
        assert_eq!(tables.write(&router("kibera-7"), "receipt NLJ7RT61SW", &second, NOW + 1).await.unwrap(), Written::Now);
        let rows = [
            "ab8bd7nu Acct-Interim-Interval := 300",
            "ab8bd7nu Cleartext-Password := secret",
            "ab8bd7nu Lango-Max-Octets := 6000000000",
            "ab8bd7nu Lango-Max-Time := 10800",
            "ab8bd7nu Login-Time := Wk0800-2000",
            "ab8bd7nu Simultaneous-Use := 3",
            "ab8bd7nu WISPr-Bandwidth-Max-Up := 64000",
            "ab8bd7nu in two",
        ];
        assert_eq!(sorted(database.rows()), rows);
        // Somebody removed something: what was bought is put back, once.
        database.sql("DELETE FROM radcheck WHERE attribute LIKE 'Lango%'");
        assert!(tables.restore(&"ab8bd7nu".parse().unwrap()).await.unwrap());
        assert_eq!(sorted(database.rows()), rows);
        assert!(!tables.restore(&"nobody".parse().unwrap()).await.unwrap());
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_purchase_told_a_hundred_times_by_two_relays_counts_once() {
    for database in Database::both(true) {
        let relays = [Arc::new(database.tables()), Arc::new(database.tables())];
        let mut tasks = Vec::new();
        for number in 0..200 {
            let (tables, cause) = (Arc::clone(&relays[number % 2]), format!("receipt {}", number / 2 % 4));
            tasks.push(tokio::spawn(async move {
                tables.write(&router("kibera-7"), &cause, &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap()
            }));
        }
        let mut now = 0;
        for task in tasks {
            now += usize::from(task.await.unwrap() == Written::Now);
        }
        // Four purchases of an hour.
        assert_eq!(now, 4);
        assert_eq!(only(&relays[0]).await.totals, Totals { seconds: Some(4 * 3_600), bytes: None });
        assert_eq!(database.rows().len(), 6, "{:?}", database.rows());
    }
}

#[tokio::test]
async fn unlike_limits_begin_from_what_is_used() {
    for database in Database::both(true) {
        let (tables, at) = (database.tables(), router("kibera-7"));
        tables.write(&at, "receipt 1", &notice("ab8bd7nu", Some(43_200), Some(5_000)), NOW).await.unwrap();
        database.used("ab8bd7nu", NOW + 1_000, 1_000, 4_300_000_000);
        database.used("ab8bd7nu", NOW + 1_200, 400, 0);
        assert_eq!(only(&tables).await.used.seconds, 1_200);
        assert_eq!(only(&tables).await.used.bytes, 4_300_000_000);
        tables.write(&at, "receipt 2", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap();
        assert_eq!(only(&tables).await.totals, Totals { seconds: Some(4_800), bytes: None });
    }
}

#[tokio::test]
async fn a_name_alone_is_no_proof() {
    for database in Database::both(true) {
        let tables = database.tables();
        let mine = notice("ab8bd7nu", Some(60), None);
        tables.write(&router("kibera-7"), "receipt 1", &mine, NOW).await.unwrap();
        let other = AccountNotice { password: Password::new("other").unwrap(), ..mine.clone() };
        for _ in 0..2 {
            let refused = tables.write(&router("kibera-8"), "receipt 2", &other, NOW).await.unwrap();
            assert!(matches!(&refused, Written::Refused(why) if why.contains("kibera-7")), "{refused:?}");
        }
        assert!(database.rows().contains(&"ab8bd7nu Cleartext-Password := secret".to_owned()));
        // With the password: credentials that roam, bought on at another router. And a router's own account has a new password.
        assert_eq!(tables.write(&router("kibera-8"), "receipt 3", &mine, NOW).await.unwrap(), Written::Now);
        assert_eq!(tables.write(&router("kibera-7"), "receipt 4", &other, NOW).await.unwrap(), Written::Now);
        assert!(database.rows().contains(&"ab8bd7nu Cleartext-Password := other".to_owned()));
        assert_eq!(only(&tables).await.totals.seconds, Some(3 * 3_600));
        // An operator's own.
        database.sql("INSERT INTO radcheck (username, attribute, op, value) VALUES ('boss', 'Cleartext-Password', ':=', 'hers')");
        let refused = tables.write(&router("kibera-7"), "receipt 5", &notice("boss", Some(60), None), NOW).await.unwrap();
        assert!(matches!(&refused, Written::Refused(why) if why.contains("did not make")), "{refused:?}");
        assert_eq!(tables.accounts("", 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_used_up_is_forgotten_a_quarter_later_and_never_counts_again() {
    for database in Database::both(true) {
        let (tables, at) = (database.tables(), router("kibera-7"));
        tables.write(&at, "receipt 1", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap();
        tables.write(&at, "receipt 2", &notice("waiting", Some(60), None), NOW).await.unwrap();
        tables.write(&at, "receipt 3", &notice("free", None, None), NOW).await.unwrap();
        database.used("ab8bd7nu", NOW + 3_600, 3_600, 7);
        database.used("waiting", NOW + 3_600, 3_599, 7);
        let later = NOW + 3_600 + QUARTER;
        assert!(!tables.forget("ab8bd7nu", later).await.unwrap());
        assert_eq!(tables.due(later, 10).await.unwrap(), ["waiting", "free", "ab8bd7nu"], "looked at when it may be time");
        for (name, forgotten) in [("ab8bd7nu", true), ("ab8bd7nu", false), ("waiting", false), ("free", false), ("nobody", false)] {
            assert_eq!(tables.forget(name, later + 1).await.unwrap(), forgotten, "{name}");
        }
        assert!(database.rows().iter().all(|row| !row.contains("ab8bd7nu")), "{:?}", database.rows());
        assert_eq!(tables.accounts("", 10).await.unwrap().len(), 2);
        assert!(tables.due(later + 6 * 86_400, 10).await.unwrap().is_empty(), "what has something left is looked at once a week");
        assert_eq!(tables.due(later + 8 * 86_400, 1).await.unwrap().len(), 1);
        // Told again after years: nothing. Bought again: what is new, after what was used.
        assert_eq!(tables.write(&at, "receipt 1", &notice("ab8bd7nu", Some(60), None), later).await.unwrap(), Written::Before);
        assert!(database.rows().iter().all(|row| !row.contains("ab8bd7nu")), "{:?}", database.rows());
        tables.write(&at, "receipt 4", &notice("ab8bd7nu", Some(60), None), later).await.unwrap();
        assert!(database.rows().contains(&"ab8bd7nu Lango-Max-Time := 7200".to_owned()), "{:?}", database.rows());
    }
}

#[tokio::test]
async fn tables_of_an_earlier_program_are_looked_at_too_and_by_an_index() {
    for database in Database::both(true) {
        database.sql(
            "CREATE TABLE lango_accounts (username TEXT NOT NULL PRIMARY KEY, router TEXT NOT NULL, password TEXT NOT NULL, groupname TEXT NOT NULL,
             seconds BIGINT, bytes BIGINT, devices BIGINT NOT NULL, down_kbps BIGINT, up_kbps BIGINT, bought_at BIGINT NOT NULL)",
        );
        database.sql("INSERT INTO lango_accounts VALUES ('old', 'kibera-7', 'secret', 'hour', 3600, NULL, 1, NULL, NULL, 1)");
        let (one, two) = (database.tables(), database.tables());
        assert_eq!(one.due(NOW, 10).await.unwrap(), ["old"]);
        assert!(!two.forget("old", NOW).await.unwrap());
        assert!(one.due(NOW, 10).await.unwrap().is_empty());
        if database.address.starts_with("sqlite") {
            let plan = database.sql("EXPLAIN QUERY PLAN SELECT username FROM lango_accounts WHERE look_at <= 1 ORDER BY look_at LIMIT 50");
            assert!(plan.contains("lango_accounts_look") && !plan.contains("SCAN"), "{plan}");
        }
    }
}

/// FreeRADIUS writes while accounts are listed or looked at: nobody's session waits for that.
#[tokio::test]
async fn looking_for_what_to_forget_holds_no_lock() {
    let [database, _] = Database::both(true);
    let tables = database.tables();
    tables.write(&router("kibera-7"), "receipt 1", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap();
    let path = database.address.strip_prefix("sqlite://").unwrap();
    // Somebody else is in the middle of writing all the time.
    let mut writer = std::process::Command::new("sqlite3")
        .args(["-batch", path])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = writer.stdin.take().unwrap();
    std::io::Write::write_all(&mut words, b"BEGIN IMMEDIATE;\nSELECT 'begun';\n").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(writer.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line.trim(), "begun");
    assert_eq!(tables.due(NOW + 2 * QUARTER, 10).await.unwrap(), ["ab8bd7nu"]);
    assert_eq!(tables.accounts("", 10).await.unwrap().len(), 1);
    assert!(tables.forget("ab8bd7nu", NOW).await.is_err(), "this one does write");
    drop(words);
    assert!(writer.wait().unwrap().success());
    assert!(!tables.forget("ab8bd7nu", NOW).await.unwrap());
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed_and_opened_anew() {
    let [database, _] = Database::both(true);
    let (tables, at) = (database.tables(), router("kibera-7"));
    let path = Path::new(database.address.strip_prefix("sqlite://").unwrap());
    let [backup, away] = ["backup.db", "away.db"].map(|name| path.with_file_name(name));
    database.sql(&format!("VACUUM INTO '{}'", backup.display()));
    tables.write(&at, "receipt 1", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap();
    assert!(!tables.look().await.unwrap());
    // Taken away: nothing is written into what nobody reads.
    std::fs::rename(path, &away).unwrap();
    let error = tables.write(&at, "receipt 2", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap_err();
    assert!(error.to_string().contains("there is no database"), "{error:#}");
    assert!(!tables.look().await.unwrap(), "nothing to be seen to before there is one");
    // The backup in its place, as docs/radius.md says: what was bought since is not in it.
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(path.with_file_name(format!("radius.db{end}"))); // the old one's, where it left them
    }
    std::fs::rename(&backup, path).unwrap();
    assert_eq!(tables.write(&at, "receipt 2", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap(), Written::Now);
    assert!(tables.look().await.unwrap(), "until somebody has seen to it");
    assert_eq!(tables.write(&at, "receipt 1", &notice("ab8bd7nu", Some(60), None), NOW).await.unwrap(), Written::Now);
    assert_eq!(only(&tables).await.totals.seconds, Some(7_200));
    tables.is_known();
    assert!(!tables.look().await.unwrap());
}

#[tokio::test]
async fn a_database_without_freeradius_s_tables_is_told_by_name() {
    for database in Database::both(false) {
        let error = database.tables().check().await.unwrap_err();
        assert!(error.is::<NoSchema>() && error.to_string().contains("no radcheck"), "{error:#}");
        assert!(database.tables().write(&router("kibera-7"), "1", &notice("a", None, None), NOW).await.is_err());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("radius.db");
    let error = Tables::new(Place::Sqlite(path.clone()), 300).check().await.unwrap_err();
    assert!(error.to_string().contains("FreeRADIUS makes it"), "{error:#}");
    // FreeRADIUS makes its tables only where there is no file.
    assert!(!path.exists());
}
