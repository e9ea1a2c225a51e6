//! Certificates of an authority of the lab's own, in files, as an operator puts them there.

use super::*;
use crate::config;
use lango_lab::authority::Authority;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const NAME: &str = "kibera-7.hs.example.org";

fn settings(folder: &Path) -> Https {
    let folder = folder.display();
    let text = format!(
        "config gateway\n\toption name r1\n\toption lan br-lan\n\toption wan wan\nconfig package day\n\toption label day\n\toption price 50\n\
         \toption minutes 1440\nconfig https\n\toption name {NAME}\n\toption cert {folder}/https.pem\n\toption key {folder}/https.key\n"
    );
    config::parse("lango", text.as_bytes()).unwrap().https.unwrap()
}

fn wrong(https: &Https) -> Vec<String> {
    Certificate::open(https).map(drop).unwrap_err().iter().map(|wrong| wrong.to_string().replace(&*folder_of(https), "F")).collect()
}

fn folder_of(https: &Https) -> std::borrow::Cow<'_, str> {
    https.key.parent().unwrap().to_str().unwrap().into()
}

#[test]
fn a_request_is_signed_and_its_certificate_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let https = settings(folder.path());
    let first = key::request(&https).unwrap();
    assert!(first.made && first.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{}", first.pem);
    assert_eq!(std::fs::metadata(&https.key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&https.key).unwrap();
    assert!(!key::request(&https).unwrap().made);
    assert_eq!(std::fs::read(&https.key).unwrap(), before, "a key that is there is never replaced");

    let shown = lango_lab::tool::run_with_input("openssl", ["req", "-verify", "-noout", "-text"], first.pem.as_bytes()).unwrap();
    for part in [format!("Subject: CN = {NAME}"), format!("DNS:{NAME}"), "NIST CURVE: P-256".to_owned(), "ecdsa-with-SHA256".to_owned()] {
        assert!(shown.contains(&part), "{part} is not in {shown}");
    }
    let authority = Authority::new("The lab's authority").unwrap();
    let mut pem = first.pem.clone();
    assert!(authority.sign(&pem, 90, folder.path()).is_ok());
    // Whatever is changed in it, its signature no longer fits.
    let at = pem.find("A1UEAww").map_or(60, |at| at + 9);
    pem.replace_range(at..=at, if &pem[at..=at] == "A" { "B" } else { "A" });
    assert!(authority.sign(&pem, 90, folder.path()).is_err(), "{pem}");

    std::fs::write(&https.cert, authority.sign(&first.pem, 90, folder.path()).unwrap()).unwrap();
    let certificate = Certificate::open(&https).unwrap();
    let now = crate::clock::now().wall;
    assert!(matches!(certificate.age(now), Age::Good(89 | 90)), "{:?}", certificate.age(now));
    assert_eq!(certificate.untimely(now), None);
}

#[test]
fn what_is_wrong_is_told_each_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let https = settings(folder.path());
    let authority = Authority::new("The lab's authority").unwrap();
    let get =
        "have the request signed that `lango certificate request` prints, and put the certificate there, with those that lead to its CA";
    let make = "take the file away, and make one: lango certificate request";
    assert_eq!(
        wrong(&https),
        [
            "the key F/https.key cannot be read (No such file or directory (os error 2)); make it: lango certificate request".to_owned(),
            format!("the certificate F/https.pem cannot be read (No such file or directory (os error 2)); {get}"),
        ]
    );
    std::fs::write(&https.key, "rubbish").unwrap();
    std::fs::write(&https.cert, "rubbish").unwrap();
    assert_eq!(
        wrong(&https),
        [
            format!("F/https.key holds no private key (PEM, from -----BEGIN PRIVATE KEY----- on); {make}"),
            format!("F/https.pem holds no certificate (PEM, from -----BEGIN CERTIFICATE----- on); {get}"),
        ]
    );
    assert!(
        key::request(&https)
            .err()
            .unwrap()
            .to_string()
            .ends_with("is there and holds no private key on P-256 or P-384: take it away, and run this again")
    );

    authority.write(folder.path(), "https", NAME).unwrap();
    std::fs::rename(folder.path().join("https.key"), &https.key).unwrap();
    assert!(Certificate::open(&https).is_ok());
    let (of_another, _) = authority.certify(NAME).unwrap();
    std::fs::write(&https.cert, of_another).unwrap();
    assert_eq!(
        wrong(&https),
        [format!("F/https.key is not the key of the certificate in F/https.pem; have a certificate made for this key: {get}")]
    );
    let (other_name, key) = authority.certify("kibera-8.hs.example.org").unwrap();
    std::fs::write(&https.cert, other_name).unwrap();
    std::fs::write(&https.key, key).unwrap();
    assert_eq!(
        wrong(&https),
        [format!(
            "the certificate in F/https.pem is not for {NAME}, but for kibera-8.hs.example.org; write the name that it is for, or have \
             one made for this name (in its subjectAltName)"
        )]
    );
    // The CA's own in the router's place.
    std::fs::write(&https.cert, authority.pem()).unwrap();
    let said = wrong(&https).concat();
    assert!(said.contains("is none of a server"), "{said}");
    std::fs::write(&https.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let said = wrong(&https).concat();
    assert!(said.contains("is none of a server"), "{said}");
}

#[test]
fn a_key_of_another_kind_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let https = settings(folder.path());
    let rsa = lango_lab::tool::run("openssl", ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let rsa =
        rsa.or_else(|_| lango_lab::tool::run("openssl", ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])).unwrap();
    std::fs::write(&https.key, rsa).unwrap();
    let (certificate, _) = Authority::new("The lab's authority").unwrap().certify(NAME).unwrap();
    std::fs::write(&https.cert, certificate).unwrap();
    let said = wrong(&https).concat();
    assert!(said.contains("it is no ECDSA key on P-256 or P-384"), "{said}");
    assert!(matches!(key::request(&https).err().unwrap(), key::RequestError::NoKey { .. }));
}

