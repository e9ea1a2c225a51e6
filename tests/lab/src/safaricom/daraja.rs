//! Daraja's forms, strictly: what a request must be, and the exact JSON of answers and callbacks. No I/O.
//!
//! Sources: developer.safaricom.co.ke, Authorization, MpesaExpressSimulate and MpesaExpressQuery (December 2025), and
//! behaviour observed in the sandbox.

use base64::Engine;
use lango_core::time::Wall;
use serde_json::{Value, json};

/// East Africa Time, in milliseconds ahead of UTC. Daraja's times are in it.
const EAT: u64 = 3 * 60 * 60 * 1000;

/// Words that a callback URL must not hold.
const FORBIDDEN: [&str; 10] = ["m-pesa", "mpesa", "safaricom", "exe", "cmd", "sql", "query", "ngrok", "mockbin", "requestbin"];

/// The merchant whose app this is.
#[derive(Debug, Clone)]
pub struct Merchant {
    /// The app's key.
    pub consumer_key: String,
    /// The app's secret.
    pub consumer_secret: String,
    /// The shortcode that signs requests.
    pub shortcode: String,
    /// The passkey for passwords.
    pub passkey: String,
    /// Who gets the money: the shortcode itself for a PayBill, the till for Buy Goods.
    pub party_b: String,
    /// `CustomerPayBillOnline` or `CustomerBuyGoodsOnline`.
    pub transaction_type: String,
}

impl Merchant {
    /// A PayBill, as the sandbox's.
    #[must_use]
    pub fn sandbox() -> Self {
        Self {
            consumer_key: "LabConsumerKey".into(),
            consumer_secret: "LabConsumerSecret".into(),
            shortcode: "174379".into(),
            passkey: "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919".into(),
            party_b: "174379".into(),
            transaction_type: "CustomerPayBillOnline".into(),
        }
    }

    fn password(&self, timestamp: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(format!("{}{}{timestamp}", self.shortcode, self.passkey))
    }

    /// What the `Authorization` header of a token request must be.
    #[must_use]
    pub fn basic(&self) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", self.consumer_key, self.consumer_secret)))
    }
}

/// A refusal, as Daraja words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// As `404.001.03`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
    pub(super) fn of(status: u16, code: &'static str, message: &str) -> Self {
        Self::new(status, code, message)
    }
    pub(super) fn invalid(field: &str) -> Self {
        Self::new(400, "400.002.02", format!("Bad Request - Invalid {field}"))
    }
    /// No token, a wrong one, or one that a later one made invalid.
    #[must_use]
    pub fn token() -> Self {
        Self::new(404, "404.001.03", "Invalid Access Token")
    }
    /// Not `client_credentials`.
    #[must_use]
    pub fn grant_type() -> Self {
        Self::new(400, "400.008.02", "Invalid grant type passed")
    }
    /// Not Basic, or wrong.
    #[must_use]
    pub fn authentication() -> Self {
        Self::new(400, "400.008.01", "Invalid Authentication passed")
    }
    /// No such path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, "404.001.01", "Resource not found")
    }
    /// Not POST.
    #[must_use]
    pub fn method(method: &str) -> Self {
        Self::new(405, "405.001", format!("{method} Method Not Allowed"))
    }
    /// A prompt to this subscriber is open.
    #[must_use]
    pub fn locked() -> Self {
        Self::new(500, "500.001.1001", "Unable to lock subscriber, a transaction is already in process for the current subscriber")
    }
    /// The shortcode has its addresses.
    #[must_use]
    pub fn registered() -> Self {
        Self::new(500, "500.003.1001", "Urls are already registered.")
    }
    /// Too much to do.
    #[must_use]
    pub fn busy() -> Self {
        Self::new(500, "500.003.02", "System is busy. Please try again in few minutes.")
    }
    /// The query knows nothing: in flight, unknown, or now and then for no reason at all.
    #[must_use]
    pub fn no_answer() -> Self {
        Self::new(500, "500.001.1001", "The transaction is being processed")
    }
    /// Its JSON.
    #[must_use]
    pub fn json(&self, request_id: &str) -> Value {
        json!({"requestId": request_id, "errorCode": self.code, "errorMessage": self.message})
    }
}

