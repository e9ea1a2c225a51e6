//! What the database itself holds to, whatever program writes there: its version, its tables, its file, its rows.

use super::*;

#[tokio::test]
async fn another_programs_ledger_is_refused() {
    for (version, said) in [(SCHEMA_VERSION + 1, "newer lango-relay"), (1, "before the first release")] {
        let both = both();
        for (ledger, place) in both.open().await.iter().zip(&both.places) {
            let text = match ledger.kind {
                Kind::Sqlite => format!("PRAGMA user_version = {version}"),
                Kind::Postgres => format!("UPDATE relay_schema SET version = {version}"),
            };
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&ledger.pool).await.unwrap();
            ledger.close().await;
            let error = Ledger::open(place).await.err().unwrap();
            assert!(format!("{error:#}").contains(said), "{error:#}");
        }
    }
}

#[tokio::test]
async fn relays_that_start_at_once_make_the_tables_once() {
    let place = Place::parse(&postgres::database()).unwrap();
    let (one, two, three) = tokio::join!(Ledger::open(&place), Ledger::open(&place), Ledger::open(&place));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
}

#[tokio::test]
async fn what_was_heard_told_and_paid_can_be_neither_changed_nor_deleted() {
    let both = both();
    for ledger in both.open().await {
        add(&ledger, "aaaa").await;
        let stored = StoredCallback { id: "c1".to_owned(), key: key("aaaa"), shortcode: None, body: vec![0] };
        ledger.keep_callback(&stored, NOW).await.unwrap();
        let mut change = ledger.begin().await.unwrap();
        let (mut payment, _) = change.payment(&key("aaaa")).await.unwrap();
        payment.mpesa_receipt = Some("NLJ7RT61SV".parse().unwrap());
        change.book(&payment, &"NLJ7RT61SV".parse().unwrap(), None, NOW).await.unwrap();
        change.name_request("ws_CO_1", &key("aaaa"), NOW).await.unwrap();
        for id in ["m1", "m2"] {
            let message = Message {
                id: id.parse().unwrap(),
                router: "kibera-7".parse().unwrap(),
                order: "aaaa".parse().unwrap(),
                seq: 1,
                topic: "t".to_owned(),
                payload: "p".to_owned(),
                made_at: NOW,
            };
            change.post(&message, true).await.unwrap();
        }
        change.commit().await.unwrap();
        ledger.expect_key("key", NOW).await.unwrap();
        for table in ["history", "ledger", "receipts", "requests", "callbacks", "messages", "messages_ended", "signing_keys"] {
            let tried = async |text: String| sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&ledger.pool).await;
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}"))).fetch_all(&ledger.pool).await.unwrap().len();
            assert!(rows > 0, "{table} is empty: this tries nothing");
            let column = if table == "messages" { "made_at" } else { "at" };
            for text in [format!("UPDATE {table} SET {column} = 0"), format!("DELETE FROM {table}")] {
                let error = tried(text.clone()).await.err().unwrap_or_else(|| panic!("{text}"));
                assert!(error.to_string().contains("only added to"), "{text}: {error}");
            }
        }
        assert!(sqlx::raw_sql("DELETE FROM payments").execute(&ledger.pool).await.is_err());
        assert!(sqlx::raw_sql("UPDATE payments SET amount = 1").execute(&ledger.pool).await.is_err());
    }
}

/// Below the rules, which say the same: whatever program writes there, a success stays.
#[tokio::test]
async fn a_success_is_final_to_the_database_itself() {
    let both = both();
    for ledger in both.open().await {
        add(&ledger, "aaaa").await;
        let store = async |state: State, receipt: Option<&str>| {
            let mut change = ledger.begin().await.unwrap();
            let (payment, revision) = change.payment(&key("aaaa")).await.unwrap();
            let receipt = receipt.map(|text| text.parse().unwrap());
            change.save(&Payment { state, receipt, ..payment }, revision).await?;
            change.commit().await
        };
        store(State::Prompted, None).await.unwrap();
        store(State::Paid, Some("NLJ7RT61SV")).await.unwrap();
        store(State::Paid, Some("NLJ7RT61SV")).await.unwrap();
        for (state, receipt) in
            [(State::Prompted, Some("NLJ7RT61SV")), (State::NeedsReview, None), (State::Paid, None), (State::Paid, Some("NLJ7RT61SW"))]
        {
            assert!(store(state, receipt).await.is_err(), "{state:?} {receipt:?}");
        }
        assert_eq!(ledger.payments().await.unwrap()[0].state, State::Paid);
    }
}

#[tokio::test]
async fn commits_are_as_durable_as_the_database_makes_them_and_nobody_else_reads_them() {
    use std::os::unix::fs::PermissionsExt;
    let both = both();
    let [sqlite, postgres] = both.open().await;
    let setting = async |text: &'static str| sqlx::query(text).fetch_one(&sqlite.pool).await.unwrap();
    assert_eq!(setting("PRAGMA journal_mode").await.get::<String, _>(0), "wal");
    assert_eq!(setting("PRAGMA synchronous").await.get::<i64, _>(0), 2, "2 is FULL");
    let Place::Sqlite(path) = &both.places[0] else { panic!("the first is SQLite") };
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    // A server that is set to forget is told not to; one that is set to be stricter stays so.
    for (set, kept) in [("off", "on"), ("remote_apply", "remote_apply")] {
        let Place::Postgres(url) = &both.places[1] else { panic!("the second is PostgreSQL") };
        let name = url.path().trim_matches('/');
        let alter = format!("ALTER DATABASE {name} SET synchronous_commit = '{set}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(alter)).execute(&postgres.pool).await.unwrap();
        let opened = Ledger::open(&both.places[1]).await.unwrap();
        let row = sqlx::query("SELECT current_setting('synchronous_commit')").fetch_one(&opened.pool).await.unwrap();
        assert_eq!(row.get::<String, _>(0), kept);
    }
}

#[tokio::test]
async fn a_ledger_of_the_version_before_is_brought_up_and_keeps_what_it_holds() {
    let both = both();
    for place in &both.places {
        let pool = place.connect().await.unwrap();
        let (own, version) = match place.kind() {
            Kind::Sqlite => (STEPS[0].sqlite, "PRAGMA user_version = 2"),
            Kind::Postgres => {
                (STEPS[0].postgres, "CREATE TABLE relay_schema (version BIGINT NOT NULL); INSERT INTO relay_schema (version) VALUES (2)")
            }
        };
        for text in
            [STEPS[0].common, own, version, "INSERT INTO routers (name, password, added_at, next_seq) VALUES ('kibera-7', 'k7', 5, 9)"]
        {
            sqlx::raw_sql(text).execute(&pool).await.unwrap();
        }
        pool.close().await;
        for _ in 0..2 {
            let ledger = Ledger::open_existing(place).await.unwrap().unwrap();
            let [router] = &*ledger.routers().await.unwrap() else { panic!("the router is still there") };
            assert_eq!((router.name.as_str(), router.password.reveal(), router.revoked_at), ("kibera-7", "k7", None));
            assert_eq!(Sequences::default().next(&ledger, &router.name).await.unwrap() % 1_000, 9);
            assert_eq!(ledger.deposits().await.unwrap(), []);
            ledger.close().await;
        }
    }
}
