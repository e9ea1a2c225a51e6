//! The command line beside the daemon: what it prints, and its exit codes.

use super::broker::Broker;
use super::program::Program;
use super::{World, paid};
use lango_core::message::Outcome;
use std::os::unix::fs::PermissionsExt;

fn alone(folder: &tempfile::TempDir) -> Program {
    Program::new(folder.path(), "mqtt://127.0.0.1:1", "http://127.0.0.1:1", "transaction_type = \"CustomerPayBillOnline\"")
}

#[test]
fn a_router_is_added_once_and_shown_again() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    let empty = relay.command(&["router", "list"]);
    assert!(empty.code == 69 && empty.stderr.contains("router add NAME"), "{}", empty.stderr);
    let added = relay.command(&["router", "add", "kibera-7"]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    // The section alone is what goes into a file, and from there into the router's configuration.
    assert!(
        added.stdout.starts_with("config relay 'relay'\n\toption broker 'mqtt://127.0.0.1:1'\n\toption username 'kibera-7'\n"),
        "{}",
        added.stdout
    );
    assert!(!added.stdout.contains('#'), "{}", added.stdout);
    assert!(added.stderr.contains("#   topic write lango/v1/kibera-7/up/#\n"), "{}", added.stderr);
    let password = added.stdout.lines().find_map(|line| line.strip_prefix("\toption password '")?.strip_suffix('\'')).unwrap();
    assert!(!added.stderr.contains(password), "a command with the password in it is seen by everybody");
    let again = relay.command(&["router", "add", "kibera-7"]);
    assert!(again.code == 64 && again.stderr.contains("router show kibera-7"), "{}", again.stderr);
    let shown = relay.command(&["router", "show", "kibera-7"]);
    assert_eq!((shown.stdout, shown.stderr), (added.stdout, added.stderr));
    let unknown = relay.command(&["router", "show", "kibera-8"]);
    assert!(unknown.code == 64 && unknown.stderr.contains("router add kibera-8"), "{}", unknown.stderr);
    let list: serde_json::Value = serde_json::from_str(&relay.command(&["router", "list", "--json"]).stdout).unwrap();
    assert_eq!((&list[0]["router"], &list[0]["hello_at"]), (&"kibera-7".into(), &serde_json::Value::Null));
    assert!(relay.command(&["router", "list"]).stdout.contains("kibera-7"));
    assert_eq!(relay.command(&["payments", "--json"]).stdout, "[]\n");
}

#[test]
fn check_tells_every_mistake_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    let good = relay.command(&["check"]);
    assert_eq!((good.code, good.stdout.as_str()), (0, ""));
    let text = std::fs::read_to_string(&relay.config).unwrap();
    std::fs::write(&relay.config, text.replace("174379", "1").replace("mqtt://", "tcp://")).unwrap();
    let bad = relay.command(&["check"]);
    let file = relay.config.display();
    let lines: Vec<&str> = bad.stdout.lines().collect();
    assert_eq!(bad.code, 78);
    assert!(lines.len() == 2 && lines[0].starts_with(&format!("{file}:7: broker must be")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("{file}:15: shortcode must be")), "{lines:?}");
    let run = relay.command(&["run"]);
    assert!(run.code == 78 && run.stderr.contains(":7: broker must be"), "{}", run.stderr);
}

