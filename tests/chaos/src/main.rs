//! `make chaos`: hundreds of payments by real phones through the real programs, while everything between them is killed, cut off
//! and slowed; and then the books. What is real and what a stand-in: docs/chaos.md.

mod books;
mod boot;
mod cloud;
mod customers;
mod database;
mod flash;
mod page;
mod plan;
mod storm;
mod street;

use anyhow::{Context, Result, bail};
use books::{Books, Wrong};
use cloud::Cloud;
use customers::Seen;
use lango_lab::phone::Phone;
use lango_lab::world::World;
use lango_lab::{rights, wait};
use plan::Plan;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use street::Router;

/// After everything is mended the books balance within this: the longest pause between two questions to Safaricom, and some more
/// for a machine that builds at the same time.
const BALANCED_WITHIN: Duration = Duration::from_secs(240);

struct Size {
    seed: u64,
    payments: u64,
    phones: usize,
    routers: usize,
    relays: usize,
    storm: u64,
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    if first.as_ref().is_some_and(|first| first == "as-boot") {
        let error = boot::become_program(args).expect_err("it became the program");
        eprintln!("{error:#}");
        std::process::exit(70);
    }
    let page = first.filter(|first| first == "--page").and_then(|_| args.next()).map(PathBuf::from);
    let result = size().and_then(|size| run(&size, page.as_deref()));
    rights::remove_live();
    match result {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(error) => {
            eprintln!("chaos: {error:#}");
            std::process::exit(70);
        }
    }
}

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(Some(text.parse().with_context(|| format!("{name}={text} is no number"))?)),
        _ => Ok(None),
    }
}

fn size() -> Result<Size> {
    let quick = number("QUICK")?.unwrap_or(0) != 0;
    let payments = number("PAYMENTS")?.unwrap_or(if quick { 40 } else { 500 }).clamp(1, 900_000);
    let seed = match number("SEED")? {
        Some(seed) => seed,
        None => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())? % 1_000_000,
    };
    let routers = usize::try_from(number("ROUTERS")?.unwrap_or(2))?.clamp(1, 4);
    let relays = usize::try_from(number("RELAYS")?.unwrap_or(2))?.clamp(1, 4);
    let storm = number("SECONDS")?.map_or_else(|| (payments * 900).max(30_000), |seconds| seconds.max(5) * 1_000);
    // A device may ask six times in five minutes.
    let phones = usize::try_from(payments.div_ceil(1 + 5 * (1 + storm / 300_000)))?.max(routers * 4).min(routers * 100);
    Ok(Size { seed, payments, phones, routers, relays, storm })
}

fn run(size: &Size, page: Option<&Path>) -> Result<bool> {
    let Size { seed, payments, phones, routers, relays, storm } = *size;
    let head =
        format!("SEED={seed} PAYMENTS={payments}: {phones} phones, {routers} routers, {relays} relays, {} s of storm", storm / 1_000);
    println!("chaos: {head}");
    let began = Instant::now();
    let plan = plan::plan(seed, payments, phones, routers, relays, storm);
    let world = World::build()?;
    let names: Vec<String> = (0..routers).map(street::name).collect();
    let cloud = Cloud::start(&world, relays, &names)?;
    cloud.pay_bill_tells()?;
    let routers: Vec<Router> = (0..routers).map(|number| Router::new(&world, number, &cloud.sections[number])).collect::<Result<_>>()?;
    for router in &routers {
        router.start()?;
        router.lango.await_payments()?;
    }
    let people = people(&routers, phones)?;
    println!("everybody is there after {} s; {} faults are planned", began.elapsed().as_secs(), plan.troubles.len());

    // One phone of each street never pays: it tries to get out all the time.
    let sentinels: Vec<Phone> = (0..routers.len()).map(|n| routers[n].phone(900, n)).collect::<Result<_>>()?;
    sentinels.iter().try_for_each(|phone| phone.try_join().map(drop))?;
    let mut probes: Vec<_> = sentinels.iter().map(|phone| phone.probe(false)).collect();
    let started = Instant::now();
    let outcome = weather(&plan, &people, &routers, &cloud);
    let (seen, faults) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            let kept = keep(&world.folder, seed)?;
            bail!("a fault could not be made, or mended: {error:#}; the logs are in {}", kept.display());
        }
    };
    mend(&routers, &cloud)?;
    let mended = Instant::now();
    let balanced = wait::until_true("the books to balance", BALANCED_WITHIN, || {
        std::thread::sleep(Duration::from_secs(1)); // the programs have better to do than to print their books
        Books::read(&cloud, &routers).is_ok_and(|books| books.is_settled())
    });
    let books = Books::read(&cloud, &routers)?;
    // What was paid for runs from the first payment on; a second more for what is rounded up.
    let (table, mut wrong) = books.judge(&seen, started.elapsed().as_secs() + 2);
    probes.iter_mut().for_each(lango_lab::phone::Probe::stop);
    let tries: usize = probes.iter().map(|probe| probe.sent().len()).sum();
    for (probe, phone) in probes.iter().zip(&sentinels) {
        let arrived = world.internet.arrivals(probe.id).len();
        if arrived > 0 {
            wrong.push(Wrong { whose: phone.name.clone(), what: format!("it never paid, and {arrived} of its datagrams got out") });
        }
    }
    let mut told = format!("{head}\n\n{table}\n");
    for (fault, count) in &faults {
        told += &format!("{count:>4} {fault}\n");
    }
    let never = seen.iter().filter(|seen| seen.orders.is_empty()).count();
    told += &format!(
        "\n{never} wishes were never taken (payments were not possible for so long); {tries} datagrams of phones that never paid: {}\n",
        if wrong.iter().any(|wrong| wrong.what.contains("datagrams")) { "some got out" } else { "none got out" }
    );
    told += &format!(
        "mended after {} s, balanced {} s later; {} s in all\n",
        (mended - started).as_secs(),
        mended.elapsed().as_secs(),
        began.elapsed().as_secs()
    );
    if wrong.is_empty() && balanced.is_ok() {
        told += "the books balance: what Safaricom took = what was served + what waits visibly";
        println!("\n{told}");
        page.map_or(Ok(()), |page| page::write(page, &told))?;
        return Ok(true);
    }
    println!("\n{told}");
    failed(&world, &cloud, &books, &seen, &wrong, seed, balanced.err())
}

