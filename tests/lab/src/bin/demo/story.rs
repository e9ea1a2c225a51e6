//! One customer's way, step by step. Each step is looked at where it happens; what is not seen ends the demo.

use crate::browser::Portal;
use crate::prompt::Screen;
use crate::tell::{quote, say, step};
use anyhow::{Context, Result, ensure};
use lango_lab::Lab;
use lango_lab::http::{Reply, Request, Response};
use lango_lab::internet::{ECHO, HOST4, HOST6};
use lango_lab::phone::Phone;
use lango_lab::safaricom::customer::Customer;
use lango_lab::wait::{until, until_true};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// The customer's M-Pesa number.
const NUMBER: &str = "0712345678";
/// How long it takes to type a PIN.
const PIN: Duration = Duration::from_millis(1500);
const SOON: Duration = Duration::from_secs(20);
const MEGABYTE: usize = 1_000_000;

/// Tells it; gives back how many steps were seen.
pub fn customers_way(lab: &Lab) -> Result<u32> {
    let phone = lab.phone();
    joins(lab, &phone)?;
    is_captive(lab, &phone)?;
    let payment = asks_to_pay(lab, &phone)?;
    goes_online(lab, &phone, &payment)?;
    let left = uses_data(lab, &phone)?;
    runs_out(lab, &phone, left)?;
    adds_up(lab)?;
    Ok(7)
}

fn joins(lab: &Lab, phone: &Phone) -> Result<()> {
    step(1, "A phone joins the open Wi-Fi");
    let lease = phone.try_join()?;
    let ack = format!("DHCPACK(br-lan) {}", lease.address);
    let log = lab.world.dnsmasq.log();
    let line = log.lines().find(|line| line.contains(&ack)).context("dnsmasq's DHCPACK")?;
    quote("dnsmasq", line);
    let leases = std::fs::read_to_string(lango_lab::dnsmasq::leases(&lab.world.folder))?;
    quote("dhcp.leases", leases.lines().find(|line| line.contains(&phone.mac)).context("the lease in dnsmasq's file")?);
    ensure!(lease.portal_api.is_none(), "DHCP option 114 is for routers with a certificate, and this one has none");
    say("This router has no certificate for HTTPS, so DHCP names no portal (option 114): the phone's own check will find it.");
    say(&format!("The router's advertisement gave it an IPv6 address, too: {}", phone.address6().context("an IPv6 address")?));
    Ok(())
}

fn reaches(phone: &Phone, limit: Duration) -> (bool, bool) {
    (phone.udp_echo(SocketAddr::from((HOST4, ECHO)), limit), phone.udp_echo(SocketAddr::from((HOST6, ECHO)), limit))
}

fn is_captive(lab: &Lab, phone: &Phone) -> Result<()> {
    step(2, "It has not paid: whatever it asks for, it gets the portal, and no packet of it gets out");
    let url = "http://connectivitycheck.gstatic.com/generate_204";
    let answer = phone.http("GET", url, &[], b"")?;
    say(&format!("The phone looks for the internet: GET {url}"));
    quote("lango", &head_of(&answer));
    ensure!(answer.status == 302, "the answer is {} and not the redirect", answer.status);
    let portal = answer.header("location").context("the redirect's target")?.to_owned();
    let page = phone.http("GET", &portal, &[], b"")?;
    ensure!(page.status == 200 && page.text().contains("<html"), "{portal} is no page: {}", page.status);
    say(&format!("GET {portal}: the packages page, {} bytes", page.body.len()));
    ensure!(reaches(phone, Duration::from_millis(500)) == (false, false), "the phone reached the internet without paying");
    let counted = lab.internet().packets_from_customers()?;
    ensure!(counted == (0, 0), "{counted:?} packets got out");
    say("It tries the internet host directly, in IPv4 and IPv6: silence. Packets counted there: 0 and 0.");
    Ok(())
}

fn head_of(answer: &Response) -> String {
    let mut text = format!("HTTP/1.1 {}", answer.status);
    for (name, value) in answer.headers.iter().filter(|(name, _)| name == "location" || name == "cache-control") {
        text += &format!("\n{name}: {value}");
    }
    text
}