/// A push request that is as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Who is prompted, twelve digits.
    pub phone: String,
    /// Whole shillings.
    pub amount: u64,
    /// Shown in the prompt.
    pub reference: String,
    /// A comment.
    pub description: String,
    /// Where the result goes.
    pub callback_url: String,
}

fn number_or_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Shortcode, timestamp and password, which push and query share.
fn check_signed(merchant: &Merchant, body: &Value, now: u64) -> Result<(), Refusal> {
    let field = |name: &str| number_or_text(&body[name]).ok_or_else(|| Refusal::invalid(name));
    let shortcode = field("BusinessShortCode")?;
    if !(5..=7).contains(&shortcode.len()) || !shortcode.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::invalid("BusinessShortCode"));
    }
    if shortcode != merchant.shortcode {
        return Err(Refusal::new(500, "500.001.1001", "Merchant does not exist"));
    }
    let timestamp = body["Timestamp"].as_str().ok_or_else(|| Refusal::invalid("Timestamp"))?;
    let moment = from_eat(timestamp).ok_or_else(|| Refusal::invalid("Timestamp"))?;
    if moment.abs_diff(now) > 60_000 {
        return Err(Refusal::invalid("Timestamp"));
    }
    if body["Password"].as_str() != Some(&merchant.password(timestamp)) {
        return Err(Refusal::new(500, "500.001.1001", "Wrong credentials"));
    }
    Ok(())
}

/// Checks a push request. `now` is Unix time in milliseconds.
///
/// # Errors
/// With Daraja's own words for the first thing that is wrong.
pub fn check_push(merchant: &Merchant, body: &[u8], now: u64) -> Result<Push, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::invalid("Request Payload"))?;
    if !body.is_object() {
        return Err(Refusal::invalid("Request Payload"));
    }
    check_signed(merchant, &body, now)?;
    let text = |name: &str| number_or_text(&body[name]).ok_or_else(|| Refusal::invalid(name));
    if text("TransactionType")? != merchant.transaction_type {
        return Err(Refusal::invalid("TransactionType"));
    }
    let amount = text("Amount")?;
    let whole = amount.bytes().all(|b| b.is_ascii_digit()) && !amount.starts_with('0');
    let amount = amount.parse().ok().filter(|&a: &u64| whole && a > 0).ok_or_else(|| Refusal::invalid("Amount"))?;
    for name in ["PartyA", "PhoneNumber"] {
        let number = text(name)?;
        let subscriber = number.strip_prefix("254").unwrap_or_default();
        if subscriber.len() != 9 || !subscriber.starts_with(['7', '1']) || !subscriber.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::invalid(name));
        }
    }
    if text("PartyB")? != merchant.party_b {
        return Err(Refusal::invalid("PartyB"));
    }
    let callback_url = body["CallBackURL"].as_str().unwrap_or_default().to_owned();
    if !callback_url_is_good(&callback_url) {
        return Err(Refusal::invalid("CallBackURL"));
    }
    let reference = body["AccountReference"].as_str().unwrap_or_default().to_owned();
    if !(1..=12).contains(&reference.len()) || !reference.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Refusal::invalid("AccountReference"));
    }
    let description = body["TransactionDesc"].as_str().unwrap_or_default().to_owned();
    if !(1..=13).contains(&description.chars().count()) {
        return Err(Refusal::invalid("TransactionDesc"));
    }
    Ok(Push { phone: text("PhoneNumber")?, amount, reference, description, callback_url })
}

pub(super) fn callback_url_is_good(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
    !host.is_empty()
        && !url.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_whitespace() || !b.is_ascii())
        && !FORBIDDEN.iter().any(|word| url.contains(word))
}

