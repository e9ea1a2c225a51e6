//! Vectors for questions about a transaction and for reversals: the portal's samples.

use super::*;

fn initiator() -> Initiator {
    Initiator { name: "testapiuser".to_owned(), credential: "ClONZiMYBpc65lmpJ7nvnrDmUe0WvHvA5Q==".to_owned() }
}

fn reply() -> ReplyTo {
    ReplyTo { result: "https://pay.example.org/result/0a".to_owned(), timeout: "https://pay.example.org/timeout/0a".to_owned() }
}

#[test]
fn what_is_asked() {
    let status = status_body(&initiator(), "600782", &"NEF61H8J60".parse().unwrap(), &reply());
    assert_eq!(
        String::from_utf8(status).unwrap(),
        concat!(
            r#"{"Initiator":"testapiuser","SecurityCredential":"ClONZiMYBpc65lmpJ7nvnrDmUe0WvHvA5Q==","CommandID":"TransactionStatusQuery","#,
            r#""TransactionID":"NEF61H8J60","PartyA":"600782","IdentifierType":"4","ResultURL":"https://pay.example.org/result/0a","#,
            r#""QueueTimeOutURL":"https://pay.example.org/timeout/0a","Remarks":"OK","Occasion":"OK"}"#
        )
    );
    let reversal = reversal_body(&initiator(), "603021", &"PDU91HIVIT".parse().unwrap(), Shillings(200), &reply());
    assert_eq!(
        String::from_utf8(reversal).unwrap(),
        concat!(
            r#"{"Initiator":"testapiuser","SecurityCredential":"ClONZiMYBpc65lmpJ7nvnrDmUe0WvHvA5Q==","CommandID":"TransactionReversal","#,
            r#""TransactionID":"PDU91HIVIT","Amount":"200","ReceiverParty":"603021","RecieverIdentifierType":"11","#,
            r#""ResultURL":"https://pay.example.org/result/0a","QueueTimeOutURL":"https://pay.example.org/timeout/0a","Remarks":"Payment reversal"}"#
        )
    );
}

/// The portal's sample, with `$` in place of the second party's key, which the sample has twice.
const STATUS: &str = r#"{"Result":{"ConversationID":"AG_20180223_0000493344ae97d86f75","OriginatorConversationID":"3213-416199-2",
    "ReferenceData":{"ReferenceItem":{"Key":"Occasion"}},"ResultCode":0,"ResultDesc":"The service request is processed successfully.",
    "ResultParameters":{"ResultParameter":[{"Key":"$","Value":"600310 - Safaricom333"},{"Key":"DebitPartyName","Value":"254708374149 - John Doe"},
    {"Key":"OriginatorConversationID","Value":"3211-416020-3"},{"Key":"InitiatedTime","Value":"20180223054112"},
    {"Key":"DebitAccountType","Value":"Utility Account"},{"Key":"TransactionReason"},{"Key":"TransactionStatus","Value":"Completed"},
    {"Key":"FinalisedTime","Value":"20180223054112"},{"Key":"Amount","Value":"300"},{"Key":"ReceiptNo","Value":"MBN31H462N"}]},
    "ResultType":0,"TransactionID":"MBN0000000"}}"#;

#[test]
fn a_transaction_described() {
    let read = |text: &str| read_result(text.as_bytes()).unwrap();
    assert_eq!(read(STATUS.replace('$', "DebitPartyName").as_str()).described(), None, "the sample does not say who paid whom");
    let good = STATUS.replace('$', "CreditPartyName");
    let described = read(&good).described().unwrap();
    assert_eq!((described.receipt.as_str(), described.amount, described.cents), ("MBN31H462N", Shillings(300), false));
    assert_eq!((described.payer.text().as_str(), described.receiver.as_str()), ("254708374149", "600310"));
    assert_eq!(described.completed_at.map(Wall::to_rfc3339).as_deref(), Some("2018-02-23T02:41:12Z"));
    assert_eq!(read(&good.replace("\"300\"", "300.00")).described().unwrap().amount, Shillings(300));
    for (from, to) in [
        ("Completed", "Declined"),
        ("\"ResultCode\":0", "\"ResultCode\":2001"),
        ("MBN31H462N", "MBN"),
        ("\"300\"", "\"many\""),
        ("\"Key\":\"ReceiptNo\"", "\"Key\":\"Other\""),
    ] {
        assert!(good.contains(from));
        assert_eq!(read(&good.replace(from, to)).described(), None, "{to}");
    }
}

#[test]
fn how_a_reversal_ends() {
    let done = r#"{"Result":{"ResultType":0,"ResultCode":0,"ResultDesc":"The service request is processed successfully.",
        "OriginatorConversationID":"dad6-4c34-8787-c8cb963a496d1268232","ConversationID":"AG_20211114_201018edbbf9f1582eaa","TransactionID":"SKE52PAWR9",
        "ResultParameters":{"ResultParameter":[{"Key":"DebitAccountBalance","Value":"Utility Account|KES|7722179.62|7722179.62|0.00|0.00"},
        {"Key":"Amount","Value":1.00},{"Key":"TransCompletedTime","Value":20211114132711},{"Key":"OriginalTransactionID","Value":"SKC82PACB8"}]}}}"#;
    let read = read_result(done.as_bytes()).unwrap();
    assert_eq!((read.code.as_str(), read.transaction.as_deref()), ("0", Some("SKE52PAWR9")));
    let failed = r#"{"Result":{"ResultType":0,"ResultCode":"R000002","ResultDesc":"The OriginalTransactionID is invalid.",
        "OriginatorConversationID":"3124-481d-b706-10bdd6fbc8e21792398","ConversationID":"AG_20211114_2010573069aefb6b625a","TransactionID":"SKE0000000",
        "ReferenceData":{"ReferenceItem":{"Key":"QueueTimeoutURL","Value":"https://internalsandbox.safaricom.co.ke/"}}}}"#;
    assert_eq!(read_result(failed.as_bytes()).unwrap().code, "R000002");
    for (code, expected) in [
        ("0", Reversed::Done),
        ("R000001", Reversed::Done),
        ("R000002", Reversed::Failed),
        ("11", Reversed::Failed),
        ("21", Reversed::Failed),
        ("2001", Reversed::Failed),
        ("2006", Reversed::Failed),
        ("2028", Reversed::Failed),
        ("8006", Reversed::Failed),
        ("1", Reversed::Failed),
        ("26", Reversed::Doubt),
        ("", Reversed::Doubt),
    ] {
        assert_eq!(reversed(code), expected, "{code}");
    }
}

#[test]
fn what_is_no_result_is_refused_and_not_repeated() {
    for body in ["", "{}", "[1", r#"{"Result":{}}"#, r#"{"Result":"254708374149"}"#, r#"{"Result":{"ResultCode":null}}"#] {
        let error = read_result(body.as_bytes()).expect_err(body).to_string();
        assert!(!error.contains("2547"), "{error}");
    }
}
