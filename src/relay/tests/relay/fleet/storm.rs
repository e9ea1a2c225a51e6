//! Many payments under many deaths.

use super::*;

/// Numbers that look like chance and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What those do who get a prompt, and Safaricom with them.
#[derive(Default)]
struct Customers {
    answered: usize,
    /// By order.
    taken: BTreeMap<String, Taken>,
    refused: usize,
    /// By callback address.
    pushed: HashMap<String, usize>,
}

impl Customers {
    async fn act(&mut self, fleet: &Fleet, asked: &[String], dice: &mut Dice) {
        while self.answered < fleet.daraja.pushes() {
            let push = fleet.daraja.next_push().await;
            *self.pushed.entry(push.callback.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
            self.answered += 1;
            let receipt = format!("NLJ7R{:05}", self.answered);
            let body = paid(&push.checkout, 10, &receipt);
            // The tests' orders begin with twelve characters of their own: the reference names the order.
            let account = push.body["AccountReference"].as_str().unwrap();
            let order = asked.iter().find(|order| lango_relay::daraja::wire::reference(order) == account).unwrap().clone();
            let (result, called_back) = match dice.below(10) {
                0 => ("1032", fleet.call_back(self.answered, &push, &failed(&push.checkout, "1032")).await),
                // Safaricom's callback is lost on its way.
                1 => ("0", false),
                // It comes twice, to both at once.
                2 => {
                    let (one, two) = tokio::join!(fleet.call_back(0, &push, &body), fleet.call_back(1, &push, &body));
                    ("0", one || two)
                }
                _ => ("0", fleet.call_back(self.answered, &push, &body).await),
            };
            fleet.daraja.result(&push.checkout, result);
            if result == "0" {
                self.taken.insert(order, Taken { receipt, called_back });
            } else {
                self.refused += 1;
            }
        }
    }
}

/// Many payments, and again and again one of the relays, or both, are killed in the midst of it. `LANGO_FLEET_PAYMENTS` for more.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_nothing_is_lost_and_nothing_done_twice() {
    let payments: usize = std::env::var("LANGO_FLEET_PAYMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed = std::env::var("LANGO_FLEET_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| lango_relay::clock::now().0);
    eprintln!("seed {seed}");
    let mut dice = Dice(seed | 1);
    let database = postgres::database();
    let mut fleet = Fleet::new([&database, &database]).await;
    let mut desk = Desk::default();
    let (mut asked, mut customers, mut kills) = (Vec::new(), Customers::default(), 0);
    while asked.len() < payments {
        if dice.below(12) == 0 {
            fleet.daraja.revoke_token();
        }
        fleet.daraja.is_slow(Duration::from_millis(dice.below(30)));
        for _ in 0..dice.below(4) {
            if asked.len() < payments {
                let order = format!("{:05}fleet0000000000", asked.len());
                desk.ask(&mut fleet.router, &order);
                asked.push(order);
            }
        }
        // Somewhere between storing, prompting, its answer, the callback and its result.
        desk.work(&mut fleet.router, Duration::from_millis(dice.below(60))).await;
        let dead: Vec<usize> = match dice.below(6) {
            0 | 1 => vec![0],
            2 | 3 => vec![1],
            4 if kills % 5 == 4 => vec![0, 1],
            _ => Vec::new(),
        };
        let die_first = dice.below(2) == 0;
        if die_first {
            dead.iter().for_each(|number| fleet.relays[*number].kill());
        }
        customers.act(&fleet, &asked, &mut dice).await;
        if !die_first {
            desk.work(&mut fleet.router, Duration::from_millis(dice.below(15))).await;
            dead.iter().for_each(|number| fleet.relays[*number].kill());
        }
        kills += dead.len();
        if !dead.is_empty() {
            desk.work(&mut fleet.router, Duration::from_millis(dice.below(150))).await;
        }
        for number in dead {
            fleet.relays[number].start().await;
        }
    }
    desk.work_until(&mut fleet.router, "every request to be acknowledged", |desk| desk.open.is_empty()).await;
    // A token whose holder was killed is waited for: nobody is prompted meanwhile, and nobody in doubt.
    let start = Instant::now();
    while fleet.payments().values().any(|payment| payment["state"] == "requested") {
        assert!(start.elapsed() < Duration::from_secs(60), "some are never prompted");
        desk.work(&mut fleet.router, Duration::from_millis(100)).await;
    }
    // A clean stop waits for the pushes under way: after it there is none that the customers have not seen.
    for relay in &mut fleet.relays {
        assert_eq!(relay.stop().await, 0);
        relay.start().await;
    }
    customers.act(&fleet, &asked, &mut dice).await;
    let Customers { taken, refused, pushed, .. } = customers;
    // As the relays' own clocks do after 20 s: whatever waits for Safaricom is asked for now.
    for (order, payment) in fleet.payments() {
        if payment["status"] == "pending" && !payment["checkout_request_id"].is_null() {
            desk.work(&mut fleet.router, Duration::from_millis(1)).await;
            let _ = fleet.relays[0].command(&["retry", &order]);
        }
    }
    // In doubt are those whose push's answer died with its relay: they wait, visibly, for a callback.
    let doubtful = |payment: &Value| payment["state"] == "prompting" && payment["checkout_request_id"].is_null();
    let start = Instant::now();
    let books = loop {
        desk.work(&mut fleet.router, Duration::from_millis(200)).await;
        let books = fleet.payments();
        if books.values().all(|payment| payment["status"] != "pending" || doubtful(payment)) {
            break books;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "not decided: {books:?}");
    };
    let served = |desk: &Desk| {
        books.values().filter(|payment| payment["status"] == "paid").all(|p| desk.paid.contains_key(p["payment"].as_str().unwrap()))
    };
    desk.work_until(&mut fleet.router, "all results", served).await;