/// Checks a query; gives back the `CheckoutRequestID` that it asks for.
///
/// # Errors
/// As [`check_push`].
pub fn check_query(merchant: &Merchant, body: &[u8], now: u64) -> Result<String, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::invalid("Request Payload"))?;
    check_signed(merchant, &body, now)?;
    let id = body["CheckoutRequestID"].as_str().unwrap_or_default();
    if !id.starts_with("ws_CO_") {
        return Err(Refusal::invalid("CheckoutRequestID"));
    }
    Ok(id.to_owned())
}

/// `YYYYMMDDHHMMSS` in East Africa Time.
#[must_use]
pub fn to_eat(unix_milliseconds: u64) -> String {
    Wall(unix_milliseconds + EAT).to_rfc3339().chars().filter(char::is_ascii_digit).collect()
}

fn from_eat(text: &str) -> Option<u64> {
    if text.len() != 14 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let rfc3339 = format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    Wall::from_rfc3339(&rfc3339)?.0.checked_sub(EAT)
}

/// `ws_CO_DDMMYYYYHHMMSSmmm` and the subscriber's nine digits.
#[must_use]
pub fn checkout_request_id(unix_milliseconds: u64, phone: &str) -> String {
    let eat = to_eat(unix_milliseconds);
    let (date, time) = eat.split_at(8);
    let (year, month_day) = date.split_at(4);
    let (month, day) = month_day.split_at(2);
    format!("ws_CO_{day}{month}{year}{time}{:03}{}", unix_milliseconds % 1000, phone.get(3..).unwrap_or_default())
}

/// Safaricom's words for a result code: in callbacks, and in queries where they differ.
#[must_use]
pub fn result_words(code: u32, in_query: bool) -> &'static str {
    match code {
        0 => "The service request is processed successfully.",
        1 => "The balance is insufficient for the transaction.",
        17 => "Rule limited.",
        1019 => "Transaction has expired.",
        1032 => "Request cancelled by user",
        1037 if in_query => "DS timeout user cannot be reached.",
        1037 => "No response from user.",
        2001 => "The initiator information is invalid.",
        4999 => "The transaction is still under processing",
        _ => "Error occurred",
    }
}

/// Money moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// As `NLJ7RT61SV`.
    pub receipt: String,
    /// Whole shillings.
    pub amount: u64,
    /// Twelve digits.
    pub phone: String,
    /// Unix time in milliseconds.
    pub at: u64,
}

