//! The books: what Safaricom took, what was served, and what waits where an operator sees it; held against each other.

use crate::cloud::Cloud;
use crate::customers::Seen;
use crate::plan::{KINDS, Way};
use crate::street::{Router, bytes, minutes};
use anyhow::{Context, Result};
use lango_lab::safaricom::Prompt;
use lango_lab::safaricom::daraja::Paid;
use lango_lab::safaricom::org::ByHand;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A row of a router's `lango payments`.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its router.
    pub router: usize,
    /// The order.
    pub order: String,
    /// The row as it was printed.
    pub json: Value,
}

impl Row {
    fn text(&self, field: &str) -> Option<&str> {
        self.json[field].as_str()
    }
    fn has_money(&self) -> bool {
        self.text("receipt").is_some()
    }
}

/// All books at one moment.
pub struct Books {
    prompts: Vec<Prompt>,
    by_hand: Vec<ByHand>,
    vouchers: Vec<(usize, Value)>,
    rows: Vec<Row>,
    cloud: Vec<Value>,
    accounts: Vec<(usize, Value)>,
    sessions: Vec<(usize, Value)>,
}

fn list(value: &Value, name: &str) -> Vec<Value> {
    value.as_array().or_else(|| value[name].as_array()).cloned().unwrap_or_default()
}

/// A payment's place in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Served,
    /// Its router's operator sees it: money that could not be served.
    Unserved,
    /// The cloud's operator sees it: in doubt until its window ends, then under review.
    Waits,
    /// It is on its way still.
    Open,
    Lost,
}

/// What is wrong.
pub struct Wrong {
    /// The payment's number at M-Pesa, or what else it concerns.
    pub whose: String,
    /// What.
    pub what: String,
}

/// One line of the table.
#[derive(Default, Clone, Copy)]
struct Line {
    wishes: u64,
    prompts: u64,
    taken: u64,
    shillings: u64,
    served: u64,
    served_shillings: u64,
    waits: u64,
    waiting_shillings: u64,
    open: u64,
    lost: u64,
    twice: u64,
}

impl Books {
    /// Reads all of them, as operators do.
    ///
    /// # Errors
    /// When a program does not answer.
    pub fn read(cloud: &Cloud, routers: &[Router]) -> Result<Self> {
        let mut rows = Vec::new();
        let mut vouchers = Vec::new();
        let (mut accounts, mut sessions) = (Vec::new(), Vec::new());
        for (number, router) in routers.iter().enumerate() {
            for json in list(&router.lango.payments()?, "payments") {
                rows.push(Row { router: number, order: json["payment"].as_str().unwrap_or_default().to_owned(), json });
            }
            let printed: Value = serde_json::from_str(&router.lango.command(&["accounts", "--json"])?)?;
            accounts.extend(list(&printed, "accounts").into_iter().map(|account| (number, account)));
            let printed: Value = serde_json::from_str(&router.lango.command(&["vouchers", "list", "--json"])?)?;
            vouchers.extend(list(&printed, "vouchers").into_iter().map(|voucher| (number, voucher)));
            sessions.extend(list(&router.lango.sessions()?, "sessions").into_iter().map(|session| (number, session)));
        }
        let cloud_rows = cloud.relays.iter().find_map(|relay| relay.payments().ok()).context("no relay prints its payments")?;
        let (prompts, by_hand) = (cloud.safaricom.prompts(), cloud.safaricom.by_hand());
        Ok(Self { prompts, by_hand, vouchers, rows, cloud: list(&cloud_rows, "payments"), accounts, sessions })
    }