    let in_doubt: Vec<&String> = books.iter().filter(|(_, payment)| doubtful(payment)).map(|(order, _)| order).collect();
    let waiting: Vec<&String> = taken.keys().filter(|order| books[*order]["status"] != "paid").collect();
    eprintln!(
        "{} asked, {kills} kills, {} pushes, {} paid at Safaricom, {refused} refused, {} served, {} in doubt ({} of them paid), {} hellos, tokens {:?}, {:?}",
        asked.len(),
        fleet.daraja.pushes(),
        taken.len(),
        desk.paid.len(),
        in_doubt.len(),
        waiting.len(),
        desk.hellos,
        fleet.daraja.tokens(),
        start.elapsed()
    );
    assert!(kills >= payments / 6, "only {kills} kills: this tried little");
    // Nobody is prompted twice; who was not prompted is in doubt, and shown.
    assert!(pushed.values().all(|times| *times == 1), "prompted twice");
    assert_eq!(books.len(), asked.len(), "a request was lost");
    // What Safaricom took is served once, or waits visibly: only where the push's answer and the callback were both lost.
    for (order, taken) in &taken {
        match desk.paid.get(order) {
            Some(receipts) => assert_eq!(receipts.len(), 1, "{order} was served twice: {receipts:?}"),
            None => assert!(in_doubt.contains(&order) && !taken.called_back, "{order} was paid and is lost: {}", books[order]),
        }
    }
    assert!(desk.paid.keys().all(|order| taken.contains_key(order)), "served without money");
    // The books, as an operator sees them.
    let sums: Vec<Value> = serde_json::from_str(&fleet.relays[0].command(&["payments", "--sums", "--json"]).stdout).unwrap();
    let sum = |key: &str| sums.iter().map(|line| line[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("payments"), sum("ksh")), (desk.paid.len() as u64, desk.paid.len() as u64 * 10));
    let (code, said) = fleet.reconcile(&taken);
    assert_eq!(
        (code, said.matches("M-Pesa alone").count(), said.matches("ledger alone").count()),
        (i32::from(!waiting.is_empty()), waiting.len(), 0),
        "{said}"
    );
    // Every result is acknowledged.
    until("every acknowledgement", async || {
        desk.work(&mut fleet.router, Duration::from_millis(50)).await;
        (unacknowledged(&database).await == 0).then_some(())
    })
    .await;
    drop(fleet.broker);
}

async fn unacknowledged(database: &str) -> u64 {
    let place = lango_relay::ledger::Place::parse(database).unwrap();
    let ledger = lango_relay::ledger::Ledger::open(&place).await.unwrap();
    let messages = ledger.unacknowledged().await.unwrap();
    ledger.close().await;
    messages
}