/// The phones, joined: they are spread over the routers by turns.
fn people(routers: &[Router], count: usize) -> Result<Vec<Phone>> {
    let phones: Vec<Phone> = (0..count).map(|n| routers[n % routers.len()].phone(n, n % routers.len())).collect::<Result<_>>()?;
    for some in phones.chunks(8) {
        std::thread::scope(|scope| {
            let joining: Vec<_> = some.iter().map(|phone| scope.spawn(|| phone.try_join())).collect();
            joining.into_iter().try_for_each(|thread| thread.join().expect("it joins or says why not").map(drop))
        })?;
    }
    Ok(phones)
}

/// The storm: customers and faults at once.
fn weather(
    plan: &Plan,
    people: &[Phone],
    routers: &[Router],
    cloud: &Cloud,
) -> Result<(Vec<Seen>, std::collections::BTreeMap<String, u64>)> {
    let (start, over) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let customers: Vec<_> = people
            .iter()
            .enumerate()
            .map(|(number, phone)| {
                let wishes: Vec<_> = plan.wishes.iter().filter(|wish| wish.phone == number).copied().collect();
                let (router, over) = (&routers[number % routers.len()], &over);
                scope.spawn(move || customers::live(phone, &wishes, router, cloud, start, over))
            })
            .collect();
        let faults = storm::run(&plan.troubles, routers, cloud, start);
        // Those who still press have some time in which everything works; who has a wish left after that goes home.
        let patience = Instant::now();
        while patience.elapsed() < Duration::from_secs(45) && !customers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
        let seen = customers.into_iter().flat_map(|thread| thread.join().expect("a customer's day")).collect();
        Ok((seen, faults?))
    })
}

/// Everything runs again.
fn mend(routers: &[Router], cloud: &Cloud) -> Result<()> {
    for number in 0..cloud.relays.len() {
        cloud.start_relay(number)?;
    }
    cloud.start_broker()?;
    for router in routers {
        router.start()?;
        wait::until_true("payments to be possible again", Duration::from_secs(120), || {
            router.lango.status().is_ok_and(|status| status["payments"] == true)
        })
        .with_context(|| router.lango.program.tail(40))?;
    }
    Ok(())
}

/// Tells what went wrong: which payment, its history, the seed, and where the logs are.
fn failed(
    world: &World,
    cloud: &Cloud,
    books: &Books,
    seen: &[Seen],
    wrong: &[Wrong],
    seed: u64,
    late: Option<anyhow::Error>,
) -> Result<bool> {
    let kept = keep(&world.folder, seed)?;
    println!("\nTHE BOOKS DO NOT BALANCE (SEED={seed}); the logs are in {}", kept.display());
    if let Some(late) = late {
        println!("  {late:#}");
    }
    for wrong in wrong.iter().take(20) {
        println!("  {}: {}", wrong.whose, wrong.what);
        for number in books.numbers(&wrong.whose) {
            tell(&number, &kept, cloud, books, seen);
        }
    }
    if wrong.len() > 20 {
        println!("  and {} more", wrong.len() - 20);
    }
    Ok(false)
}

/// All that is known of a number's payments.
fn tell(number: &str, logs: &Path, cloud: &Cloud, books: &Books, seen: &[Seen]) {
    if let Some(seen) = seen.iter().find(|seen| books::same(&seen.wish.msisdn(), number)) {
        println!("    its customer: {seen:?}");
    }
    print!("{}", books.history(number));
    for order in books.orders(number) {
        if let Some(database) = &cloud.database {
            let sql = format!(
                "SELECT revision, at, event, heard, verdict, state, code FROM history WHERE order_id = '{order}' ORDER BY revision"
            );
            database.ask(&sql).unwrap_or_default().lines().for_each(|line| println!("    ledger: {line}"));
        }
        for (log, line) in lines_with(logs, &order) {
            println!("    {log}: {line}");
        }
    }
}

fn lines_with(folder: &Path, what: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = std::fs::read(entry.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let name = entry.file_name().to_string_lossy().into_owned();
        found.extend(text.lines().filter(|line| line.contains(what)).map(|line| (name.clone(), line.to_owned())));
    }
    found
}

/// Copies the logs out of the lab's folder, which goes with the lab.
fn keep(folder: &Path, seed: u64) -> Result<PathBuf> {
    let kept = std::env::temp_dir().join(format!("lango-chaos-{seed}"));
    let _ = std::fs::remove_dir_all(&kept);
    std::fs::create_dir_all(&kept)?;
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && (name.starts_with("router") || name.starts_with("relay") || name == "postgres") {
                folders.push((path, format!("{prefix}{name}-")));
            } else if name.ends_with(".log") || name == "log" {
                std::fs::copy(&path, kept.join(format!("{prefix}{name}")))?;
            }
        }
    }
    Ok(kept)
}