    fn row_of(&self, number: &str) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.has_money() && row.text("phone").is_some_and(|phone| same(phone, number))).collect()
    }

    fn cloud_of(&self, number: &str) -> Vec<&Value> {
        self.cloud.iter().filter(|row| row["phone"].as_str().is_some_and(|phone| same(phone, number))).collect()
    }

    /// All that Safaricom took from a number.
    fn taken(&self, number: &str) -> Vec<&Paid> {
        let prompted = self.prompts.iter().filter_map(|prompt| prompt.paid.as_ref());
        prompted.chain(self.by_hand.iter().filter_map(|one| one.paid.as_ref())).filter(|paid| same(&paid.phone, number)).collect()
    }

    /// Whether Safaricom told nobody of a number's payment by hand: only its statement has it.
    fn untold(&self, number: &str) -> bool {
        self.by_hand.iter().any(|one| same(&one.phone, number) && one.paid.is_some() && !one.confirmed)
    }

    fn place(&self, number: &str, paid: usize) -> Place {
        let rows = self.row_of(number);
        // A number that paid more than once needs as many rows; each beyond them is "served twice".
        if rows.len() >= paid {
            return if rows.iter().all(|row| row.text("username").is_some()) { Place::Served } else { Place::Unserved };
        }
        let states: Vec<_> = self.cloud_of(number).iter().filter_map(|row| row["state"].as_str()).collect();
        if states.iter().any(|state| matches!(*state, "needs_review" | "prompting" | "waiting"))
            || (states.is_empty() && self.untold(number))
        {
            Place::Waits
        } else if states.iter().any(|state| matches!(*state, "requested" | "prompted" | "confirmed" | "pending" | "given")) {
            Place::Open
        } else {
            Place::Lost
        }
    }

    /// Where an operator finds a number's money that waits.
    fn waits_where(&self, number: &str, place: Place) -> &'static str {
        if place == Place::Unserved {
            return "unserved, in `lango payments`";
        }
        let states: BTreeSet<_> = self.cloud_of(number).iter().filter_map(|row| row["state"].as_str()).collect();
        match () {
            () if states.contains("needs_review") => "under review, in `lango-relay payments`",
            () if states.contains("prompting") => "in doubt until its window ends, in `lango-relay payments`",
            () if states.contains("waiting") => "by hand, until its receipt comes, in `lango-relay payments`",
            () => "by hand and never told, in M-Pesa's statement alone",
        }
    }

    /// Money that is in a book, and is no customer's of this run: everything in the books has a line in the table.
    fn nobodys_money(&self, seen: &[Seen], lines: &[Line], complain: &mut dyn FnMut(&str, String)) {
        let prompted = self.prompts.iter().filter_map(|prompt| prompt.paid.as_ref());
        let all = prompted.chain(self.by_hand.iter().filter_map(|one| one.paid.as_ref()));
        let taken = all.fold((0, 0), |(count, sum), paid| (count + 1, sum + paid.amount));
        let told = lines.iter().fold((0, 0), |(count, sum), line| (count + line.taken, sum + line.shillings));
        if taken != told {
            complain(
                "-",
                format!("Safaricom took KSh {} in {} payments, and the customers' are KSh {} in {}", taken.1, taken.0, told.1, told.0),
            );
        }
        let numbers: Vec<String> = seen.iter().map(|seen| seen.wish.msisdn()).collect();
        for row in self.rows.iter().filter(|row| row.has_money()) {
            if !row.text("phone").is_some_and(|phone| numbers.iter().any(|number| same(number, phone))) {
                complain("-", format!("router {} has money of nobody's: {}", row.router + 1, row.json));
            }
        }
    }

    /// Whether everything that Safaricom took has found its place, and no customer waits for a prompt.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let undecided = self.prompts.iter().any(|prompt| prompt.code.is_none() || !prompt.done);
        let prompted = self.prompts.iter().filter_map(|prompt| prompt.paid.as_ref());
        let open = prompted
            .chain(self.by_hand.iter().filter_map(|one| one.paid.as_ref()))
            .any(|paid| matches!(self.place(&paid.phone, self.taken(&paid.phone).len()), Place::Open | Place::Lost));
        let requested = self.cloud.iter().any(|row| matches!(row["state"].as_str(), Some("requested" | "prompted" | "confirmed")));
        !undecided && !open && !requested
    }

    /// The table, and everything that is wrong. `ran_for`: how long the whole took so far, in seconds.
    #[must_use]
    pub fn judge(&self, seen: &[Seen], ran_for: u64) -> (String, Vec<Wrong>) {
        let mut wrong = Vec::new();
        let mut complain = |whose: &str, what: String| wrong.push(Wrong { whose: whose.to_owned(), what });
        let mut lines = vec![Line::default(); KINDS.len()];
        let mut waits: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for seen in seen {
            let line = &mut lines[seen.wish.kind];
            line.wishes += 1;
            let number = seen.wish.msisdn();
            let prompts: Vec<_> = self.prompts.iter().filter(|prompt| same(&prompt.push.phone, &number)).collect();
            line.prompts += prompts.len() as u64;
            let paid = self.taken(&number);
            line.taken += paid.len() as u64;
            line.shillings += paid.iter().map(|paid| paid.amount).sum::<u64>();
            let rows = self.row_of(&number);
            let served: Vec<_> = rows.iter().filter(|row| row.text("username").is_some()).collect();
            line.served += served.len() as u64;
            line.served_shillings += served.iter().filter_map(|row| row.json["amount"].as_u64()).sum::<u64>();
            if rows.len() > paid.len() {
                line.twice += (rows.len() - paid.len()) as u64;
                complain(&number, format!("Safaricom took its money {} times, and the routers have it {} times", paid.len(), rows.len()));
            }
            if !paid.is_empty() {
                let missing = (paid.len().saturating_sub(served.len())) as u64;
                let sum: u64 = paid.iter().map(|paid| paid.amount).sum();
                let unserved = sum.saturating_sub(served.iter().filter_map(|row| row.json["amount"].as_u64()).sum());
                match self.place(&number, paid.len()) {
                    Place::Served => {}
                    place @ (Place::Unserved | Place::Waits) => {
                        line.waits += missing;
                        line.waiting_shillings += unserved;
                        let there = waits.entry(self.waits_where(&number, place)).or_default();
                        (there.0, there.1) = (there.0 + missing, there.1 + unserved);
                    }
                    Place::Open => {
                        line.open += missing;
                        complain(&number, "Safaricom took its money, and nobody has decided what to do with it".to_owned());
                    }
                    Place::Lost => {
                        line.lost += missing;
                        complain(&number, "Safaricom took its money; it was not served, and no operator sees that it waits".to_owned());
                    }
                }
            }
            for row in rows {
                let receipt = row.text("receipt").unwrap_or_default();
                let amount = row.json["amount"].as_u64().unwrap_or_default();
                // A payment of which only a query told has a stand-in of twelve characters.
                let real = paid.iter().any(|paid| (paid.receipt == receipt || receipt.len() == 12) && paid.amount == amount);
                if !real && !paid.is_empty() {
                    complain(&number, format!("the router has receipt {receipt} over KSh {amount}, which Safaricom never gave"));
                }
            }
        }
        self.nobodys_money(seen, &lines, &mut complain);
        self.prompted_twice(&mut complain);
        self.vouchers_serve_once(seen, &mut lines, &mut complain);
        self.time_is_money(ran_for, &mut complain);
        self.nobody_else_is_online(&mut complain);
        let waits: String = waits.iter().map(|(place, (count, sum))| format!("{count:>4} wait, KSh {sum}: {place}\n")).collect();
        (format!("{}\n{}", table(&lines), if waits.is_empty() { "none waits\n" } else { &waits }), wrong)
    }

    fn used_vouchers(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.vouchers.iter().filter(|(_, voucher)| voucher["status"] == "used").map(|(router, voucher)| (*router, voucher))
    }

    /// As many vouchers are used as customers were told, and no more than were tried; each is in the list once.
    fn vouchers_serve_once(&self, seen: &[Seen], lines: &mut [Line], complain: &mut dyn FnMut(&str, String)) {
        let is_voucher = |seen: &&Seen| matches!(KINDS[seen.wish.kind].way, Way::Voucher | Way::CloudVoucher);
        let (tried, told): (Vec<&Seen>, Vec<&Seen>) = (
            seen.iter().filter(is_voucher).filter(|seen| !seen.orders.is_empty()).collect(),
            seen.iter().filter(|seen| seen.taken).filter(is_voucher).collect(),
        );
        for seen in &told {
            lines[seen.wish.kind].served += 1;
        }
        let used = self.used_vouchers().count();
        if used < told.len() || used > tried.len() {
            complain(
                "-",
                format!("{used} vouchers are used; {} customers tried one, and {} were told that it is theirs", tried.len(), told.len()),
            );
        }
        let names: BTreeSet<String> =
            self.vouchers.iter().map(|(router, voucher)| format!("{router}/{}/{}", voucher["batch"], voucher["number"])).collect();
        if names.len() != self.vouchers.len() {
            complain("-", "a voucher is in a router's list twice".to_owned());
        }
    }

    /// One prompt an order: its beginning is in the prompt's reference.
    fn prompted_twice(&self, complain: &mut dyn FnMut(&str, String)) {
        let mut known = BTreeSet::new();
        for prompt in &self.prompts {
            if !known.insert((prompt.push.phone.clone(), prompt.push.reference.clone())) {
                complain(&prompt.push.phone, format!("its customer was prompted twice for {}", prompt.push.reference));
            }
        }
        let receipts: Vec<_> = self.rows.iter().filter_map(|row| row.text("receipt")).collect();
        if receipts.iter().collect::<BTreeSet<_>>().len() != receipts.len() {
            complain("-", "a receipt is in the routers' books twice".to_owned());
        }
    }

    /// Each account has the time that was paid for on it, less what can have passed since.
    fn time_is_money(&self, ran_for: u64, complain: &mut dyn FnMut(&str, String)) {
        let mut paid: BTreeMap<(usize, String), (u64, u64)> = BTreeMap::new();
        let money = self.rows.iter().filter(|row| row.has_money()).map(|row| (row.router, &row.json));
        for (router, row) in money.chain(self.used_vouchers()) {
            if let (Some(username), Some(package)) = (row["username"].as_str(), row["package"].as_str()) {
                let due = paid.entry((router, username.to_owned())).or_default();
                (due.0, due.1) = (due.0 + minutes(package) * 60, due.1 + bytes(package));
            }
        }
        for (router, account) in &self.accounts {
            let username = account["username"].as_str().unwrap_or_default().to_owned();
            let left = account["seconds_remaining"].as_u64().unwrap_or_default();
            let (due, data) = paid.remove(&(*router, username.clone())).unwrap_or_default();
            let number = |field: &str| account[field].as_u64().unwrap_or_default();
            let (rest, used) = (number("bytes_remaining"), number("bytes_up") + number("bytes_down"));
            if data > 0 && due > 0 {
                complain(&format!("account {username}"), "it has both time and data, which no phone here buys".to_owned());
            }
            if data > 0 && rest + used != data {
                complain(&format!("account {username}"), format!("it has {rest} bytes and used {used}, and {data} were paid for"));
            }
            if left > due || left + ran_for < due {
                complain(&format!("account {username}"), format!("it has {left} s, and {due} s were paid for in a run of {ran_for} s"));
            }
        }
        for ((router, username), (due, data)) in paid {
            complain(
                &format!("account {username}"),
                format!("{due} s and {data} bytes were paid for, and router {} has no such account", router + 1),
            );
        }
    }

    fn nobody_else_is_online(&self, complain: &mut dyn FnMut(&str, String)) {
        for (router, session) in &self.sessions {
            let username = session["username"].as_str().or_else(|| session["session"]["username"].as_str()).unwrap_or_default();
            let bought = self.rows.iter().filter(|row| row.has_money()).map(|row| (row.router, &row.json));
            let pays = bought.chain(self.used_vouchers()).any(|(at, row)| at == *router && row["username"].as_str() == Some(username));
            if !pays {
                complain(&format!("account {username}"), format!("somebody is online on it, and nobody paid for it: {session}"));
            }
        }
    }

    /// Whose payments a complaint is about: a number's own, or all that are on an account.
    #[must_use]
    pub fn numbers(&self, whose: &str) -> BTreeSet<String> {
        let Some(username) = whose.strip_prefix("account ") else { return BTreeSet::from([whose.to_owned()]) };
        let rows = self.rows.iter().filter(|row| row.text("username") == Some(username));
        rows.filter_map(|row| row.text("phone").map(str::to_owned)).collect()
    }

    /// All that the books say of a number.
    #[must_use]
    pub fn history(&self, number: &str) -> String {
        let mut text = String::new();
        for prompt in self.prompts.iter().filter(|prompt| same(&prompt.push.phone, number)) {
            text += &format!("    Safaricom: {prompt:?}\n");
        }
        for row in self.cloud_of(number) {
            text += &format!("    lango-relay payments: {row}\n");
        }
        for row in self.rows.iter().filter(|row| row.text("phone").is_some_and(|phone| same(phone, number))) {
            text += &format!("    lango payments, router {}: {}\n", row.router + 1, row.json);
        }
        text
    }

    /// The orders of a number, for the logs.
    #[must_use]
    pub fn orders(&self, number: &str) -> BTreeSet<String> {
        let cloud = self.cloud_of(number).into_iter().filter_map(|row| row["payment"].as_str().map(str::to_owned));
        let rows = self.rows.iter().filter(|row| row.text("phone").is_some_and(|phone| same(phone, number))).map(|row| row.order.clone());
        cloud.chain(rows).collect()
    }
}

