//! The bytes of the messages about money paid by hand, and about receipts, frozen (docs/protocol.md). **If this test fails, do
//! not change the test**: routers and relays in the field speak exactly this.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::message::{Deposit, Down, DownBody, Found, PaidOrder, ReceiptAnswer, ReceiptQuery, Up, UpBody, VERSION};
use lango_core::time::Wall;
use lango_core::units::Shillings;

fn deposit(payer: &str, word: Option<&str>, paid_at: Option<Wall>) -> Deposit {
    Deposit {
        receipt: "RKL51ZDR4F".parse().unwrap(),
        amount: Shillings(10),
        payer: payer.parse().unwrap(),
        word: word.map(str::to_owned),
        paid_at,
    }
}

fn answer(found: Found) -> DownBody {
    DownBody::Receipt(ReceiptAnswer { query: "3xk9".parse().unwrap(), found })
}

#[test]
fn what_a_router_asks() {
    let body = UpBody::ReceiptQuery(ReceiptQuery {
        query: "3xk9".parse().unwrap(),
        receipt: "NLJ7RT61SV".parse().unwrap(),
        phone: "0712345678".parse().unwrap(),
    });
    assert_eq!(body.topic(), "receipt_query");
    let up = Up { v: VERSION, id: "receipt-query-5-1".parse().unwrap(), seq: 7, body };
    let bytes = concat!(
        r#"{"v":1,"id":"receipt-query-5-1","seq":7,"type":"receipt_query","query":"3xk9","receipt":"NLJ7RT61SV","#,
        r#""phone":"254712345678"}"#
    );
    assert_eq!(String::from_utf8(up.to_json()).unwrap(), bytes);
    assert_eq!(Up::from_json(bytes.as_bytes()).unwrap(), up);
}

#[test]
fn what_the_relay_says() {
    const HEAD: &str = r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"router":"kibera-7","at":1795340999000,"type":"#;
    let paid = PaidOrder {
        order: "0kq3v9x1c7mzp2w8tdl5hb6ny4".parse().unwrap(),
        package: "hour".parse().unwrap(),
        device: "02:00:5e:10:00:01".parse().unwrap(),
        phone: "254712345678".parse().unwrap(),
        receipt: "QABCDEFGHIJK".parse().unwrap(),
        amount: Shillings(10),
    };
    for (body, topic, tail) in [
        (
            DownBody::Deposit(deposit("254712345678", Some("HOUR"), Some(Wall(1_795_340_998_000)))),
            "deposit",
            r#""deposit","receipt":"RKL51ZDR4F","amount":10,"payer":"254712345678","word":"HOUR","paid_at":1795340998000}"#,
        ),
        (
            DownBody::Deposit(deposit("2547*****126", None, None)),
            "deposit",
            r#""deposit","receipt":"RKL51ZDR4F","amount":10,"payer":"2547*****126","word":null,"paid_at":null}"#,
        ),
        (
            answer(Found::Payment(paid)),
            "receipt",
            concat!(
                r#""receipt","query":"3xk9","status":"payment","order":"0kq3v9x1c7mzp2w8tdl5hb6ny4","package":"hour","#,
                r#""device":"02:00:5e:10:00:01","phone":"254712345678","receipt":"QABCDEFGHIJK","amount":10}"#
            ),
        ),
        (
            answer(Found::Deposit(deposit("************", None, None))),
            "receipt",
            concat!(
                r#""receipt","query":"3xk9","status":"deposit","receipt":"RKL51ZDR4F","amount":10,"payer":"************","#,
                r#""word":null,"paid_at":null}"#
            ),
        ),
        (answer(Found::Asking), "receipt", r#""receipt","query":"3xk9","status":"asking"}"#),
        (answer(Found::Unknown), "receipt", r#""receipt","query":"3xk9","status":"unknown"}"#),
    ] {
        let message = Down {
            v: VERSION,
            id: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(),
            seq: 42,
            router: "kibera-7".parse().unwrap(),
            at: Wall(1_795_340_999_000),
            body,
        };
        let bytes = format!("{HEAD}{tail}");
        assert_eq!(message.to_json(), bytes);
        assert_eq!(message.body.topic(), topic);
        assert_eq!(message.seal(bytes, String::new()).open(&"kibera-7".parse().unwrap()).unwrap(), message);
    }
}
