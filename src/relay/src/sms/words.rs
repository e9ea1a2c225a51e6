//! The texts, in each language. Pure. One text each, in the alphabet that needs least (`gsm7`), whatever the label is.

use super::gsm7::{ONE_TEXT, plain, septets};
use lango_core::language::Language;
use lango_core::notice::{AccountNotice, End};
use lango_core::units::{Seconds, Username};

/// One language's words. `{name}` is replaced.
struct Words {
    language: &'static str,
    /// The buyer is online already.
    online: &'static str,
    /// What was bought waits on the account.
    waiting: &'static str,
    /// Behind both, where there is a receipt.
    receipt: &'static str,
    expiring: &'static str,
    /// By time, by data.
    ended: [&'static str; 2],
    /// One of them, and several.
    minutes: [&'static str; 2],
    hours: [&'static str; 2],
}

/// English first: it is for everybody whose language is not here.
const ALL: [Words; 2] = [
    Words {
        language: "en",
        online: "Internet: {label}. You are online. For another phone, or later: join the Wi-Fi, Log in, user name {username}, password {password}.{receipt}",
        waiting: "Internet: {label}, ready for you. Join the Wi-Fi. If it does not begin by itself: Log in, user name {username}, password {password}.{receipt}",
        receipt: " Receipt {receipt}",
        expiring: "Your internet ends in {time}. To go on, join the Wi-Fi and choose a package. User name {username}",
        ended: [
            "Your internet time is used up. For more, join the Wi-Fi and choose a package. User name {username}",
            "Your internet data is used up. For more, join the Wi-Fi and choose a package. User name {username}",
        ],
        minutes: ["1 minute", "{n} minutes"],
        hours: ["1 hour", "{n} hours"],
    },
    Words {
        language: "sw",
        online: "Intaneti: {label}. Uko mtandaoni. Kwa simu nyingine au baadaye: jiunge na Wi-Fi, bonyeza Ingia, jina {username}, nenosiri {password}.{receipt}",
        waiting: "Intaneti: {label}, iko tayari. Jiunge na Wi-Fi. Isipoanza yenyewe: bonyeza Ingia, jina {username}, nenosiri {password}.{receipt}",
        receipt: " Risiti {receipt}",
        expiring: "Intaneti yako itaisha baada ya {time}. Ili uendelee, jiunge na Wi-Fi uchague kifurushi. Jina {username}",
        ended: [
            "Muda wako wa intaneti umeisha. Kupata zaidi, jiunge na Wi-Fi uchague kifurushi. Jina {username}",
            "Data yako ya intaneti imeisha. Kupata zaidi, jiunge na Wi-Fi uchague kifurushi. Jina {username}",
        ],
        minutes: ["dakika 1", "dakika {n}"],
        hours: ["saa 1", "saa {n}"],
    },
];

/// Whether there are texts in this language.
#[must_use]
pub fn speaks(language: Language) -> bool {
    ALL.iter().any(|words| words.language == language.as_str())
}

fn words(language: Language) -> &'static Words {
    ALL.iter().find(|words| words.language == language.as_str()).unwrap_or(&ALL[0])
}

/// What was bought, and how to use it.
#[must_use]
pub fn credentials(notice: &AccountNotice, language: Language) -> String {
    let words = words(language);
    let receipt = notice.receipt.as_ref().map_or_else(String::new, |receipt| fill(words.receipt, &[("receipt", receipt.as_str())]));
    let text = |label: &str| {
        let values =
            [("label", label), ("username", notice.username.as_str()), ("password", notice.password.reveal()), ("receipt", &receipt)];
        fill(if notice.online { words.online } else { words.waiting }, &values)
    };
    let mut label = plain(notice.label.trim());
    // The label gives way where all does not fit; credentials never do.
    while septets(&text(&label)).is_some_and(|taken| taken > ONE_TEXT) && label.chars().count() > 4 {
        let kept = label.trim_end_matches('.').chars().count().saturating_sub(1);
        label = format!("{}..", label.chars().take(kept).collect::<String>().trim_end());
    }
    text(&label)
}

/// That it ends soon.
#[must_use]
pub fn expiring(username: &Username, left: Seconds, language: Language) -> String {
    let words = words(language);
    let minutes = left.0.saturating_add(30).checked_div(60).unwrap_or(0).max(1);
    let (number, [one, many]) = if minutes.is_multiple_of(60) { (minutes / 60, words.hours) } else { (minutes, words.minutes) };
    let time = if number == 1 { one.to_owned() } else { fill(many, &[("n", &number.to_string())]) };
    fill(words.expiring, &[("time", &time), ("username", username.as_str())])
}

/// That it has ended.
#[must_use]
pub fn ended(username: &Username, by: End, language: Language) -> String {
    let [time, data] = words(language).ended;
    fill(if by == End::Time { time } else { data }, &[("username", username.as_str())])
}

/// In one pass, so that a value with braces in it stays a value.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let (mut rest, mut out) = (template, String::with_capacity(ONE_TEXT));
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::package::{Limits, Package};
    use lango_core::units::{Password, Shillings};

    fn notice(label: &str, online: bool, receipt: Option<&str>) -> AccountNotice {
        let limits = Limits { time: None, data: None, down: None, up: None, devices: 1 };
        let package = Package { id: "hour".parse().unwrap(), label: label.to_owned(), price: Shillings(10), limits };
        AccountNotice {
            online,
            receipt: receipt.map(|text| text.parse().unwrap()),
            ..AccountNotice::of("ab8bd7nu".parse().unwrap(), Password::new("k7m2p9").unwrap(), &package)
        }
    }

    fn language(text: &str) -> Language {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_sent_in_each_language() {
        for (code, online, receipt, text) in [
            (
                "en",
                true,
                Some("NLJ7RT61SV"),
                "Internet: 1 hour. You are online. For another phone, or later: join the Wi-Fi, Log in, user name ab8bd7nu, password k7m2p9. Receipt NLJ7RT61SV",
            ),
            (
                "en",
                false,
                None,
                "Internet: 1 hour, ready for you. Join the Wi-Fi. If it does not begin by itself: Log in, user name ab8bd7nu, password k7m2p9.",
            ),
            (
                "sw",
                true,
                Some("NLJ7RT61SV"),
                "Intaneti: 1 hour. Uko mtandaoni. Kwa simu nyingine au baadaye: jiunge na Wi-Fi, bonyeza Ingia, jina ab8bd7nu, nenosiri k7m2p9. Risiti NLJ7RT61SV",
            ),
            (
                "fr",
                true,
                None,
                "Internet: 1 hour. You are online. For another phone, or later: join the Wi-Fi, Log in, user name ab8bd7nu, password k7m2p9.",
            ),
        ] {
            assert_eq!(credentials(&notice("1 hour", online, receipt), language(code)), text);
        }
        let name: Username = "ab8bd7nu".parse().unwrap();
        for (seconds, english, swahili) in [
            (600, "in 10 minutes.", "baada ya dakika 10."),
            (599, "in 10 minutes.", "baada ya dakika 10."),
            (5, "in 1 minute.", "baada ya dakika 1."),
            (3_600, "in 1 hour.", "baada ya saa 1."),
            (86_400, "in 24 hours.", "baada ya saa 24."),
        ] {
            assert!(expiring(&name, Seconds(seconds), language("en")).contains(english));
            assert!(expiring(&name, Seconds(seconds), language("sw")).contains(swahili));
        }
        assert!(ended(&name, End::Time, language("en")).contains("time is used up"));
        assert!(ended(&name, End::Data, language("sw")).starts_with("Data yako"));
        assert!(speaks(language("sw")) && !speaks(language("fr")));
    }

    #[test]
    fn each_fits_in_one_text_whatever_the_label() {
        let name: Username = "ab8bd7nu".parse().unwrap();
        for words in &ALL {
            let spoken = language(words.language);
            for label in ["1 hour", &"x".repeat(40), &"€".repeat(40), "Usiku – “bila kikomo” ☃", "{password}", ""] {
                for online in [true, false] {
                    let text = credentials(&notice(label, online, Some("NLJ7RT61SV0Q")), spoken);
                    assert!(septets(&text).is_some_and(|taken| taken <= ONE_TEXT), "{}: {text}", text.len());
                    assert!(text.contains(" ab8bd7nu,") && text.contains(" k7m2p9.") && text.ends_with(" NLJ7RT61SV0Q"), "{text}");
                }
            }
            for text in [expiring(&name, Seconds(86_340), spoken), ended(&name, End::Time, spoken), ended(&name, End::Data, spoken)] {
                assert!(septets(&text).is_some_and(|taken| taken <= ONE_TEXT), "{text}");
            }
        }
    }

    #[test]
    fn credentials_are_never_altered() {
        let odd = AccountNotice { password: Password::new("p{label}`ê").unwrap(), ..notice("1 hour", true, None) };
        assert!(credentials(&odd, language("en")).contains("password p{label}`ê."));
    }
}
