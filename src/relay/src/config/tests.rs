//! The contract's config is taken; each mistake is told with its line and what would be right.

use super::*;
use crate::sms::gateway::Provider;

/// As docs/relay.md shows it.
const GOOD: &str = r#"listen = "0.0.0.0:8090"
public_url = "https://pay.example.org"
database = "sqlite:///var/lib/lango-relay/relay.db"
signing_key = "/var/lib/lango-relay/signing.key"

[mqtt]
broker = "mqtts://mqtt.example.org"
username = "relay"
password = "a-password"

[mpesa]
base_url = "https://api.safaricom.co.ke"
consumer_key = "key"
consumer_secret = "secret"
shortcode = "174379"
passkey = "passkey"
transaction_type = "CustomerPayBillOnline"

[sms]
provider = "africastalking"
base_url = "https://api.africastalking.com"
username = "me"
api_key = "key"
sender = "HOTSPOT"

[radius_sql]
database = "postgres://radius@localhost/radius"
"#;

#[test]
fn the_contracts_config() {
    let config = parse(GOOD).map_err(|mistakes| format!("{mistakes:?}")).unwrap();
    assert_eq!((config.broker.host.as_str(), config.broker.port, config.broker.tls), ("mqtt.example.org", 8883, true));
    assert!(config.database == Place::Sqlite("/var/lib/lango-relay/relay.db".into()));
    assert_eq!(config.public_broker, "mqtts://mqtt.example.org");
    assert_eq!(config.mpesa.merchant.account, Account::PayBill);
    let radius = config.radius.unwrap();
    assert_eq!((radius.place.to_string().as_str(), radius.interim, radius.line), ("postgres://localhost/radius", 300, 27));
    let till = GOOD.replace("\"CustomerPayBillOnline\"", "\"CustomerBuyGoodsOnline\"\ntill = \"5251234\"");
    assert_eq!(parse(&till).ok().unwrap().mpesa.merchant.account, Account::BuyGoods { till: "5251234".to_owned() });
    // Without the quotes, as people write numbers.
    let numbers = till.replace("\"174379\"", "174379").replace("\"5251234\"", "5251234");
    assert!(numbers.contains("shortcode = 174379\n") && numbers.contains("till = 5251234\n"));
    let merchant = parse(&numbers).map_err(|mistakes| format!("{mistakes:?}")).unwrap().mpesa.merchant;
    assert_eq!((merchant.shortcode.as_str(), merchant.account), ("174379", Account::BuyGoods { till: "5251234".to_owned() }));
    let plain = GOOD.replace("mqtts://mqtt.example.org", "mqtt://[::1]:1884");
    let broker = parse(&plain).ok().unwrap().broker;
    assert_eq!((broker.host.as_str(), broker.port, broker.tls), ("::1", 1884, false));
}

