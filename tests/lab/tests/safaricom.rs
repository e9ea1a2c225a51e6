//! The simulated Safaricom by itself: what it refuses, what it moves, and what it says of it.

use lango_lab::http::{self, Reply, Response, Server};
use lango_lab::safaricom::Safaricom;
use lango_lab::safaricom::customer::{Answer, Customer, Delivery, PushAnswer};
use lango_lab::safaricom::daraja::{Merchant, to_eat};
use lango_lab::safaricom::org;
use lango_lab::wait::{holds_for, until_true};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(10);

/// A merchant's program: sends requests and keeps the callbacks.
struct Merchants {
    safaricom: Safaricom,
    address: SocketAddr,
    callback_url: String,
    callbacks: Arc<Mutex<Vec<Value>>>,
    _server: Server,
}

impl Merchants {
    fn new() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let callback_url = format!("http://{}/c/0a1b", listener.local_addr().unwrap());
        let callbacks = Arc::new(Mutex::new(Vec::new()));
        let kept = callbacks.clone();
        let server = http::serve(listener, move |request| {
            kept.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
            Reply::Answer(Response::json(200, &json!({"ResultCode": 0, "ResultDesc": "Accepted"})))
        });
        let safaricom = Safaricom::start(None, address, Merchant::sandbox()).unwrap();
        Self { safaricom, address, callback_url, callbacks, _server: server }
    }

    fn send(&self, bytes: &[u8]) -> anyhow::Result<Response> {
        http::exchange(TcpStream::connect(self.address)?, bytes, false)
    }

    fn token(&self) -> String {
        let basic = Merchant::sandbox().basic();
        let bytes = http::request("GET", "/oauth/v1/generate?grant_type=client_credentials", &[("authorization", &basic)], b"");
        self.send(&bytes).unwrap().value()["access_token"].as_str().unwrap().to_owned()
    }

    fn call(&self, path: &str, token: &str, body: &Value) -> anyhow::Result<Response> {
        let authorization = format!("Bearer {token}");
        self.send(&http::request("POST", path, &[("authorization", &authorization)], body.to_string().as_bytes()))
    }

    fn signed(&self) -> Value {
        let merchant = Merchant::sandbox();
        let timestamp = to_eat(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
        let password = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("{}{}{timestamp}", merchant.shortcode, merchant.passkey),
        );
        json!({"BusinessShortCode": merchant.shortcode, "Timestamp": timestamp, "Password": password})
    }

    fn push(&self, phone: &str) -> anyhow::Result<Response> {
        let mut body = self.signed();
        for (name, value) in [
            ("TransactionType", json!("CustomerPayBillOnline")),
            ("Amount", json!(10)),
            ("PartyA", json!(phone)),
            ("PartyB", json!("174379")),
            ("PhoneNumber", json!(phone)),
            ("CallBackURL", json!(self.callback_url)),
            ("AccountReference", json!("kibera7")),
            ("TransactionDesc", json!("1 hour")),
        ] {
            body[name] = value;
        }
        self.call("/mpesa/stkpush/v1/processrequest", &self.token(), &body)
    }

    fn query(&self, checkout: &str) -> Response {
        let mut body = self.signed();
        body["CheckoutRequestID"] = json!(checkout);
        self.call("/mpesa/stkpushquery/v1/query", &self.token(), &body).unwrap()
    }

    fn callbacks(&self) -> Vec<Value> {
        self.callbacks.lock().unwrap().clone()
    }

    fn await_done(&self, phone: &str) {
        until_true("the prompt's end", SOON, || self.safaricom.last_prompt(phone).is_some_and(|p| p.done)).unwrap();
    }
}

#[test]
fn a_customer_pays_and_the_callback_says_so() {
    let merchants = Merchants::new();
    let answer = merchants.push("254712345678").unwrap();
    assert_eq!(answer.value()["ResponseCode"], "0");
    merchants.await_done("254712345678");
    let callbacks = merchants.callbacks();
    assert_eq!(callbacks.len(), 1);
    let callback = &callbacks[0]["Body"]["stkCallback"];
    assert_eq!(callback["CheckoutRequestID"], answer.value()["CheckoutRequestID"]);
    assert_eq!(callback["ResultCode"], 0);
    let money = merchants.safaricom.money();
    assert_eq!(money.len(), 1);
    assert_eq!(callback["CallbackMetadata"]["Item"][1]["Value"], money[0].receipt);
    assert_eq!((money[0].amount, money[0].receipt.len()), (10, 10));
    let query = merchants.query(answer.value()["CheckoutRequestID"].as_str().unwrap());
    assert_eq!(query.value()["ResultCode"], "0");
    assert!(merchants.safaricom.refusals().is_empty());
}

