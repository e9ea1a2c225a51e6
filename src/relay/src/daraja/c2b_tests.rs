//! Vectors for payments without a prompt: the portal's samples, and the forms that were seen beside them.

use super::*;

const MASKED: &str = r#"{"TransactionType":"Pay Bill","TransID":"RKL51ZDR4F","TransTime":"20231121121325","TransAmount":"5.00",
    "BusinessShortCode":"600966","BillRefNumber":"Sample Transaction","InvoiceNumber":"","OrgAccountBalance":"25.00",
    "ThirdPartyTransID":"","MSISDN":"2547 ***** 126","FirstName":"NICHOLAS","MiddleName":"","LastName":""}"#;

#[test]
fn the_portals_confirmation() {
    let read = read(MASKED.as_bytes()).unwrap();
    assert_eq!((read.receipt.as_str(), read.amount, read.cents), ("RKL51ZDR4F", Shillings(5), false));
    assert_eq!((read.account.as_str(), read.payer.text().as_str(), read.hash), ("Sample Transaction", "2547*****126", None));
    assert_eq!(read.shortcode.as_deref(), Some("600966"));
    assert_eq!(read.completed_at.map(Wall::to_rfc3339).as_deref(), Some("2023-11-21T09:13:25Z"));
}

#[test]
fn the_portals_validation_is_no_json_and_its_repaired_form_is_read() {
    // As the portal prints it: two commas are missing.
    let sample = r#"{"TransactionType":"Pay Bill","TransID":"RKTQDM7W6S","TransTime":"20191122063845","TransAmount":"10"
        "BusinessShortCode":"600638","BillRefNumber":"invoice008","MSISDN":"25470****149","FirstName":"John"}"#;
    assert!(read(sample.as_bytes()).is_err());
    let read = read(sample.replace("\"10\"", "\"10\",").as_bytes()).unwrap();
    assert_eq!((read.amount, read.payer.text().as_str(), read.account.as_str()), (Shillings(10), "25470****149", "invoice008"));
}

#[test]
fn other_forms() {
    let hash = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
    for (from, to, amount, cents, payer, hashed) in [
        ("\"5.00\"", "5", 5, false, "2547*****126", false),
        ("\"5.00\"", "\"5.50\"", 5, true, "2547*****126", false),
        ("\"2547 ***** 126\"", "254712345678", 5, false, "254712345678", false),
        ("2547 ***** 126", hash, 5, false, "************", true),
        ("2547 ***** 126", "", 5, false, "************", false),
        ("Sample Transaction", "", 5, false, "2547*****126", false),
        ("Pay Bill", "Customer Merchant Payment", 5, false, "2547*****126", false),
        ("Pay Bill", "Organization To Organization Transfer", 5, false, "2547*****126", false),
    ] {
        let read = read(MASKED.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!((read.amount, read.cents, read.payer.text().as_str()), (Shillings(amount), cents, payer), "{to}");
        assert_eq!(read.hash, hashed.then(|| hash.to_ascii_lowercase()));
    }
}

#[test]
fn what_is_no_money_is_refused_and_not_repeated() {
    for (from, to) in [
        ("RKL51ZDR4F", "R"),
        ("\"RKL51ZDR4F\"", "null"),
        ("5.00", "five"),
        ("\"5.00\"", "-5"),
        ("\"5.00\"", "{}"),
        ("\"TransAmount\":\"5.00\",", ""),
        ("}", ""),
        ("{", "["),
    ] {
        let error = read(MASKED.replacen(from, to, 1).as_bytes()).expect_err(to).to_string();
        assert!(!error.contains("2547") && !error.contains("NICHOLAS"), "{error}");
    }
}

#[test]
fn what_daraja_is_told() {
    let body = register_body("600984", ResponseType::Completed, "https://pay.example.org/c", "https://pay.example.org/v");
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"ShortCode":"600984","ResponseType":"Completed","ConfirmationURL":"https://pay.example.org/c","ValidationURL":"https://pay.example.org/v"}"#
    );
    assert_eq!(validation_answer(None), r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#);
    assert_eq!(validation_answer(Some(Rejection::Account)), r#"{"ResultCode":"C2B00012","ResultDesc":"Rejected"}"#);
    let codes = [Rejection::Amount, Rejection::Shortcode, Rejection::Other].map(Rejection::code);
    assert_eq!(codes, ["C2B00013", "C2B00015", "C2B00016"]);
}

#[test]
fn whose_account_number_it_is() {
    let routers = ["kibera-7", "kibera-70", "Mama_Njeri", "a-b", "ab", "kibera-7-day"].map(str::to_owned);
    for (account, router, word) in [
        ("kibera-7", Some("kibera-7"), None),
        ("KIBERA7", Some("kibera-7"), None),
        (" Kibera 7 ", Some("kibera-7"), None),
        ("kibera 70", Some("kibera-70"), None),
        ("KIBERA7 hour", Some("kibera-7"), Some("HOUR")),
        ("kibera7.jane wanjiku", Some("kibera-7"), Some("JANEWANJIKU")),
        ("é kibera7", Some("kibera-7"), None),
        ("kibera-7-hour", Some("kibera-7"), Some("HOUR")),
        // The longest name is meant.
        ("kibera-7-day", Some("kibera-7-day"), None),
        ("mamanjeri*month", Some("Mama_Njeri"), Some("MONTH")),
        // Not guessed at: a digit more is another router, or nobody's.
        ("kibera71", None, None),
        ("KIBERA7HOUR", None, None),
        ("kibera", None, None),
        ("7", None, None),
        ("", None, None),
        ("é", None, None),
    ] {
        let expected = router
            .map_or(Named::Nobody, |router| Named::One(routers.iter().find(|known| *known == router).unwrap(), word.map(str::to_owned)));
        assert_eq!(named(account, &routers, String::clone), expected, "{account}");
    }
    assert_eq!(named("AB", &routers, String::clone), Named::Several);
}