fn asks_to_pay(lab: &Lab, phone: &Phone) -> Result<String> {
    step(3, "The customer chooses a package and types an M-Pesa number");
    let packages = phone.try_portal("GET", "/api/packages", None)?.value();
    for package in packages["packages"].as_array().context("packages")? {
        let limit = |name: &str, unit: &str| package[name].as_u64().map_or(String::new(), |n| format!(", {n} {unit}"));
        let text = format!("{}: KSh {}{}{}", package["label"], package["price"], limit("minutes", "minutes"), limit("megabytes", "MB"));
        quote("portal", &text.replace('"', ""));
    }
    lab.safaricom.customer(NUMBER, Customer::pays_after(PIN));
    let answer = phone.try_portal("POST", "/api/payments", Some(&json!({"package": "hour", "phone": NUMBER})))?;
    ensure!(answer.status == 202, "the portal refused: {}", answer.text());
    quote("portal", &format!("202 {}", answer.text()));
    let prompt = until("the prompt at Safaricom", SOON, || lab.safaricom.last_prompt(NUMBER))?;
    say("lango → MQTT → lango-relay → Safaricom: the request as Daraja got and accepted it");
    let push = &prompt.push;
    quote(
        "Safaricom",
        &format!("STK push: Amount {}, AccountReference {:?}, TransactionDesc {:?}", push.amount, push.reference, push.description),
    );
    quote("Safaricom", &format!("CheckoutRequestID {}", prompt.checkout_request));
    ensure!(lab.safaricom.refusals().is_empty(), "Safaricom refused something: {:?}", lab.safaricom.refusals());
    Ok(answer.value()["payment"].as_str().context("the payment's id")?.to_owned())
}

fn goes_online(lab: &Lab, phone: &Phone, payment: &str) -> Result<()> {
    step(4, "The PIN is typed: Safaricom calls back, and the kernel lets the phone pass");
    let mut probe = phone.probe(false);
    let (_, arrived) = until("the first packet on the internet", SOON, || lab.internet().arrivals(probe.id).first().copied())?;
    probe.stop();
    let prompt = lab.safaricom.last_prompt(NUMBER).context("the prompt")?;
    let callback = prompt.callbacks.first().context("the callback: the phone is online without one")?;
    ensure!(arrived > callback.sent, "the phone was online before the callback");
    let receipt = &prompt.paid.as_ref().context("no money moved")?.receipt;
    quote("Safaricom", &format!("callback: ResultCode 0, MpesaReceiptNumber {receipt}"));
    say(&format!(
        "From the callback to the phone's first packet on the internet: {:.1} ms",
        arrived.duration_since(callback.sent).as_secs_f64() * 1000.0
    ));
    let status = phone.try_await_payment(payment, SOON)?;
    ensure!(status["status"] == "paid" && status["connected"] == true, "the portal does not say so: {status}");
    quote(
        "portal",
        &format!(
            "status {}, receipt {}, connected {}, user name {}",
            status["status"], status["receipt"], status["connected"], status["username"]
        ),
    );
    ensure!(status["receipt"] == receipt.as_str(), "the portal shows another receipt than Safaricom's");
    ensure!(reaches(phone, Duration::from_secs(3)) == (true, true), "the phone does not reach the internet in both IPv4 and IPv6");
    say("The internet host answers, in IPv4 and IPv6.");
    let gate = lab.lango.gate()?;
    let address = phone.lease().address.to_string();
    say("What the kernel knows of this phone (nft list table inet lango):");
    let mut found = false;
    for line in gate.lines().filter(|line| line.contains(&address)) {
        found = true;
        quote("kernel", line.trim());
    }
    ensure!(found, "the gate has no element for {address}:\n{gate}");
    quote("lango sessions", &lab.lango.command(&["sessions"])?);
    Ok(())
}

fn left(phone: &Phone) -> Result<u64> {
    let answer = phone.try_portal("POST", "/api/hotspot/check-session", Some(&json!({})))?.value();
    answer["session"]["bytes_remaining"].as_u64().with_context(|| format!("the bytes remaining in {answer}"))
}

fn uses_data(lab: &Lab, phone: &Phone) -> Result<u64> {
    step(5, "The customer uses the internet");
    let before = left(phone)?;
    let got = phone.download(2 * MEGABYTE, Duration::from_secs(10))?;
    ensure!(got == 2 * MEGABYTE, "only {got} bytes came");
    let after = until("the portal to have counted it", SOON, || left(phone).ok().filter(|now| before - now >= got as u64))?;
    say(&format!(
        "A download of {got} bytes; the kernel counted {} for it, headers included. Left of the package: {after} bytes.",
        before - after
    ));
    quote("lango sessions", &lab.lango.command(&["sessions"])?);
    Ok(after)
}

