//! Vectors for Daraja's JSON: the portal's own samples, and the forms that were seen beside them.

use super::*;

/// 2021-06-28 09:24:08 in Nairobi.
const SAMPLE_MOMENT: &str = "2021-06-28T06:24:08Z";

fn merchant(account: Account) -> Merchant {
    Merchant {
        shortcode: "174379".to_owned(),
        passkey: "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919".to_owned(),
        account,
    }
}

fn push() -> Push {
    Push {
        amount: Shillings(1),
        phone: "254722000000".parse().unwrap(),
        callback_url: "https://mydomain.com/path".to_owned(),
        reference: "accountref".to_owned(),
        description: "txndesc".to_owned(),
    }
}

#[test]
fn a_push_is_the_portals_sample() {
    let body = merchant(Account::PayBill).push_body(&push(), Wall::from_rfc3339(SAMPLE_MOMENT).unwrap());
    // MpesaExpressSimulate, request body, with one phone for PartyA and PhoneNumber; the password is the portal's own.
    assert_eq!(
        String::from_utf8(body).unwrap(),
        concat!(
            r#"{"BusinessShortCode":174379,"#,
            r#""Password":"MTc0Mzc5YmZiMjc5ZjlhYTliZGJjZjE1OGU5N2RkNzFhNDY3Y2QyZTBjODkzMDU5YjEwZjc4ZTZiNzJhZGExZWQyYzkxOTIwMjEwNjI4MDkyNDA4","#,
            r#""Timestamp":"20210628092408","TransactionType":"CustomerPayBillOnline","Amount":"1","PartyA":"254722000000","#,
            r#""PartyB":"174379","PhoneNumber":"254722000000","CallBackURL":"https://mydomain.com/path","#,
            r#""AccountReference":"accountref","TransactionDesc":"txndesc"}"#
        )
    );
}

#[test]
fn a_till_gets_the_money_and_the_shortcode_asks() {
    let merchant = merchant(Account::BuyGoods { till: "5251234".to_owned() });
    let body: Value = serde_json::from_slice(&merchant.push_body(&push(), Wall::EARLIEST)).unwrap();
    assert_eq!(
        (&body["TransactionType"], &body["BusinessShortCode"], &body["PartyB"]),
        (&Value::from("CustomerBuyGoodsOnline"), &Value::from(174_379), &Value::from("5251234"))
    );
    assert!(merchant.is("174379") && merchant.is("5251234") && !merchant.is("600000"));
}

#[test]
fn a_query_is_the_portals_sample() {
    let body = merchant(Account::PayBill).query_body("ws_CO_260520211133524545", Wall::from_rfc3339("2016-02-16T13:56:27Z").unwrap());
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["BusinessShortCode"], "174379");
    assert_eq!(body["Timestamp"], "20160216165627");
    assert_eq!(body["CheckoutRequestID"], "ws_CO_260520211133524545");
    assert_eq!(body["Password"], STANDARD.encode("174379bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c91920160216165627"));
    assert_eq!(body.as_object().unwrap().len(), 4);
}

#[test]
fn timestamps_are_east_african() {
    for (utc, east_african) in [("2026-11-22T21:30:00Z", "20261123003000"), ("2026-12-31T20:59:59Z", "20261231235959")] {
        assert_eq!(timestamp(Wall::from_rfc3339(utc).unwrap()), east_african);
    }
}

#[test]
fn references_and_descriptions_are_what_daraja_takes() {
    for (order, expected) in [("0kq3v9x1c7mzp2w8tdl5hb6ny4", "0KQ3V9X1C7MZ"), ("a", "A")] {
        assert_eq!(reference(order), expected);
    }
    for (label, expected) in [
        ("1 hour", "1 hour"),
        ("Siku moja – 1 GB", "Siku moja  1"),
        ("Unlimited for a month", "Unlimited for"),
        ("ساعة", "Internet"),
        ("", "Internet"),
    ] {
        assert_eq!(description(label), expected);
        assert!(description(label).len() <= 13);
    }
}

#[test]
fn the_token_request_is_basic() {
    // The portal's sample header, taken apart and put together again.
    assert_eq!(
        basic("CdmNbdt0iBN1oqDfAkus4dafbdPKmtaN", "DLKG7PBun720G1Zim"),
        format!("Basic {}", STANDARD.encode("CdmNbdt0iBN1oqDfAkus4dafbdPKmtaN:DLKG7PBun720G1Zim"))
    );
}