#[test]
fn one_mistake_one_line() {
    for (right, wrong, line, said) in [
        ("listen = \"0.0.0.0:8090\"", "listen = \"8090\"", 1, "as \"0.0.0.0:8090\""),
        ("listen = \"0.0.0.0:8090\"", "listen = 8090", 1, "expected a string"),
        ("listen = \"0.0.0.0:8090\"", "listen = \"0.0.0.0:8090\"\nlisten = \"\"", 2, "duplicate key"),
        ("https://pay.example.org", "pay.example.org", 2, "as \"https://pay.example.org\""),
        ("https://pay.example.org", "http://pay.example.org", 2, "https://"),
        ("https://pay.example.org", "https://Pay.example.org", 2, "lower case"),
        ("https://pay.example.org", "https://mpesa.example.org", 2, "\"mpesa\""),
        ("https://pay.example.org", "https://pay.example.org/sqlite", 2, "\"sql\""),
        ("sqlite:///var/lib/lango-relay/relay.db", "postgres://localhost", 3, "names no database"),
        ("sqlite:///var/lib/lango-relay/relay.db", "mysql://localhost/relay", 3, "postgres://USER"),
        ("[sms]", "[callbacks]\nsources = [\"196.201.214.0/33\"]\n\n[sms]", 20, "sources must be"),
        ("[sms]", "[callbacks]\nsources = []\nproxies = [\"me\"]\n\n[sms]", 21, "proxies must be"),
        ("sqlite:///var/lib/lango-relay/relay.db", "relay.db", 3, "as \"sqlite:///"),
        ("/var/lib/lango-relay/signing.key", "", 4, "signing_key must be the path"),
        ("mqtts://mqtt.example.org", "tcp://mqtt.example.org", 7, "as \"mqtts://"),
        ("mqtts://mqtt.example.org", "mqtts://me:secret@mqtt.example.org", 7, "as \"mqtts://"),
        ("username = \"relay\"", "user = \"relay\"", 8, "unknown field `user`, expected one of `broker`"),
        ("username = \"relay\"", "username = \"a/b\"", 8, "1 to 64 letters"),
        ("password = \"a-password\"", "password = \"\"", 9, "1 to 128 characters"),
        ("https://api.safaricom.co.ke", "api.safaricom.co.ke", 12, "https://api.safaricom.co.ke"),
        ("shortcode = \"174379\"", "shortcode = \"17437\u{661}\"", 15, "5 to 7 digits"),
        ("shortcode = \"174379\"", "shortcode = 1743", 15, "5 to 7 digits"),
        ("shortcode = \"174379\"", "shortcode = -174379", 15, "5 to 7 digits"),
        ("shortcode = \"174379\"", "shortcode = 174379.5", 15, "expected digits"),
        ("passkey = \"passkey\"", "passkey = 123456", 16, "expected a string"),
        ("passkey = \"passkey\"", "passkey = \"pass key\"", 16, "without spaces"),
        ("CustomerPayBillOnline", "CustomerPayBill", 17, "\"CustomerBuyGoodsOnline\""),
        ("CustomerPayBillOnline", "CustomerBuyGoodsOnline", 17, "needs till"),
        (
            "transaction_type = \"CustomerPayBillOnline\"",
            "transaction_type = \"CustomerPayBillOnline\"\ntill = \"5251234\"",
            18,
            "leave the till out",
        ),
        ("passkey = \"passkey\"", "passkey = \"passkey\"\ninitiator = \"me\"", 17, "needs security_credential"),
        ("passkey = \"passkey\"", "passkey = \"passkey\"\nsecurity_credential = \"me\"", 17, "needs initiator"),
        ("passkey = \"passkey\"", "passkey = \"passkey\"\ninitiator = \"me\"\nsecurity_credential = \"hush\"", 18, "encrypted with"),
        ("passkey = \"passkey\"", "passkey = \"passkey\"\nc2b_default = \"Maybe\"", 17, "\"Cancelled\""),
        ("provider = \"africastalking\"", "provider = \"pigeon\"", 20, "\"twilio\""),
        ("postgres://radius@localhost/radius", "radius", 27, "postgres://"),
        ("radius@localhost/radius\"", "radius@localhost/radius\"\ninterim = 30", 28, "60 to 3600"),
        ("[sms]", "[sms", 19, ""),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let mistakes = parse(&GOOD.replacen(right, wrong, 1)).err().unwrap_or_else(|| panic!("{wrong} was taken"));
        assert_eq!(mistakes.len(), 1, "{wrong}: {mistakes:?}");
        assert_eq!(mistakes[0].line, line, "{mistakes:?}");
        assert!(mistakes[0].text.contains(said), "{mistakes:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_no_secret_is_repeated() {
    let text = GOOD.replace("0.0.0.0:8090", "x").replace("174379", "1").replace("key = \"key\"", "key = \"hush hush\"");
    let mistakes = parse(&text).err().unwrap();
    assert!(mistakes.len() >= 3, "{mistakes:?}");
    assert!(!format!("{mistakes:?}").contains("hush"));
}

#[test]
fn a_missing_key_is_named() {
    let mistakes = parse(&GOOD.replace("listen = \"0.0.0.0:8090\"\n", "")).err().unwrap();
    assert!(mistakes[0].text.contains("missing field `listen`"), "{mistakes:?}");
}

/// `[sms]` as in the good config, with these lines in the place of its own.
fn with_sms(lines: &str) -> Result<Config, Vec<Mistake>> {
    let (start, end) = (GOOD.find("[sms]").unwrap(), GOOD.find("[radius_sql]").unwrap());
    parse(&format!("{}[sms]\n{lines}\n{}", &GOOD[..start], &GOOD[end..]))
}

#[test]
fn who_sends_texts() {
    let sms = parse(GOOD).ok().unwrap().sms.unwrap();
    assert_eq!((sms.provider, sms.base_url.as_str()), (Provider::AfricasTalking, "https://api.africastalking.com"));
    assert_eq!((sms.username.as_str(), sms.api_key.reveal(), sms.sender.as_deref()), ("me", "key", Some("HOTSPOT")));
    assert_eq!((sms.language.as_str(), sms.only_waiting, sms.daily), ("en", false, 2_000));
    let twilio = format!(
        "provider = \"twilio\"\nusername = \"AC{}\"\napi_key = \"token\"\nsender = \"+15005550006\"\nlanguage = \"sw\"\ncredentials = \"waiting\"",
        "0f".repeat(16)
    );
    let sms = with_sms(&twilio).ok().unwrap().sms.unwrap();
    assert_eq!((sms.provider, sms.base_url.as_str()), (Provider::Twilio, "https://api.twilio.com"));
    assert_eq!((sms.language.as_str(), sms.only_waiting), ("sw", true));
    assert!(with_sms("provider = \"none\"").ok().unwrap().sms.is_none());

    const AT: &str = "provider = \"africastalking\"\nusername = \"me\"\napi_key = \"key\"";
    for (lines, line, said) in [
        ("provider = \"africastalking\"\napi_key = \"key\"".to_owned(), 20, "needs username"),
        ("provider = \"africastalking\"\nusername = \"me\"\napi_key = \"\"".to_owned(), 20, "needs api_key"),
        (format!("{AT}\nbase_url = \"api.africastalking.com\""), 23, "as \"https://api.africastalking.com\""),
        (format!("{AT}\nbase_url = \"https://key@api.africastalking.com\""), 23, "base_url must be"),
        (format!("{AT}\nsender = \"A NAME TOO LONG\""), 23, "at most 11 characters"),
        (format!("{AT}\nsender = \"\""), 23, "leave it out"),
        (format!("{AT}\nlanguage = \"fr\""), 23, "\"en\" or \"sw\""),
        (format!("{AT}\ncredentials = \"never\""), 23, "\"waiting\""),
        (format!("{AT}\ndaily = 0"), 23, "at least 1"),
        (format!("{AT}\nfrom = \"ME\""), 23, "unknown field `from`"),
        (twilio.replace("AC0f", "SK0f"), 21, "AC and 32 hex digits"),
        (twilio.replace("sender", "# sender"), 20, "needs sender"),
        (twilio.replace("+15005550006", "+1500"), 23, "a number of yours"),
    ] {
        let mistakes = with_sms(&lines).err().unwrap_or_else(|| panic!("{lines} was taken"));
        assert_eq!(mistakes.len(), 1, "{lines}: {mistakes:?}");
        assert!(mistakes[0].line == line && mistakes[0].text.contains(said), "{lines}: {mistakes:?}");
    }
}
