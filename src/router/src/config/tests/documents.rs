//! Files as they are: read, refused, shipped, described; and any bytes at all.

use super::*;

#[test]
fn files_are_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lango");
    let name = path.display();

    let (said, code) = check(&path);
    assert_eq!((code, said.len()), (78, 1));
    assert!(said[0].starts_with(&format!("{name}: it cannot be read (")) && said[0].contains("--config"), "{}", said[0]);

    std::fs::write(&path, full()).unwrap();
    assert_eq!(
        check(&path),
        (
            vec![format!(
                "{name}: in order. Router kibera-7, 1 package, relay over mqtts://mqtt.example.org:8883, accounts by RADIUS, https://kibera-7.hs.example.org:8443/."
            )],
            0
        )
    );
    assert_eq!(load(&path).unwrap(), read(&full()));

    std::fs::write(&path, full().replace('\n', "\r\n")).unwrap();
    assert_eq!(load(&path).unwrap(), read(&full()), "line ends of Windows");

    std::fs::write(&path, SMALL.replace("day", "day-pass")).unwrap();
    let (said, code) = check(&path);
    assert_eq!(code, 78);
    assert_eq!(
        said[0],
        format!(
            "{name}:1: nothing is sold: there is no package section; add a package section, or a radius section for accounts that are sold elsewhere"
        )
    );
    assert_eq!(
        said[1],
        format!("{name}:5: the section's name has other characters than letters, digits and _; choose a name such as two_hours")
    );

    std::fs::write(&path, vec![b'#'; 300_000]).unwrap();
    assert!(matches!(load(&path), Err(LoadError::Unreadable { .. })));
}

#[test]
fn a_package_without_an_end_is_sold_and_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lango");
    let endless = full().replace("option minutes", "# minutes").replace("option megabytes", "# megabytes");
    let limits = read(&endless).packages[0].limits;
    assert_eq!((limits.time, limits.data, limits.devices), (None, None, 1));
    std::fs::write(&path, &endless).unwrap();
    let (said, code) = check(&path);
    let warning = "package 'hour' never ends: it has neither minutes nor megabytes; leave it so where that is meant; give it one of the two otherwise";
    assert_eq!((code, said.len(), said[0].as_str()), (0, 2, format!("{}:28: {warning}", path.display()).as_str()));
    assert!(said[1].contains(": in order. "), "{said:?}");
    // A limit that is wrong is no limit that is absent.
    std::fs::write(&path, full().replace("option megabytes", "# megabytes").replace("minutes '60'", "minutes '0'")).unwrap();
    let (said, code) = check(&path);
    assert!(code == 78 && said.len() == 1 && said[0].contains("'minutes' is"), "{said:?}");
}

#[test]
fn the_control_socket_is_found_whatever_else_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lango");
    for (text, control) in [
        (full().replace("/var/run/lango.sock", "/tmp/a.sock"), "/tmp/a.sock"),
        (full().replace("/var/run/lango.sock", "/tmp/a.sock").replace("option minutes", "option minuets"), "/tmp/a.sock"),
        ("config gateway\n\toption control /tmp/a.sock\n\toption name 'kib\nnonsense\n".to_owned(), "/tmp/a.sock"),
        ("config gateway\n\toption control /tmp/a.sock\n\toption control /tmp/b.sock\n".to_owned(), "/tmp/b.sock"),
        // None that could be one.
        (full().replace("/var/run/lango.sock", "sock"), CONTROL),
        (full().replace("option control", "option contrl"), CONTROL),
        ("config gateway\n\toption control '/tmp/a.sock\n".to_owned(), CONTROL),
        ("config relay\n\toption control /tmp/a.sock\n".to_owned(), CONTROL),
        (String::new(), CONTROL),
    ] {
        std::fs::write(&path, &text).unwrap();
        assert_eq!(control_of(&path).unwrap(), Path::new(control), "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(control_of(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_config_that_is_shipped_is_in_order() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../images/files/etc/config/lango"));
    let config = load(path).unwrap_or_else(|error| panic!("{error}"));
    assert!(!config.packages.is_empty());
    // What stands there commented out must be right, too, once its placeholders are filled in.
    let text = std::fs::read_to_string(path).unwrap();
    let example: String = text
        .lines()
        .map(|line| {
            line.strip_prefix("#config").map_or_else(|| line.strip_prefix("#\t").unwrap_or(line).to_owned(), |rest| format!("config{rest}"))
                + "\n"
        })
        .collect();
    let config = read(&example.replace("PUBLIC KEY", KEY).replace("RELEASE KEY", RELEASE_KEY));
    assert!(config.relay.is_some() && config.update.is_some());
}

#[test]
fn every_option_is_in_the_documentation() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md")).unwrap();
    // What came after the contract's example was written.
    let more = |text: String| {
        text.replacen(
            "	list allow",
            "	option isolate '1'
	option checkpoint '60'
	list allow",
            1,
        )
    };
    let full = || {
        more(full())
            .replacen(
                "	option relay_key",
                "	option end_notice '10'
	option relay_key",
                1,
            )
            .replace("	option coa_port '3799'\n", &format!("	option coa_port '3799'\n{}", radius::MORE_RADIUS))
            + "config portal 'portal'
	option name 'Mama'
	option logo '/a'
	option colour '#0a6b3b'
	option colour_dark '#5bd197'
	option support '0712345678'
	list terms 'en:/a'
	option templates '/a'
"
    };
    let (file, _) = uci::parse(full().as_bytes());
    for section in &file.sections {
        assert!(page.contains(&format!("config {}", section.kind)), "section {}", section.kind);
        for option in &section.options {
            assert!(page.contains(&format!("| `{}` |", option.name)), "option {} of {}", option.name, section.kind);
        }
    }
    // And the example above has every option that there is: an unknown one makes the program tell them all.
    for section in &file.sections {
        let odd = full().replace(
            &format!("config {} '{}'", section.kind, section.name.as_deref().unwrap_or_default()),
            &format!("config {} 'x'\n\toption qqqqqqqqqqqqqqqqq 1", section.kind),
        );
        let said = mistakes(&odd).concat();
        let known: Vec<_> = said.split_once("known are ").unwrap().1.split(", ").collect();
        let mut shown: Vec<_> = section.options.iter().map(|option| option.name.as_str()).collect();
        shown.sort_unstable();
        assert_eq!(known, shown);
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(edits in proptest::collection::vec((0usize..2_000, prop_oneof![Just("'"), Just("\n"), Just("config "), Just("list "), Just("\\"), Just(";"), Just("-"), Just("0"), Just("é")]), 1..6)) {
        let mut text = full();
        for (at, piece) in edits {
            let at = (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            text.insert_str(at, piece);
        }
        let lines = text.matches('\n').count() + 1;
        if let Err(mistakes) = parse("lango", text.as_bytes()) {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.iter().all(|mistake| (1..=lines).contains(&(mistake.fault.line as usize))));
        }
    }
}
