//! What is said of the certificate for HTTPS: by `lango check`, and by `lango certificate`, which makes its key as well.

use super::{Outcome, configured, exit};
use crate::certificate::key::{self, RequestError};
use crate::certificate::{About, Age, Certificate, RENEW_DAYS, Wrong, exposed};
use crate::clock;
use crate::config::{self, Config, Https};
use std::fmt::Write as _;
use std::path::Path;

/// `lango check`: the configuration, and where that is in order, the certificate that it names. What it finds is what it was asked to print.
#[must_use]
pub fn check(path: &Path) -> Outcome {
    let (lines, code) = config::check(path);
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    if code != exit::OK {
        return Outcome { out: text, code, error: String::new() };
    }
    let (wrong, warning, exposed) = match configured(path) {
        Ok(Config { https: Some(https), .. }) => {
            let (wrong, warning) = examine(&https);
            (wrong, warning, exposed(&https))
        }
        _ => (Vec::new(), None, None),
    };
    let line = |about: About| {
        let option = match about {
            About::Name => "name",
            About::Certificate => "cert",
            About::Key => "key",
        };
        format!("{}:{}", path.display(), config::line_of(path, "https", option))
    };
    let mut out: String = wrong.iter().map(|wrong| format!("{}: {wrong}\n", line(wrong.about))).collect();
    if !out.is_empty() {
        return Outcome { out, code: exit::CONFIG, error: String::new() };
    }
    if let Some(exposed) = exposed {
        let _ = writeln!(out, "{}: {exposed}", line(About::Key));
    }
    if let Some(warning) = warning {
        // A `String` takes everything.
        let _ = writeln!(out, "{}: {warning}", line(About::Certificate));
    }
    Outcome { out: out + &text, code, error: String::new() }
}

/// What is wrong with the certificate; and what will be, soon.
fn examine(https: &Https) -> (Vec<Wrong>, Option<String>) {
    let now = clock::now().wall;
    match Certificate::open(https) {
        Err(wrong) => (wrong, None),
        Ok(certificate) => {
            let soon = matches!(certificate.age(now), Age::Good(days) if days < RENEW_DAYS) || now.is_none();
            (certificate.untimely(now).into_iter().collect(), soon.then(|| certificate.told(now)))
        }
    }
}

fn with_https(path: &Path) -> Result<Https, Outcome> {
    configured(path)?.https.ok_or_else(|| {
        let missing = format!("{} has no https section; add: config https 'https', with its name (docs/https.md)", path.display());
        Outcome::failed(exit::CONFIG, missing)
    })
}

/// `lango certificate`: how it is, with no daemon asked.
#[must_use]
pub fn status(path: &Path) -> Outcome {
    let https = match with_https(path) {
        Ok(https) => https,
        Err(outcome) => return outcome,
    };
    let now = clock::now().wall;
    let (out, wrong) = match Certificate::open(&https) {
        Ok(certificate) => {
            let out = format!("{}\n{}\n", https.url(), certificate.told(now));
            (out, certificate.untimely(now).into_iter().collect())
        }
        Err(wrong) => (String::new(), wrong),
    };
    let error: String = wrong.iter().map(|wrong| format!("lango: {wrong}\n")).collect();
    let code = if error.is_empty() { exit::OK } else { exit::CONFIG };
    Outcome { out, error, code }
}

/// `lango certificate request`: what a CA is to sign, on standard output alone, so that it can be sent there.
#[must_use]
pub fn request(path: &Path) -> Outcome {
    let https = match with_https(path) {
        Ok(https) => https,
        Err(outcome) => return outcome,
    };
    match key::request(&https) {
        Ok(request) => {
            let how = if request.made { "was made" } else { "was there and is used" };
            let error = format!("The key {} {how}. It stays on this router; what is printed goes to the CA.\n", https.key.display());
            Outcome { out: request.pem, error, code: exit::OK }
        }
        Err(error) => Outcome::failed(code(&error), format!("{:#}", anyhow::Error::new(error))),
    }
}

fn code(error: &RequestError) -> u8 {
    match error {
        RequestError::NoKey { .. } | RequestError::OtherKey { .. } => exit::CONFIG,
        RequestError::Unreadable { cause, .. } | RequestError::Unwritable { cause, .. } => super::code_of_io(cause),
        RequestError::NoRandomness => exit::UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn what_is_found_is_printed_where_output_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lango");
        let good = "config gateway 'main'\n\toption name 'kibera-7'\n\toption lan 'br-lan'\n\toption wan 'wan'\n\
                    config package 'hour'\n\toption label '1 hour'\n\toption price '10'\n\toption minutes '60'\n";
        let https = format!("{good}config https\n\toption name 'kibera-7.example.org'\n\toption cert '/nowhere/https.pem'\n");
        for (text, code, found) in [
            (good, 0, &[": in order. Router kibera-7, 1 package"][..]),
            (&good.replace("60", "sixty").replace("price", "prise"), 78, &[":5: ", ":7: ", ":8: "]),
            (&https, 78, &[":11: ", ":9: "]),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = check(&path);
            assert_eq!((said.code, said.error.as_str()), (code, ""), "{said:?}");
            let starts: Vec<String> = found.iter().map(|found| format!("{}{found}", path.display())).collect();
            let lines: Vec<&str> = said.out.lines().collect();
            assert_eq!(lines.len(), starts.len(), "{lines:?}");
            assert!(starts.iter().all(|start| lines.iter().any(|line| line.starts_with(start.as_str()))), "{lines:?}");
        }
    }

    #[test]
    fn a_right_and_a_wrong_file_have_their_exit_codes() {
        let path = || "/etc/lango/https.key".into();
        for (error, expected) in [
            (RequestError::Unreadable { path: path(), cause: ErrorKind::PermissionDenied.into() }, 77),
            (RequestError::Unwritable { path: path(), cause: ErrorKind::PermissionDenied.into() }, 77),
            (RequestError::Unwritable { path: path(), cause: Error::other("the disk is broken") }, 74),
            (RequestError::NoKey { path: path() }, 78),
            (RequestError::OtherKey { path: path(), name: "r1.example.org".to_owned() }, 78),
        ] {
            assert_eq!(code(&error), expected, "{error}");
        }
        let broken = RequestError::Unwritable { path: path(), cause: Error::other("the disk is broken") };
        assert_eq!(
            format!("{:#}", anyhow::Error::new(broken)),
            "the key /etc/lango/https.key cannot be written: the disk is broken",
            "its cause is told once"
        );
    }
}
