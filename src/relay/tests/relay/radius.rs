//! Accounts that roam: a router may forget a purchase when the RADIUS server's tables have it, and not before. FreeRADIUS's own schema,
//! in a SQLite file; in the run on PostgreSQL in a database of that server.

use super::router::Router;
use super::{World, on_postgres, until};
use lango_core::message::{DownBody, UpBody};
use lango_core::notice::AccountNotice;
use lango_core::package::{Limits, Package};
use lango_core::units::{Bytes, MessageId, Millis, Password, Shillings};
use lango_lab::{freeradius, postgres};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The RADIUS server's database, which may be away.
struct Tables {
    address: String,
    file: Option<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Tables {
    fn new() -> Self {
        if !on_postgres() {
            return Self::in_a_file();
        }
        Self { address: postgres::database(), file: None, _folder: tempfile::tempdir().unwrap() }
    }

    /// Wherever the ledger is.
    fn in_a_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("radius.db");
        Self { address: format!("sqlite://{}", file.display()), file: Some(file), _folder: folder }
    }

    fn make(&self) {
        let kind = if self.file.is_some() { "sqlite" } else { "postgresql" };
        self.sql(&freeradius::schema(kind).unwrap());
    }

    fn sql(&self, sql: &str) -> String {
        let Some(file) = &self.file else { return postgres::psql(&self.address, sql).unwrap() };
        freeradius::sqlite(file, &[], sql).unwrap()
    }

    fn value(&self, username: &str, attribute: &str) -> String {
        self.sql(&format!("SELECT value FROM radcheck WHERE username = '{username}' AND attribute = '{attribute}'")).trim().to_owned()
    }
}

pub(crate) fn sale(username: &str, receipt: Option<&str>) -> UpBody {
    let limits = Limits { time: Some(Millis(3_600_000)), data: Some(Bytes(5_000_000_000)), down: None, up: None, devices: 1 };
    let package = Package { id: "hour".parse().unwrap(), label: "1 hour".to_owned(), price: Shillings(10), limits };
    let of = AccountNotice::of(username.parse().unwrap(), Password::new("secret").unwrap(), &package);
    UpBody::Account(AccountNotice { receipt: receipt.map(|receipt| receipt.parse().unwrap()), ..of })
}

/// Waits until the relay acknowledges this.
pub(crate) async fn acknowledged(router: &mut Router, id: &MessageId) {
    loop {
        if let DownBody::Ack { of } = router.next().await.body
            && of.contains(id)
        {
            return;
        }
    }
}