#[test]
fn those_who_do_not_pay_move_nothing() {
    let merchants = Merchants::new();
    merchants.safaricom.prompts_live(Duration::from_millis(300));
    for (phone, answer, code) in [
        ("254711000001", Answer::Cancels, 1032),
        ("254711000002", Answer::WrongPin, 2001),
        ("254711000003", Answer::NoMoney, 1),
        ("254711000004", Answer::NeverAnswers, 1037),
        ("254711000005", Answer::Code(17), 17),
    ] {
        merchants.safaricom.customer(phone, Customer::who(answer));
        let pushed = merchants.push(phone).unwrap();
        merchants.await_done(phone);
        let last = merchants.callbacks().pop().unwrap();
        assert_eq!(last["Body"]["stkCallback"]["ResultCode"], code);
        let query = merchants.query(pushed.value()["CheckoutRequestID"].as_str().unwrap());
        assert_eq!(query.value()["ResultCode"], code.to_string());
    }
    assert!(merchants.safaricom.money().is_empty());
}

#[test]
fn a_person_answers_and_a_second_prompt_must_wait() {
    let merchants = Merchants::new();
    merchants.safaricom.everybody(Customer::manual());
    let checkout = merchants.push("254712345678").unwrap().value()["CheckoutRequestID"].as_str().unwrap().to_owned();
    assert_eq!(merchants.query(&checkout).value()["ResultCode"], "4999");
    let second = merchants.push("254712345678").unwrap();
    assert_eq!((second.status, second.value()["errorCode"].as_str()), (500, Some("500.001.1001")));
    assert_eq!(merchants.safaricom.open_prompt("").unwrap().checkout_request, checkout);
    merchants.safaricom.answer("0712345678", Answer::Pays).unwrap();
    merchants.await_done("254712345678");
    assert_eq!(merchants.safaricom.money().len(), 1);
    assert!(merchants.safaricom.answer("0712345678", Answer::Pays).is_err());
    assert_eq!(merchants.push("254712345678").unwrap().status, 200);
}

#[test]
fn callbacks_get_lost_come_twice_late_and_on_demand() {
    let merchants = Merchants::new();
    let pays = Customer::who(Answer::Pays);
    for (phone, delivery, times) in [
        ("254711000001", Delivery::Lost, 0),
        ("254711000002", Delivery::Twice, 2),
        ("254711000003", Delivery::Delayed(Duration::from_millis(200)), 1),
    ] {
        let before = merchants.callbacks().len();
        merchants.safaricom.customer(phone, pays.delivered(delivery));
        merchants.push(phone).unwrap();
        merchants.await_done(phone);
        assert_eq!(merchants.callbacks().len() - before, times, "{delivery:?}");
    }
    merchants.safaricom.customer("254711000004", pays.delivered(Delivery::Held));
    merchants.push("254711000004").unwrap();
    until_true("the money", SOON, || merchants.safaricom.money().len() == 4).unwrap();
    holds_for("no callback", Duration::from_millis(200), || merchants.callbacks().len() == 3).unwrap();
    merchants.safaricom.release_callbacks();
    merchants.await_done("254711000004");
    assert_eq!(merchants.callbacks().len(), 4);
}

#[test]
fn a_push_is_lost_after_the_prompt_or_refused_before_it() {
    let merchants = Merchants::new();
    merchants.safaricom.customer("254711000001", Customer::who(Answer::Pays).pushed(PushAnswer::Lost));
    assert!(merchants.push("254711000001").is_err());
    merchants.await_done("254711000001");
    assert_eq!((merchants.safaricom.money().len(), merchants.callbacks().len()), (1, 1));
    merchants.safaricom.customer("254711000002", Customer::who(Answer::Pays).pushed(PushAnswer::BusyTimes(1)));
    assert_eq!(merchants.push("254711000002").unwrap().value()["errorCode"], "500.003.02");
    assert_eq!(merchants.safaricom.prompts().len(), 1);
    assert_eq!(merchants.push("254711000002").unwrap().status, 200);
}

#[test]
fn each_token_ends_the_one_before_it() {
    let merchants = Merchants::new();
    let (first, second) = (merchants.token(), merchants.token());
    for (token, code) in [(first.as_str(), "404.001.03"), ("", "404.001.03"), (second.as_str(), "400.002.02")] {
        let answer = merchants.call("/mpesa/stkpush/v1/processrequest", token, &json!({})).unwrap();
        assert_eq!(answer.value()["errorCode"], code);
    }
    merchants.safaricom.forget_token();
    assert_eq!(merchants.call("/mpesa/stkpush/v1/processrequest", &second, &json!({})).unwrap().status, 404);
    let wrong = http::request("GET", "/oauth/v1/generate?grant_type=client_credentials", &[("authorization", "Basic eHk6eg==")], b"");
    assert_eq!(merchants.send(&wrong).unwrap().value()["errorCode"], "400.008.01");
    let basic = Merchant::sandbox().basic();
    let wrong = http::request("GET", "/oauth/v1/generate", &[("authorization", &basic)], b"");
    assert_eq!(merchants.send(&wrong).unwrap().value()["errorCode"], "400.008.02");
    let wrong = http::request("GET", "/mpesa/stkpush/v1/processrequest", &[], b"");
    assert_eq!(merchants.send(&wrong).unwrap().value()["errorCode"], "405.001");
    assert_eq!(merchants.safaricom.token_requests(), 2);
}