#[test]
fn missing_folders_are_made_and_what_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    let (home, text) = (folder.path().display().to_string(), std::fs::read_to_string(&relay.config).unwrap());
    let place = |key: &str, database: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[2] = format!("database = \"sqlite://{home}/{database}\"");
        lines[3] = format!("signing_key = \"{home}/{key}\"");
        std::fs::write(&relay.config, lines.join("\n")).unwrap();
    };
    // A file where a folder must be.
    std::fs::write(folder.path().join("file"), "").unwrap();
    place("file/keys/signing.key", "file/relay.db");
    let told = relay.command(&["check"]);
    let (lines, file): (Vec<&str>, _) = (told.stdout.lines().collect(), relay.config.display());
    assert!(told.code == 78 && lines.len() == 2, "{}{}", told.stdout, told.stderr);
    assert!(
        lines[0].starts_with(&format!("{file}:3: database: ")) && lines[1].starts_with(&format!("{file}:4: signing_key: ")),
        "{lines:?}"
    );
    assert_eq!(relay.command(&["router", "add", "kibera-7"]).code, 69);
    // Folders that are not there yet: looked at, nothing is made; used, they are its user's alone.
    place("keys/deep/signing.key", "books/deep/relay.db");
    let good = relay.command(&["check"]);
    assert_eq!((good.code, good.stdout.as_str()), (0, ""), "{}", good.stderr);
    assert!(!folder.path().join("keys").exists() && !folder.path().join("books").exists());
    relay.add_router("kibera-7");
    for made in ["keys", "keys/deep", "books", "books/deep"] {
        let mode = std::fs::metadata(folder.path().join(made)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{made}");
    }
    assert_eq!(relay.command(&["check"]).code, 0);
    std::fs::set_permissions(folder.path().join("keys/deep/signing.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let open = relay.command(&["check"]);
    assert!(open.code == 78 && open.stdout.contains(":4: signing_key: ") && open.stdout.contains("chmod 600"), "{}", open.stdout);
}

#[test]
fn check_says_at_once_which_server_is_away_and_mistakes_first() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    let text = std::fs::read_to_string(&relay.config).unwrap();
    let away = |name: &str| format!("postgres://me:hush@127.0.0.1:{}/{name}", super::free_port());
    let database = text.lines().nth(2).unwrap().to_owned();
    let both = text.replace(&database, &format!("database = \"{}\"", away("books")))
        + &format!("\n[radius_sql]\ndatabase = \"{}\"\n", away("radius"));
    let begin = std::time::Instant::now();
    std::fs::write(&relay.config, &both).unwrap();
    let told = relay.command(&["check"]);
    assert_eq!((told.code, told.stdout.as_str()), (69, ""), "{}", told.stderr);
    for said in
        ["line 3: the ledger's server cannot be reached: postgres://127.0.0.1/books", "line 23: the RADIUS server's database cannot be"]
    {
        assert!(told.stderr.contains(said) && told.stderr.contains("Connection refused"), "{}", told.stderr);
    }
    assert!(!told.stderr.contains("hush"));
    // What is wrong in the file, and on this machine, is told without asking anybody.
    std::fs::write(&relay.config, both.replace("signing_key = \"", "signing_key = \"/proc/self/status")).unwrap();
    let mistake = relay.command(&["check"]);
    assert!(
        mistake.code == 78 && mistake.stdout.contains(":4: signing_key: ") && mistake.stderr.lines().count() == 1,
        "{}",
        mistake.stderr
    );
    std::fs::write(&relay.config, both.replace("174379", "1")).unwrap();
    let mistake = relay.command(&["check"]);
    assert!(mistake.code == 78 && mistake.stdout.contains("shortcode must be") && mistake.stderr.is_empty(), "{}", mistake.stderr);
    // Four programs; each waited for nothing.
    assert!(begin.elapsed() < std::time::Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    for words in [&["fly"][..], &[], &["router"], &["router", "add", "a/b"], &["run", "--fast"]] {
        let printed = relay.command(words);
        assert!(printed.code == 64 && printed.stderr.contains("lango-relay run"), "{words:?}: {}", printed.stderr);
    }
    assert_eq!(relay.command(&["help"]).code, 0);
    let port = std::net::TcpListener::bind(("127.0.0.1", relay.port)).unwrap();
    let taken = relay.command(&["run"]);
    assert!(taken.code == 69 && taken.stderr.contains("callbacks cannot be received"), "{}", taken.stderr);
    drop(port);
    std::fs::set_permissions(folder.path().join("relay/signing.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let open = relay.command(&["run"]);
    assert!(open.code == 69 && open.stderr.contains("chmod 600"), "{}", open.stderr);
    std::fs::remove_file(&relay.config).unwrap();
    assert_eq!(relay.command(&["check"]).code, 78);
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_and_retry_beside_the_running_relay() {
    let mut world = World::new().await;
    let (order, push) = world.ask().await;
    world.call_back(&push.callback, paid(&push.checkout, 10, "NLJ7RT61SV")).await;
    let Outcome::Paid { .. } = world.router.outcome(&order).await else { panic!("paid") };
    let table = world.relay.command(&["payments"]).stdout;
    let mut lines = table.lines();
    assert!(lines.next().is_some_and(|head| head.starts_with("ASKED") && head.contains("RECEIPT")), "{table}");
    // The moment in Nairobi: a day, and a time.
    let row: Vec<&str> = lines.next().unwrap().split_whitespace().skip(2).collect();
    assert_eq!(row, ["kibera-7", &order, "hour", "10", "254712345678", "paid", "NLJ7RT61SV"]);
    let done = world.relay.command(&["retry", &order]);
    assert!(done.code == 0 && done.stdout.contains("NLJ7RT61SV"), "{}", done.stdout);
    let none = world.relay.command(&["retry", "nothing"]);
    assert!(none.code == 64 && none.stderr.contains("there is no payment nothing"), "{}", none.stderr);
    let list: serde_json::Value = serde_json::from_str(&world.relay.command(&["router", "list", "--json"]).stdout).unwrap();
    assert!(list[0]["hello_at"].is_string() && list[0]["version"] == "1.0", "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_at_the_broker_is_told_and_callbacks_are_received_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::new(folder.path());
    let mut relay = Program::new(folder.path(), &broker.url(), "http://127.0.0.1:1", "transaction_type = \"CustomerPayBillOnline\"");
    let text = std::fs::read_to_string(&relay.config).unwrap();
    std::fs::write(&relay.config, text.replace(super::broker::RELAY_PASSWORD, "wrong")).unwrap();
    broker.start();
    relay.start().await;
    super::until("the refusal in the log", async || relay.log().contains("broker: not connected").then_some(())).await;
    assert_eq!(relay.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_of_a_day_and_m_pesas_statement_held_against_them() {
    let mut world = World::new().await;
    let now = lango_relay::nairobi::text(lango_relay::clock::now());
    let (today, digits) = (now.split_once(' ').unwrap().0.to_owned(), now.chars().filter(char::is_ascii_digit).collect::<String>());
    let mut orders = Vec::new();
    for (name, receipt) in [("books1aaaaaaaa", Some("NLJ7RT61SA")), ("books2aaaaaaaa", None), ("books3aaaaaaaa", Some("NLJ7RT61SC"))] {
        world.router.say(lango_core::message::UpBody::PaymentRequest(super::router::request(name)));
        let push = world.daraja.next_push().await;
        world.payment_until(name, "state", "prompted").await;
        match receipt {
            // M-Pesa's own time comes with it.
            Some(receipt) => {
                let body = paid(&push.checkout, 10, receipt).replace("20191219102115", &digits);
                world.call_back(&push.callback, body).await;
            }
            // Only a query tells of this one.
            None => {
                world.daraja.result(&push.checkout, "0");
                assert_eq!(world.relay.command(&["retry", name]).code, 0);
            }
        }
        let Outcome::Paid { .. } = world.router.outcome(name).await else { panic!("paid") };
        orders.push(world.payment_until(name, "status", "paid").await);
    }
    let stand_in = orders[1]["receipt"].as_str().unwrap().to_owned();
    let list = world.relay.command(&["payments", "--day", &today, "--csv"]).stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines[0], "time,router,payment,package,ksh,phone,status,receipt,mpesa_receipt,note");
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines.contains(&&*format!("{now},kibera-7,books1aaaaaaaa,hour,10,254712345678,paid,NLJ7RT61SA,NLJ7RT61SA,")), "{list}");
    assert!(list.contains(&format!(",books2aaaaaaaa,hour,10,254712345678,paid,{stand_in},,")), "{list}");
    let sums = world.relay.command(&["payments", "--sums", "--csv"]).stdout;
    assert_eq!(sums, format!("day,router,payments,ksh,without_mpesa_receipt\n{today},kibera-7,3,30,1\n"));
    let table = world.relay.command(&["payments", "--day", &today]).stdout;
    assert!(table.contains("DAY") && table.lines().last().is_some_and(|line| line.contains("(all)") && line.contains("30")), "{table}");
    assert_eq!(world.relay.command(&["payments", "--day", "2026-01-01", "--json"]).stdout, "[]\n");
    assert_eq!(world.relay.command(&["payments", "--day", "today"]).stdout, table, "unless it is midnight in Nairobi just now");
    assert_eq!(world.relay.command(&["payments", "--day", "yesterday", "--json"]).stdout, "[]\n");
    let wrong = world.relay.command(&["payments", "--day", "last-week"]);
    assert!(wrong.code == 64 && wrong.stderr.contains("a day is written as"), "{}", wrong.stderr);

    let statement = world.relay.config.with_file_name("statement.csv");
    let head = "Receipt No.,Completion Time,Details,Transaction Status,Paid In,Withdrawn,Balance,A/C No.\n";
    let row = |receipt: &str, paid_in: &str, account: &str| format!("{receipt},{now},Pay Bill,Completed,{paid_in},,,{account}\n");
    let reconcile = |rows: &[String]| {
        std::fs::write(&statement, head.to_owned() + &rows.concat()).unwrap();
        world.relay.command(&["reconcile", statement.to_str().unwrap(), "--day", &today])
    };
    let (first, second, third) = (
        row("NLJ7RT61SA", "10.00", "BOOKS1AAAAAA"),
        row("NLJ7RT61SB", "10.00", "BOOKS2AAAAAA"),
        row("NLJ7RT61SC", "10.00", "BOOKS3AAAAAA"),
    );
    let same = reconcile(&[first.clone(), second.clone(), third.clone()]);
    assert!(same.code == 0 && same.stdout.ends_with("nothing differs\n"), "{}{}", same.stdout, same.stderr);
    let differs = reconcile(&[first, second, row("NLJ7RT61SC", "20.00", "BOOKS3AAAAAA"), row("NLJ7RT61SD", "50.00", "JANE")]);
    assert_eq!(differs.code, 1, "{}", differs.stdout);
    assert!(differs.stdout.contains("amounts differ") && differs.stdout.contains("M-Pesa alone"), "{}", differs.stdout);
    assert!(differs.stdout.ends_with("\n2 differences\n"), "{}", differs.stdout);
    let missing = reconcile(&[]);
    assert!(missing.code == 1 && missing.stdout.matches("ledger alone").count() == 3, "{}", missing.stdout);
    std::fs::write(&statement, "what is this?").unwrap();
    let unreadable = world.relay.command(&["reconcile", statement.to_str().unwrap()]);
    assert!(unreadable.code == 64 && unreadable.stderr.contains("no line with the headings"), "{}", unreadable.stderr);
}

#[test]
fn another_machines_signing_key_is_refused_until_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    let first = relay.add_router("kibera-7").relay_key;
    std::fs::remove_file(folder.path().join("relay/signing.key")).unwrap();
    for words in [&["run"][..], &["router", "add", "kibera-8"], &["router", "show", "kibera-7"]] {
        let refused = relay.command(words);
        assert!(refused.code == 69 && refused.stderr.contains("copy signing_key"), "{words:?}: {}", refused.stderr);
    }
    assert_eq!(relay.command(&["key", "accept"]).code, 0);
    assert_ne!(relay.add_router("kibera-8").relay_key, first);
}

#[test]
fn texts_are_listed_and_where_their_reports_go() {
    let folder = tempfile::tempdir().unwrap();
    let relay = alone(&folder);
    relay.add_router("kibera-7");
    assert_eq!(relay.command(&["sms", "--json"]).stdout, "[]\n");
    assert!(relay.command(&["sms"]).stdout.starts_with("MADE  ROUTER  SMS"));
    for (words, said) in [(&["sms", "reports"][..], "names no provider"), (&["retry", "sms-0f0f0f0f0f0f"], "`lango-relay sms` shows them")]
    {
        let refused = relay.command(words);
        assert!(refused.code == 64 && refused.stderr.contains(said), "{words:?}: {}", refused.stderr);
    }
    let text = std::fs::read_to_string(&relay.config).unwrap();
    let sms = "provider = \"africastalking\"\nusername = \"me\"\napi_key = \"key\"";
    std::fs::write(&relay.config, text.replace("provider = \"none\"", sms)).unwrap();
    let address = relay.command(&["sms", "reports"]).stdout;
    let secret = address.trim().strip_prefix(&format!("http://127.0.0.1:{}/callback/sms/", relay.port)).unwrap();
    assert!(secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit()), "{address}");
    assert_eq!(relay.command(&["sms", "reports"]).stdout, address, "another one each time");
}
