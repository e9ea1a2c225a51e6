//! The languages of the pages, and money, time and data as people of them read them. Pure.

use super::head::quality;
use super::top::TEXTS;
use lango_core::time::Wall;
use lango_core::units::{Bytes, Kbps, Seconds, Shillings};
use serde_json::{Map, Value};

/// What customers' clocks show ahead of UTC, in milliseconds: prices are in shillings of Kenya's and numbers are Kenyan, and all of Kenya has
/// East Africa Time, the whole year. Routers come set to UTC, and few are ever set otherwise.
const EAST_AFRICA: u64 = 3 * 3_600_000;

/// A language and its texts.
#[derive(Debug)]
pub struct Language {
    /// Its code (BCP 47), the name of its file in `web/locale`.
    pub code: &'static str,
    /// Its texts by key, under the `t` by which the templates call them: no page has them copied.
    pub scope: Value,
}

/// All languages, ready to use.
#[derive(Debug)]
pub struct Languages(Vec<Language>);

impl Languages {
    /// Reads the texts that are in the binary.
    #[must_use]
    pub fn embedded() -> Self {
        let language = |(code, texts): &(&'static str, &str)| {
            // The texts are in the binary, and a test reads them all: they are JSON.
            let texts = serde_json::from_str::<Map<String, Value>>(texts).unwrap_or_default();
            Language { code, scope: Value::Object(Map::from_iter([("t".to_owned(), Value::Object(texts))])) }
        };
        Self(TEXTS.iter().map(language).collect())
    }

    /// Which of them the code names.
    #[must_use]
    pub fn position(&self, code: &str) -> Option<usize> {
        self.0.iter().position(|language| language.code.eq_ignore_ascii_case(code))
    }

    /// The one in that place, or else the first: there is always a first, for the build takes a file each, and English is one of them.
    #[must_use]
    pub fn at(&self, place: usize) -> &Language {
        self.0.get(place).unwrap_or(&self.0[0])
    }