fn runs_out(lab: &Lab, phone: &Phone, left: u64) -> Result<()> {
    step(6, "The data runs out: the kernel stops it by itself, at the byte");
    let wanted = 10 * MEGABYTE;
    let got = phone.download(wanted, Duration::from_secs(5)).context("the last download")?;
    ensure!((got as u64) < left, "{got} bytes came, and only {left} were left");
    say(&format!("A download of {wanted} bytes ended after {got}: the packets' headers used the rest."));
    until_true("the session's end", SOON, || phone.session().is_none())?;
    ensure!(reaches(phone, Duration::from_millis(500)) == (false, false), "the phone still reaches the internet");
    let answer = phone.http("GET", "http://internet.test/", &[], b"")?;
    ensure!(answer.status == 302, "the phone is not captive again: {}", answer.status);
    say("The internet is silent again, the portal is back: http://internet.test/ is redirected.");
    let accounts: Value = serde_json::from_str(&lab.lango.command(&["accounts", "--json"])?)?;
    let list = accounts.as_array().or_else(|| accounts["accounts"].as_array()).context("the accounts")?;
    let used: u64 = list.iter().filter_map(|a| Some(a["bytes_up"].as_u64()? + a["bytes_down"].as_u64()?)).sum();
    let bought = 5 * MEGABYTE as u64;
    ensure!(used <= bought && used > bought - 65_536 - 1_500, "{used} bytes were used of {bought}");
    say(&format!("Used in all: {used} of the {bought} bytes that were paid for."));
    Ok(())
}

fn adds_up(lab: &Lab) -> Result<()> {
    step(7, "The money is accounted for");
    let moved = lab.safaricom.money();
    ensure!(moved.len() == 1 && moved[0].amount == 10, "Safaricom moved {moved:?}");
    lab.money_is_service();
    quote("lango payments", &lab.lango.command(&["payments"])?);
    say("What Safaricom moved is what the router served: one payment of KSh 10, once.");
    Ok(())
}

/// The person's part, played by the demo itself: through the proxy and the phone's screen that a browser would use.
pub fn persons_way(portal: &Portal, screen: &Screen, lab: &Lab) -> Result<u32> {
    step(8, "The same through the pages that a person's browser would use");
    let ask = |answer: &dyn Fn(&Request) -> Reply, method: &str, target: &str, body: &str| -> Result<Response> {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        match answer(&Request { method: method.into(), target: target.into(), headers, body: body.into() }) {
            Reply::Answer(response) => Ok(response),
            _ => anyhow::bail!("{method} {target}: no plain answer"),
        }
    };
    let browse = |method: &str, target: &str, body: &str| ask(&|request| portal.answer(request), method, target, body);
    let touch = |method: &str, target: &str| ask(&|request| screen.answer(request), method, target, "");
    let page = browse("GET", "/", "")?;
    ensure!(page.status == 200 && page.text().contains("<html"), "the portal's page through the proxy: {}", page.status);
    ensure!(!page.text().contains("portal.lan"), "the page has links that a browser outside the LAN cannot follow");
    let paying = browse("POST", "/api/payments", r#"{"package":"hour","phone":"0722000000"}"#)?;
    ensure!(paying.status == 202, "{}", paying.text());
    let id = paying.value()["payment"].as_str().context("the payment's id")?.to_owned();
    let question = until("the prompt on the phone's screen", SOON, || {
        let state = touch("GET", "/state").ok()?.value();
        Some(state["prompt"].as_str()?.to_owned())
    })?;
    quote("phone", &question);
    ensure!(touch("POST", "/pay")?.status == 200, "the button did nothing");
    let status = until("the payment to be confirmed", SOON, || {
        let status = browse("GET", &format!("/api/payments/{id}/status"), "").ok()?.value();
        (status["status"] != "pending").then_some(status)
    })?;
    ensure!(status["status"] == "paid" && status["connected"] == true, "{status}");
    let said = touch("POST", "/download")?.value()["said"].as_str().unwrap_or_default().to_owned();
    quote("phone", &said);
    ensure!(said.starts_with("1000000 of"), "the download: {said}");
    lab.money_is_service();
    Ok(1)
}