#[test]
fn keys_that_serve_and_are_not_of_ours_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let https = settings(folder.path());
    let path = https.key.to_str().unwrap();
    let pkcs8 = lango_lab::tool::run("openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]).unwrap();
    let sec1 = lango_lab::tool::run("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).unwrap();
    for key in [pkcs8, sec1] {
        std::fs::write(&https.key, &key).unwrap();
        let said = key::request(&https).err().unwrap().to_string();
        let (_, how) = said.split_once("make this one with: ").unwrap();
        // What it says is what OpenSSL takes, and the certificate of it serves.
        let request = lango_lab::tool::run("openssl", how.split(' ').skip(1)).unwrap();
        assert!(said.starts_with(&format!("the key {path} can serve HTTPS")), "{said}");
        let authority = Authority::new("The lab's authority").unwrap();
        std::fs::write(&https.cert, authority.sign(&request, 90, folder.path()).unwrap()).unwrap();
        assert_eq!(Certificate::open(&https).map(drop).err(), None);
        assert_eq!(std::fs::read_to_string(&https.key).unwrap(), key);
    }
}

#[test]
fn a_key_is_written_whole_and_others_who_may_read_it_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let https = settings(folder.path());
    // A power cut in the middle of the one before.
    std::fs::write(folder.path().join("https.key.new"), "-----BEGIN PRIV").unwrap();
    assert_eq!(exposed(&https), None, "there is none");
    assert!(key::request(&https).unwrap().made);
    assert!(!folder.path().join("https.key.new").exists());
    assert_eq!(exposed(&https), None);
    std::fs::set_permissions(&https.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let told = exposed(&https).unwrap().to_string().replace(&*folder_of(&https), "F");
    assert_eq!(told, "others on this router may use the key F/https.key (its mode is 640); let root alone read it: chmod 600 F/https.key");
}

#[test]
fn the_clock_says_how_long_it_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let https = settings(folder.path());
    let authority = Authority::new("The lab's authority").unwrap();
    let (certificate, key) = authority.certify_between(NAME, (2026, 3, 1), (2026, 5, 30)).unwrap();
    std::fs::write(&https.cert, certificate).unwrap();
    std::fs::write(&https.key, key).unwrap();
    let certificate = Certificate::open(&https).unwrap();
    assert_eq!(
        (certificate.from.to_rfc3339().as_str(), certificate.until.to_rfc3339().as_str()),
        ("2026-03-01T00:00:00Z", "2026-05-30T00:00:00Z")
    );
    let at = |text: &str| Some(Wall::from_rfc3339(text).unwrap());
    for (now, age, told) in [
        (None, Age::Unknown, "The certificate is good until 2026-05-30T00:00:00Z; the router's clock is not set."),
        (
            at("2026-02-28T23:59:59Z"),
            Age::Early,
            "the certificate is good from 2026-03-01T00:00:00Z on, and the router's clock says 2026-02-28T23:59:59Z; set the clock right (NTP), or wait",
        ),
        (at("2026-03-01T00:00:00Z"), Age::Good(90), "The certificate is good until 2026-05-30T00:00:00Z, 90 days more."),
        (
            at("2026-05-16T00:00:01Z"),
            Age::Good(13),
            "The certificate is good until 2026-05-30T00:00:00Z, 13 days more: have it renewed (`lango certificate request` prints what to sign).",
        ),
        (
            at("2026-05-30T00:00:00Z"),
            Age::Good(0),
            "The certificate is good until 2026-05-30T00:00:00Z, 0 days more: have it renewed (`lango certificate request` prints what to sign).",
        ),
        (
            at("2026-05-30T00:00:01Z"),
            Age::Over,
            "the certificate was good until 2026-05-30T00:00:00Z; have it renewed (`lango certificate request` prints what to sign)",
        ),
    ] {
        assert_eq!(certificate.age(now), age);
        let said = certificate.untimely(now).map_or_else(|| certificate.told(now), |wrong| wrong.to_string());
        assert_eq!(said, told);
    }
}