    /// Takes an operator's texts in the place of ours.
    pub fn replace(&mut self, code: &str, texts: Map<String, Value>) {
        if let Some(ours) = self.position(code).and_then(|place| self.0.get_mut(place)?.scope.get_mut("t")?.as_object_mut()) {
            ours.extend(texts);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Language> {
        self.0.iter()
    }

    /// The one that was chosen by a link (`?lang=`), or else the one that the browser likes best (RFC 9110 section
    /// 12.5.4), or else the first.
    #[must_use]
    pub fn choose(&self, asked: Option<&str>, accept_language: Option<&str>) -> &Language {
        self.at(self.chosen(asked, accept_language))
    }

    /// The place of the one that [`Self::choose`] gives.
    #[must_use]
    pub fn chosen(&self, asked: Option<&str>, accept_language: Option<&str>) -> usize {
        let by_code = |code: &str| self.position(code);
        let liked = || {
            let mut best: Option<(usize, u16)> = None;
            for part in accept_language?.split(',') {
                let mut fields = part.split(';');
                let range = fields.next()?.trim();
                let quality = fields.find_map(|field| field.trim().strip_prefix("q=")).map_or(1_000, |q| quality(q.trim()).unwrap_or(0));
                if let Some(language) = by_code(range.split('-').next()?)
                    && quality > best.map_or(0, |(_, best)| best)
                {
                    best = Some((language, quality));
                }
            }
            best.map(|(language, _)| language)
        };
        asked.and_then(by_code).or_else(liked).unwrap_or(0)
    }
}

impl Language {
    /// Its texts by key.
    #[must_use]
    pub fn texts(&self) -> &Value {
        self.scope.get("t").unwrap_or(&Value::Null)
    }

    /// The text of `key`; the key itself where there is none, so that a gap is seen.
    #[must_use]
    pub fn text<'a>(&'a self, key: &'a str) -> &'a str {
        self.texts().get(key).and_then(Value::as_str).unwrap_or(key)
    }

    /// The text of `key` with `{name}` replaced by its value.
    #[must_use]
    pub fn fill(&self, key: &str, values: &[(&str, &str)]) -> String {
        let mut rest = self.text(key);
        let mut out = String::with_capacity(rest.len() + 16);
        // In one pass, so that a value with braces in it stays a value.
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let found = after.split_once('}').and_then(|(name, after)| {
                let (_, value) = values.iter().find(|(known, _)| *known == name)?;
                Some((*value, after))
            });
            rest = match found {
                Some((value, after)) => {
                    out.push_str(value);
                    after
                }
                None => {
                    out.push('{');
                    after
                }
            };
        }
        out.push_str(rest);
        out
    }

    /// `KSh 1,000`.
    #[must_use]
    pub fn money(&self, amount: Shillings) -> String {
        self.fill("price", &[("amount", &grouped(amount.0))])
    }

    /// The two largest units that are not zero: `1 hour 30 minutes`, `59 minutes 59 seconds`, `2 days`.
    #[must_use]
    pub fn duration(&self, length: Seconds) -> String {
        const UNITS: [(u64, &str, &str); 4] = [
            (86_400, "day_one", "day_many"),
            (3_600, "hour_one", "hour_many"),
            (60, "minute_one", "minute_many"),
            (1, "second_one", "second_many"),
        ];
        let count = |n: u64, (_, one, many): (u64, &str, &str)| {
            if n == 1 { self.text(one).to_owned() } else { self.fill(many, &[("n", &grouped(n))]) }
        };
        let first = UNITS.iter().position(|(size, ..)| length.0 >= *size).unwrap_or(UNITS.len() - 1);
        let unit = UNITS[first];
        let mut text = count(length.0 / unit.0, unit);
        if let Some(next) = UNITS.get(first + 1)
            && let more @ 1.. = length.0 % unit.0 / next.0
        {
            text.push(' ');
            text.push_str(&count(more, *next));
        }
        text
    }

    /// A moment by East Africa's clocks: `14:05`, or with its day `Tue 24 Nov 14:05`.
    #[must_use]
    pub fn moment(&self, at: Wall, with_day: bool) -> String {
        let local = at.0.saturating_add(EAST_AFRICA);
        let written = Wall(local).to_rfc3339();
        let part = |from: usize, to: usize| written.get(from..to).unwrap_or_default();
        let time = part(11, 16);
        if !with_day {
            return time.to_owned();
        }
        let name = |key: &'static str, place: usize| self.text(key).split(' ').nth(place).unwrap_or_default();
        // 1970 began on a Thursday.
        let weekday = usize::try_from((local / 86_400_000 + 4) % 7).unwrap_or_default();
        let month = part(5, 7).parse::<usize>().unwrap_or(1);
        format!("{} {} {} {time}", name("days", weekday), part(8, 10).trim_start_matches('0'), name("months", month.saturating_sub(1)))
    }

    /// The unit names for the script, which counts down between two answers of the router.
    #[must_use]
    pub fn units(&self) -> Value {
        let unit = |name: &str| serde_json::json!([self.text(&format!("{name}_one")), self.text(&format!("{name}_many"))]);
        serde_json::json!({"day": unit("day"), "hour": unit("hour"), "minute": unit("minute"), "second": unit("second")})
    }

    /// `up to 5 Mbps`.
    #[must_use]
    pub fn speed(&self, speed: Kbps) -> String {
        let text = if speed.0 < 1_000 { format!("{} kbps", speed.0) } else { format!("{} Mbps", decimals(speed.0 / 100, 1)) };
        self.fill("speed", &[("speed", &text)])
    }
}

/// `500 MB`, `1.5 GB`: rounded down, so that nobody is promised a byte that is not there.
#[must_use]
pub fn data(bytes: Bytes) -> String {
    match bytes.0 {
        0..10_000_000 => format!("{} MB", decimals(bytes.0 / 100_000, 1)),
        10_000_000..1_000_000_000 => format!("{} MB", bytes.0 / 1_000_000),
        _ => format!("{} GB", decimals(bytes.0 / 10_000_000, 2)),
    }
}

/// A number of `10^-places` as a decimal without needless zeros.
fn decimals(number: u64, places: u32) -> String {
    let scale = 10u64.pow(places);
    let width = places as usize;
    let text = format!("{}.{:0width$}", grouped(number / scale), number % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::tree::BTreeSet;

    #[test]
    fn every_language_has_the_same_texts() {
        let keys = |language: &Language| -> BTreeSet<String> {
            let text = TEXTS.iter().find(|(code, _)| *code == language.code).expect("it is one of ours").1;
            let texts: Map<String, Value> = serde_json::from_str(text).expect(language.code);
            assert!(
                texts.values().all(|text| text.as_str().is_some_and(|text| !text.trim().is_empty())),
                "{}: an empty text",
                language.code
            );
            texts.keys().cloned().collect()
        };
        let placeholders = |text: &str| -> BTreeSet<String> {
            text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect()
        };
        let languages = Languages::embedded();
        let english = &languages.0[0];
        assert_eq!(english.code, "en", "English is what everybody else gets");
        assert!(languages.0.len() >= 2);
        for language in languages.iter() {
            assert_eq!(keys(language), keys(english), "{}", language.code);
            for key in keys(english) {
                // "1 hour" may be said without its number; everything else says the same things.
                assert_eq!(placeholders(language.text(&key)), placeholders(english.text(&key)), "{} in {}", key, language.code);
            }
        }
    }

    #[test]
    fn the_phone_chooses_the_language_and_a_link_overrides_it() {
        let languages = Languages::embedded();
        for (asked, accepted, chosen) in [
            (None, None, "en"),
            (None, Some("sw-KE,sw;q=0.9,en;q=0.8"), "sw"),
            (None, Some("en-GB, sw;q=0.9"), "en"),
            (None, Some("fr;q=1, sw;q=0.2, en;q=0.1"), "sw"),
            (None, Some("fr, sw;q=0"), "en"),
            (None, Some("sw;q=0.25, en;q=0.3"), "en"),
            (None, Some("sw;q=.5, en;q=0.499"), "sw"),
            (None, Some(";;,,q=;"), "en"),
            (None, Some("SW"), "sw"),
            (Some("sw"), Some("en"), "sw"),
            (Some("en"), Some("sw"), "en"),
            (Some("xx"), Some("sw"), "sw"),
        ] {
            assert_eq!(languages.choose(asked, accepted).code, chosen, "{asked:?} {accepted:?}");
        }
    }

    #[test]
    fn quantities_as_people_read_them() {
        let languages = Languages::embedded();
        let (en, sw) = (languages.choose(Some("en"), None), languages.choose(Some("sw"), None));
        for (seconds, english, swahili) in [
            (0, "0 seconds", "sekunde 0"),
            (1, "1 second", "sekunde 1"),
            (59, "59 seconds", "sekunde 59"),
            (60, "1 minute", "dakika 1"),
            (3_599, "59 minutes 59 seconds", "dakika 59 sekunde 59"),
            (3_600, "1 hour", "saa 1"),
            (5_400, "1 hour 30 minutes", "saa 1 dakika 30"),
            (86_400, "1 day", "siku 1"),
            (7 * 86_400, "7 days", "siku 7"),
            (90_061, "1 day 1 hour", "siku 1 saa 1"),
        ] {
            assert_eq!((en.duration(Seconds(seconds)).as_str(), sw.duration(Seconds(seconds)).as_str()), (english, swahili));
        }
        for (amount, text) in [(0, "KSh 0"), (10, "KSh 10"), (1_000, "KSh 1,000"), (1_234_567, "KSh 1,234,567")] {
            assert_eq!(en.money(Shillings(amount)), text);
        }
        for (bytes, text) in [
            (0, "0 MB"),
            (99_999, "0 MB"),
            (1_550_000, "1.5 MB"),
            (9_999_999, "9.9 MB"),
            (10_000_000, "10 MB"),
            (499_999_999, "499 MB"),
            (1_000_000_000, "1 GB"),
            (1_500_000_000, "1.5 GB"),
            (2_559_999_999, "2.55 GB"),
        ] {
            assert_eq!(data(Bytes(bytes)), text);
        }
        for (kbps, text) in [(512, "up to 512 kbps"), (1_000, "up to 1 Mbps"), (2_500, "up to 2.5 Mbps"), (5_000, "up to 5 Mbps")] {
            assert_eq!(en.speed(Kbps(kbps)), text);
        }
    }

    #[test]
    fn moments_are_those_of_clocks_in_kenya() {
        let languages = Languages::embedded();
        let (en, sw) = (languages.choose(Some("en"), None), languages.choose(Some("sw"), None));
        for (utc, english, swahili) in [
            ("2026-11-22T09:30:00Z", "Sun 22 Nov 12:30", "Jpl 22 Nov 12:30"),
            ("2026-11-24T21:05:59Z", "Wed 25 Nov 00:05", "Jtn 25 Nov 00:05"),
            ("2027-02-28T20:59:00Z", "Sun 28 Feb 23:59", "Jpl 28 Feb 23:59"),
            ("2027-12-31T21:00:00Z", "Sat 1 Jan 00:00", "Jms 1 Jan 00:00"),
        ] {
            let at = Wall::from_rfc3339(utc).unwrap();
            assert_eq!((en.moment(at, true).as_str(), sw.moment(at, true).as_str()), (english, swahili), "{utc}");
            assert_eq!(en.moment(at, false), english[english.len() - 5..], "{utc}");
        }
        for language in languages.iter() {
            assert_eq!(
                (language.text("days").split(' ').count(), language.text("months").split(' ').count()),
                (7, 12),
                "{}",
                language.code
            );
        }
    }

    #[test]
    fn a_value_is_never_read_as_a_placeholder() {
        let languages = Languages::embedded();
        let en = languages.choose(None, None);
        assert_eq!(en.fill("wait_what", &[("label", "{price}"), ("price", "KSh 10")]), "{price} for KSh 10");
        assert_eq!(en.fill("wait_what", &[]), "{label} for {price}");
        assert_eq!(en.text("no_such_key"), "no_such_key");
    }
}