fn listed(world: &World) -> Value {
    let printed = world.relay.command(&["radius", "list", "--json"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    serde_json::from_str(&printed.stdout).unwrap()
}

async fn world(tables: &Tables) -> World {
    World::with(&format!("transaction_type = \"CustomerPayBillOnline\"\n\n[radius_sql]\ndatabase = \"{}\"", tables.address)).await
}

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the relay's answers come meanwhile
async fn an_acknowledgement_is_the_promise_that_the_account_roams() {
    let tables = Tables::new();
    tables.make();
    let mut world = world(&tables).await;
    assert_eq!(world.relay.command(&["check"]).code, 0);
    let id = world.router.say(sale("ab8bd7nu", Some("NLJ7RT61SV")));
    acknowledged(&mut world.router, &id).await;
    assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Time"), "3600");
    assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Octets"), "5000000000");
    // A hundred times more, by this name and by others, each acknowledged.
    for number in 0..100 {
        let body = sale("ab8bd7nu", Some("NLJ7RT61SV"));
        let again = match number % 2 {
            0 => id.clone(),
            _ => world.router.say(body.clone()),
        };
        world.router.say_as(&again, body);
        acknowledged(&mut world.router, &again).await;
    }
    assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Time"), "3600");
    // A voucher has no receipt: the message is what tells it.
    let id = world.router.say(sale("ab8bd7nu", None));
    acknowledged(&mut world.router, &id).await;
    world.router.say_as(&id, sale("ab8bd7nu", None));
    acknowledged(&mut world.router, &id).await;
    assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Time"), "7200");
    assert_eq!(tables.sql("SELECT COUNT(*) FROM radcheck").trim(), "4");
    let all = listed(&world);
    assert_eq!(all["accounts"][0]["username"], "ab8bd7nu", "{all}");
    assert_eq!((&all["accounts"][0]["seconds"], &all["not_written"]), (&Value::from(7_200), &Value::Array(Vec::new())), "{all}");
    // A new RADIUS server gets all of it, once.
    tables.sql(
        "DELETE FROM radcheck; DELETE FROM radreply; DELETE FROM radusergroup; DELETE FROM lango_accounts; DELETE FROM lango_purchases",
    );
    for added in ["2 purchases added, 0 were there", "0 purchases added, 2 were there"] {
        let printed = world.relay.command(&["radius", "sync"]);
        assert!(printed.code == 0 && printed.stdout.contains(added), "{}{}", printed.stdout, printed.stderr);
        assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Time"), "7200");
    }
    assert!(!world.relay.log().contains("secret"), "{}", world.relay.log());
}

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the relay's answers come meanwhile
async fn while_the_tables_are_away_routers_keep_what_was_bought_and_nothing_else_waits() {
    let tables = Tables::new();
    let mut world = world(&tables).await;
    let id = world.router.say(sale("ab8bd7nu", Some("NLJ7RT61SV")));
    until("the relay to say that the tables are away", async || world.relay.log().contains("radius: what was bought waits").then_some(()))
        .await;
    // Everything else is answered, in the order in which it was said.
    world.router.fence().await;
    let (order, push) = world.ask().await;
    let body = super::paid(&push.checkout, 10, "NLJ7RT61SW");
    assert_eq!(world.call_back(&push.callback, body).await, 200);
    world.router.outcome(&order).await;
    let silent = tokio::time::timeout(Duration::from_secs(2), acknowledged(&mut world.router, &id)).await;
    assert!(silent.is_err(), "it was acknowledged while it was nowhere");
    let (list, check) = (world.relay.command(&["radius", "list"]), world.relay.command(&["check"]));
    assert!(list.stdout.contains("ab8bd7nu") && list.stdout.contains("waiting") && list.code != 0, "{}{}", list.stdout, list.stderr);
    assert_ne!(check.code, 0);
    if on_postgres() {
        assert!(check.code == 78 && check.stdout.contains("no radcheck"), "{} {}{}", check.code, check.stdout, check.stderr);
    }
    // Neither the router nor the operator does anything: the relay comes to it.
    tables.make();
    acknowledged(&mut world.router, &id).await;
    assert_eq!(tables.value("ab8bd7nu", "Cleartext-Password"), "secret");
    assert!(world.relay.log().contains("can be used again"), "{}", world.relay.log());
    assert_eq!(listed(&world)["not_written"], Value::Array(Vec::new()));
    assert_eq!(world.relay.command(&["check"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")] // commands are waited for, and the relay's answers come meanwhile
async fn a_backup_in_the_tables_place_gets_what_was_bought_since() {
    let tables = Tables::in_a_file();
    let file = tables.file.clone().unwrap();
    tables.make();
    let mut world = world(&tables).await;
    let backup = file.with_file_name("backup.db");
    let first = world.router.say(sale("ab8bd7nu", Some("NLJ7RT61SV")));
    acknowledged(&mut world.router, &first).await;
    tables.sql(&format!("VACUUM INTO '{}'", backup.display()));
    let second = world.router.say(sale("ab8bd7nu", Some("NLJ7RT61SW")));
    acknowledged(&mut world.router, &second).await;
    assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Time"), "7200");
    // FreeRADIUS is ended, and the backup put in its place; nobody buys anything meanwhile, and nobody tells the relay.
    for end in ["-wal", "-shm"] {
        std::fs::remove_file(file.with_file_name(format!("radius.db{end}"))).unwrap();
    }
    std::fs::rename(&backup, &file).unwrap();
    until("what was bought since to be in the backup", async || (tables.value("ab8bd7nu", "Lango-Max-Time") == "7200").then_some(())).await;
    assert!(world.relay.log().contains("is another file than before: 2 purchases"), "{}", world.relay.log());
    let third = world.router.say(sale("ab8bd7nu", Some("NLJ7RT61SX")));
    acknowledged(&mut world.router, &third).await;
    assert_eq!(tables.value("ab8bd7nu", "Lango-Max-Time"), "10800");
}