#[test]
fn a_query_may_get_no_answer() {
    let merchants = Merchants::new();
    let checkout = merchants.push("254712345678").unwrap().value()["CheckoutRequestID"].as_str().unwrap().to_owned();
    merchants.await_done("254712345678");
    assert_eq!(merchants.query("ws_CO_101020240000000000712345678").value()["errorCode"], "500.001.1001");
    merchants.safaricom.silence_queries(1);
    assert_eq!(merchants.query(&checkout).value()["errorCode"], "500.001.1001");
    assert_eq!(merchants.query(&checkout).value()["ResultCode"], "0");
}

#[test]
fn what_an_organisation_asks_is_checked_and_answered_later() {
    let merchants = Merchants::new();
    let url = merchants.callback_url.clone();
    let register = json!({"ShortCode": "174379", "ResponseType": "Cancelled", "ConfirmationURL": url, "ValidationURL": url});
    let status = json!({
        "Initiator": org::INITIATOR, "SecurityCredential": org::credential(), "CommandID": "TransactionStatusQuery", "TransactionID": "NEF61H8J60",
        "PartyA": "174379", "IdentifierType": "4", "ResultURL": url, "QueueTimeOutURL": url, "Remarks": "OK", "Occasion": "OK",
    });
    let reversal = json!({
        "Initiator": org::INITIATOR, "SecurityCredential": org::credential(), "CommandID": "TransactionReversal", "TransactionID": "PDU91HIVIT",
        "Amount": "200", "ReceiverParty": "174379", "RecieverIdentifierType": "11", "ResultURL": url, "QueueTimeOutURL": url, "Remarks": "OK",
    });
    let forms =
        [("/mpesa/c2b/v2/registerurl", register), ("/mpesa/transactionstatus/v1/query", status), ("/mpesa/reversal/v1/request", reversal)];
    for (path, form) in &forms {
        for field in form.as_object().unwrap().keys().filter(|field| *field != "Occasion") {
            let mut wrong = form.clone();
            wrong[field] = json!(if field.ends_with("URL") { "https://MPESA.example.org" } else { "" });
            let answer = merchants.call(path, &merchants.token(), &wrong).unwrap();
            assert_eq!(answer.value()["errorCode"], "400.002.02", "{path} {field}: {}", answer.text());
        }
        let answer = merchants.call(path, &merchants.token(), form).unwrap();
        assert_eq!((answer.status, answer.value()["ResponseCode"].as_str()), (200, Some("0")), "{}", answer.text());
    }
    let again = merchants.call(forms[0].0, &merchants.token(), &forms[0].1).unwrap();
    assert_eq!(again.value()["errorMessage"], "Urls are already registered.");
    // Nobody paid with these: both say so, later.
    until_true("two results", SOON, || merchants.callbacks().len() == 2).unwrap();
    assert!(merchants.callbacks().iter().all(|result| result["Result"]["ResultCode"] == "R000002"));
    assert!(merchants.safaricom.reversals().iter().all(|(_, _, back)| !back));
}

#[test]
fn money_by_hand_is_asked_about_moved_and_told() {
    let merchants = Merchants::new();
    let url = merchants.callback_url.clone();
    let register = json!({"ShortCode": "174379", "ResponseType": "Cancelled", "ConfirmationURL": url, "ValidationURL": url});
    merchants.call("/mpesa/c2b/v2/registerurl", &merchants.token(), &register).unwrap();
    merchants.safaricom.validates(true);
    // This merchant's program answers everything with a number, which is no validation's answer.
    let refused = merchants.safaricom.pays_by_hand("0712345678", "kibera7", 10);
    assert!(refused.paid.is_none() && merchants.safaricom.money().is_empty(), "the default is Cancelled");
    merchants.safaricom.validates(false);
    let paid = merchants.safaricom.pays_by_hand("0712345678", "kibera7", 10).paid.unwrap();
    let told = merchants.callbacks().pop().unwrap();
    assert_eq!((told["TransID"].as_str(), told["MSISDN"].as_str()), (Some(&*paid.receipt), Some("2547 ***** 678")));
    assert_eq!((told["TransAmount"].as_str(), told["BillRefNumber"].as_str()), (Some("10.00"), Some("kibera7")));
    assert_eq!(merchants.safaricom.money(), [paid]);
}