#[test]
fn tokens() {
    for body in [
        r#"{"access_token":"c9SQxWWhmdVRlyh0zh8gZDTkubVF","expires_in":3599}"#,
        r#"{"access_token":"c9SQxWWhmdVRlyh0zh8gZDTkubVF","expires_in":"3599"}"#,
    ] {
        let token = read_token(body.as_bytes()).unwrap();
        assert_eq!((token.text.as_str(), token.expires_in), ("c9SQxWWhmdVRlyh0zh8gZDTkubVF", 3599));
    }
    for body in [
        "",
        "{}",
        r#"{"access_token":"","expires_in":3599}"#,
        r#"{"access_token":"a"}"#,
        r#"{"access_token":"a\nb","expires_in":1}"#,
        r#"{"errorCode":"400.008.01"}"#,
    ] {
        assert!(read_token(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn answers_to_a_push() {
    let refused = |code: &str, message: &str| PushReply::NotAccepted { code: code.to_owned(), message: message.to_owned() };
    for (body, expected) in [
        (
            r#"{"MerchantRequestID":"2654-4b64-97ff-b827b542881d3130","CheckoutRequestID":"ws_CO_1007202409152617172396192","ResponseCode":"0",
                "ResponseDescription":"Success. Request accepted for processing","CustomerMessage":"Success. Request accepted for processing"}"#,
            PushReply::Accepted { checkout: "ws_CO_1007202409152617172396192".to_owned() },
        ),
        (r#"{"CheckoutRequestID":"ws_CO_1","ResponseCode":0}"#, PushReply::Accepted { checkout: "ws_CO_1".to_owned() }),
        (
            r#"{"requestId":"1c5b-4ba8-815c-ac45c57a3db01495926","errorCode":"400.002.02","errorMessage":"Bad Request - Invalid BusinessShortCode"}"#,
            refused("400.002.02", "Bad Request - Invalid BusinessShortCode"),
        ),
        (r#"{"ResponseCode":"1","CheckoutRequestID":"ws_CO_1"}"#, refused("1", "")),
        (r#"{"ResponseCode":"0"}"#, refused("", "")),
        (r#"{"ResponseCode":"0","CheckoutRequestID":"a b"}"#, refused("", "")),
        ("<html>Service unavailable</html>", refused("", "")),
        ("[]", refused("", "")),
        ("", refused("", "")),
    ] {
        assert_eq!(read_push(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn answers_to_a_query() {
    let nothing = |code: &str| QueryReply::Nothing(code.to_owned());
    for (body, expected) in [
        // The portal's sample, without its trailing comma.
        (
            r#"{"ResponseCode":"0","ResponseDescription": "The service request has been accepted successfully","MerchantRequestID":"22205-34066-1",
                "CheckoutRequestID": "ws_CO_13012021093521236557","ResultCode":"0","ResultDesc":"The service request is processed successfully."}"#,
            QueryReply::Result("0".to_owned()),
        ),
        (r#"{"ResponseCode":"0","ResultCode":1032}"#, QueryReply::Result("1032".to_owned())),
        (r#"{"ResponseCode":"0","ResultCode":"SFC_IC0003"}"#, QueryReply::Result("SFC_IC0003".to_owned())),
        (r#"{"ResponseCode":"0"}"#, nothing("")),
        (r#"{"ResponseCode":"1","ResultCode":"0"}"#, nothing("")),
        (r#"{"requestId":"1","errorCode":"500.001.1001","errorMessage":"The transaction is being processed"}"#, nothing("500.001.1001")),
        (r#"{"errorCode":"500.001.1001","ResponseCode":"0","ResultCode":"0"}"#, nothing("500.001.1001")),
        ("garbage", nothing("")),
    ] {
        assert_eq!(read_query(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn callbacks() {
    let paid = |amount: &str, receipt: &str| {
        format!(
            r#"{{"Body":{{"stkCallback":{{"MerchantRequestID":"29115-34620561-1","CheckoutRequestID":"ws_CO_191220191020363925","ResultCode":0,
               "ResultDesc":"The service request is processed successfully.","CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":{amount}}},
               {{"Name":"MpesaReceiptNumber","Value":{receipt}}},{{"Name":"Balance"}},{{"Name":"TransactionDate","Value":20191219102115}},
               {{"Name":"PhoneNumber","Value":254708374149}}]}}}}}}}}"#
        )
    };
    for (amount, receipt, expected) in [
        ("1.00", r#""NLJ7RT61SV""#, (Some(Shillings(1)), Some("NLJ7RT61SV"))),
        ("10500", r#""NLJ7RT61SV""#, (Some(Shillings(10_500)), Some("NLJ7RT61SV"))),
        (r#""10.00""#, r#""NLJ7RT61SV""#, (Some(Shillings(10)), Some("NLJ7RT61SV"))),
        ("10.5", r#""nlj7rt61sv""#, (None, None)),
        ("-1", "12", (None, None)),
        ("1e3", r#""<b>""#, (Some(Shillings(1_000)), None)),
        ("null", "null", (None, None)),
    ] {
        let callback = read_callback(paid(amount, receipt).as_bytes()).unwrap();
        assert_eq!((callback.checkout.as_str(), callback.code.as_str()), ("ws_CO_191220191020363925", "0"));
        assert_eq!((callback.amount, callback.receipt.as_ref().map(Receipt::as_str)), expected, "{amount} {receipt}");
    }
    let cancelled = br#"{"Body":{"stkCallback":{"MerchantRequestID":"f1e2-4b95-a71d-b30d3cdbb7a7942864",
        "CheckoutRequestID":"ws_CO_21072024125243250722943992","ResultCode":1032,"ResultDesc":"Request cancelled by user"}}}"#;
    let expected = StkCallback {
        checkout: "ws_CO_21072024125243250722943992".to_owned(),
        code: "1032".to_owned(),
        amount: None,
        receipt: None,
        completed_at: None,
    };
    assert_eq!(read_callback(cancelled).unwrap(), expected);
    let texts = String::from_utf8(cancelled.to_vec()).unwrap().replace("1032,", "\"1032\",");
    assert_eq!(read_callback(texts.as_bytes()).unwrap(), expected);
}

#[test]
fn what_is_no_callback_is_refused_and_not_repeated() {
    for body in [
        "",
        "{}",
        "[1,2",
        r#"{"Body":{}}"#,
        r#"{"Body":{"stkCallback":{"ResultCode":0}}}"#,
        r#"{"Body":{"stkCallback":{"CheckoutRequestID":"ws_CO_1"}}}"#,
        r#"{"Body":{"stkCallback":{"CheckoutRequestID":7,"ResultCode":0}}}"#,
        r#"{"Body":"254708374149"}"#,
    ] {
        let error = read_callback(body.as_bytes()).expect_err(body).to_string();
        assert!(!error.contains("2547"), "{error}");
    }
}