/// `0712…` and `254712…` are one number.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    let tail = |text: &str| text.get(text.len().saturating_sub(9)..).map(str::to_owned);
    tail(a) == tail(b)
}

/// Payments, their sum, and below it the vouchers, which are service without money of Safaricom's.
fn table(lines: &[Line]) -> String {
    let head = format!(
        "{:38} {:>6} {:>7} {:>6} {:>8} {:>7} {:>8} {:>6} {:>8} {:>5} {:>5} {:>6}\n",
        "what was scripted", "wishes", "prompts", "taken", "KSh", "served", "KSh", "waits", "KSh", "open", "lost", "twice"
    );
    let row = |name: &str, l: &Line| {
        format!(
            "{name:38} {:>6} {:>7} {:>6} {:>8} {:>7} {:>8} {:>6} {:>8} {:>5} {:>5} {:>6}\n",
            l.wishes, l.prompts, l.taken, l.shillings, l.served, l.served_shillings, l.waits, l.waiting_shillings, l.open, l.lost, l.twice
        )
    };
    let (mut money, mut vouchers, mut all) = (String::new(), String::new(), Line::default());
    for (kind, line) in KINDS.iter().zip(lines).filter(|(_, line)| line.wishes > 0) {
        if matches!(kind.way, Way::Voucher | Way::CloudVoucher) {
            vouchers += &format!("{:38} {:>6} {:>31}\n", kind.name, line.wishes, line.served);
            continue;
        }
        money += &row(kind.name, line);
        all = Line {
            wishes: all.wishes + line.wishes,
            prompts: all.prompts + line.prompts,
            taken: all.taken + line.taken,
            shillings: all.shillings + line.shillings,
            served: all.served + line.served,
            served_shillings: all.served_shillings + line.served_shillings,
            waits: all.waits + line.waits,
            waiting_shillings: all.waiting_shillings + line.waiting_shillings,
            open: all.open + line.open,
            lost: all.lost + line.lost,
            twice: all.twice + line.twice,
        };
    }
    head + &money + &row("all payments", &all) + &vouchers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_of_money_alone_and_says_what_waits() {
        let mut lines = vec![Line::default(); KINDS.len()];
        let (money, voucher): (Vec<usize>, Vec<usize>) =
            (0..KINDS.len()).partition(|kind| !matches!(KINDS[*kind].way, Way::Voucher | Way::CloudVoucher));
        let one = Line {
            wishes: 3,
            prompts: 3,
            taken: 3,
            shillings: 60,
            served: 2,
            served_shillings: 40,
            waits: 1,
            waiting_shillings: 20,
            ..Line::default()
        };
        (lines[money[0]], lines[money[1]]) = (one, one);
        lines[voucher[0]] = Line { wishes: 5, served: 4, ..Line::default() };
        let text = table(&lines);
        let words =
            |line: usize| text.lines().nth(line).map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        assert_eq!(words(3)[2..], ["6", "6", "6", "120", "4", "80", "2", "40", "0", "0", "0"], "{text}");
        assert!(text.lines().nth(4).unwrap().starts_with(KINDS[voucher[0]].name), "{text}");
        assert_eq!(words(4).last().map(String::as_str), Some("4"), "{text}");
        // What vouchers gave stands under what payments gave.
        assert_eq!(
            text.lines().nth(4).map(str::len),
            text.lines().next().and_then(|head| Some(head.find("served")? + "served".len())),
            "{text}"
        );
    }
}