/// A callback's body, letter for letter as the portal's samples have it: numbers are numbers, the amount has its cents.
#[must_use]
pub fn callback(merchant_request: &str, checkout_request: &str, code: u32, paid: Option<&Paid>) -> String {
    let metadata = paid.map_or(String::new(), |paid| {
        format!(
            r#","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":{}.00}},{{"Name":"MpesaReceiptNumber","Value":"{}"}},{{"Name":"TransactionDate","Value":{}}},{{"Name":"PhoneNumber","Value":{}}}]}}"#,
            paid.amount,
            paid.receipt,
            to_eat(paid.at),
            paid.phone
        )
    });
    format!(
        r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"{merchant_request}","CheckoutRequestID":"{checkout_request}","ResultCode":{code},"ResultDesc":"{}"{metadata}}}}}}}"#,
        result_words(code, false)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-07-10 09:15:26.171 in Nairobi.
    const NOW: u64 = 1_720_592_126_171;

    fn good() -> Value {
        let merchant = Merchant::sandbox();
        json!({
            "BusinessShortCode": 174379, "Password": merchant.password("20240710091526"), "Timestamp": "20240710091526",
            "TransactionType": "CustomerPayBillOnline", "Amount": 10, "PartyA": 254722000000u64, "PartyB": "174379",
            "PhoneNumber": "254722000000", "CallBackURL": "https://pay.example.org/c/0a1b", "AccountReference": "kibera7",
            "TransactionDesc": "1 hour",
        })
    }

    fn check(body: &Value) -> Result<Push, Refusal> {
        check_push(&Merchant::sandbox(), body.to_string().as_bytes(), NOW)
    }

    #[test]
    fn a_good_request_is_taken_and_every_wrong_field_named() {
        let push = check(&good()).unwrap();
        assert_eq!((push.phone.as_str(), push.amount), ("254722000000", 10));
        let wrong: &[(&str, Value, &str)] = &[
            ("BusinessShortCode", json!("17437x"), "400.002.02"),
            ("BusinessShortCode", json!("654321"), "500.001.1001"),
            ("Password", json!("eHl6"), "500.001.1001"),
            ("Timestamp", json!("20240710061526"), "400.002.02"), // UTC
            ("Timestamp", json!("2024071009152"), "400.002.02"),
            ("TransactionType", json!("CustomerBuyGoodsOnline"), "400.002.02"),
            ("Amount", json!(0), "400.002.02"),
            ("Amount", json!(-1), "400.002.02"),
            ("Amount", json!(1.5), "400.002.02"),
            ("Amount", json!("10.00"), "400.002.02"),
            ("Amount", json!(null), "400.002.02"),
            ("PartyA", json!("0722000000"), "400.002.02"),
            ("PartyB", json!("600000"), "400.002.02"),
            ("PhoneNumber", json!("+254722000000"), "400.002.02"),
            ("PhoneNumber", json!("254822000000"), "400.002.02"),
            ("CallBackURL", json!("ftp://pay.example.org"), "400.002.02"),
            ("CallBackURL", json!("https://Pay.example.org/c"), "400.002.02"),
            ("CallBackURL", json!("https://pay.example.org/mpesa/c"), "400.002.02"),
            ("CallBackURL", json!("https:///c"), "400.002.02"),
            ("AccountReference", json!("thirteenchars"), "400.002.02"),
            ("AccountReference", json!("kibera-7"), "400.002.02"),
            ("AccountReference", json!(""), "400.002.02"),
            ("TransactionDesc", json!("fourteen chars"), "400.002.02"),
        ];
        for (field, value, code) in wrong {
            let mut body = good();
            body[*field] = value.clone();
            let refusal = check(&body).expect_err(field);
            assert_eq!(refusal.code, *code, "{field} {value}: {}", refusal.message);
            assert!(*code != "400.002.02" || refusal.message.ends_with(field), "{}", refusal.message);
        }
        assert_eq!(check_push(&Merchant::sandbox(), b"{", NOW).unwrap_err().message, "Bad Request - Invalid Request Payload");
    }

    #[test]
    fn ids_and_times_are_in_east_africa_time() {
        assert_eq!(to_eat(NOW), "20240710091526");
        assert_eq!(from_eat("20240710091526"), Some(NOW / 1000 * 1000));
        assert_eq!(checkout_request_id(NOW, "254722943992"), "ws_CO_10072024091526171722943992");
    }

    #[test]
    fn a_callback_s_numbers_are_numbers() {
        let paid = Paid { receipt: "NLJ7RT61SV".into(), amount: 1, phone: "254708374149".into(), at: 1_576_740_075_000 };
        let text = callback("29115-34620561-1", "ws_CO_191220191020363925", 0, Some(&paid));
        assert!(text.contains(r#"{"Name":"Amount","Value":1.00}"#));
        let json: Value = serde_json::from_str(&text).unwrap();
        let items = &json["Body"]["stkCallback"]["CallbackMetadata"]["Item"];
        assert_eq!(items[2], json!({"Name": "TransactionDate", "Value": 20191219102115u64}));
        assert_eq!(items[3], json!({"Name": "PhoneNumber", "Value": 254708374149u64}));
        let cancelled: Value = serde_json::from_str(&callback("a", "ws_CO_1", 1032, None)).unwrap();
        assert_eq!(cancelled["Body"]["stkCallback"]["ResultCode"], 1032);
        assert!(cancelled["Body"]["stkCallback"].get("CallbackMetadata").is_none());
    }
}
