//! The portal section, and the operator's files that it names.

use super::*;

#[test]
fn a_portal_section() {
    assert_eq!(read(&full()).portal, Portal::default());
    let portal = |options: &str| full() + "config portal\n" + options;
    let first = full().lines().count() + 2;
    let whole = read(&portal(
        "\toption name 'Mama Achieng\u{2019}s Wi-Fi'\n\toption logo '/etc/lango/logo.svg'\n\toption colour '#7A1fa2'\n\toption support '+254 712-345 678'
\tlist terms 'en:/etc/lango/terms.en.txt'\n\tlist terms 'sw:/etc/lango/terms.sw.txt'\n\toption templates '/etc/lango/portal'\n",
    ))
    .portal;
    assert_eq!(whole.name.as_deref(), Some("Mama Achieng\u{2019}s Wi-Fi"));
    assert_eq!(whole.support, Some(Support { tel: "+254712345678".to_owned(), shown: "+254 712-345 678".to_owned() }));
    let line = |line: usize| u32::try_from(first + line).unwrap();
    assert_eq!(whole.logo, Some(Placed { value: PathBuf::from("/etc/lango/logo.svg"), line: line(1) }));
    let terms: Vec<_> = whole.terms.iter().map(|placed| (placed.value.0.as_str(), placed.line)).collect();
    assert_eq!(terms, [("en", line(4)), ("sw", line(5))]);
    assert_eq!(whole.templates.unwrap().line, line(6));
    let colours = whole.colours.unwrap();
    assert_eq!(colours.light.to_string(), "#7a1fa2");
    assert!(colours.dark.check(true).is_ok(), "the one for dark is made of the other");

    let phone = "it must be a phone number, as 0712 345 678 or +254 712 345 678";
    for (option, told) in [
        ("colour 'green'", "'colour' is \"green\"; it must be a colour as #0a6b3b: a # and six hexadecimal digits, in quotes"),
        (
            "colour '#ffcc00'",
            "'colour' is #ffcc00, and has a contrast of 1.40:1 only, where the pages' background is #faf6ee; it must be 4.5:1 (WCAG 2.2) or more: ",
        ),
        ("colour_dark '#5bd197'", "'colour_dark' is of no use without 'colour'; add: option colour '#0a6b3b'"),
        ("support '0712'", ""),
        ("support 'call me'", phone),
        ("support '+'", phone),
        ("support '0712345678901234'", phone),
        ("logo 'logo.svg'", "it must be a path from the root on"),
        ("name ''", "'name' is empty"),
        (
            "terms '/etc/lango/terms.txt'",
            "it must be a language and a path from the root on, as en:/etc/lango/terms.en.txt; the languages are those of the portal: en, sw",
        ),
        ("terms 'fr:/etc/lango/terms.txt'", "it must be a language and a path"),
        ("color '#0a6b3b'", "portal has no option 'color'; did you mean 'colour'?"),
    ] {
        let text = portal(&format!("\toption {option}\n"));
        match told {
            "" => drop(read(&text)),
            told => {
                let said = mistakes(&text).join("\n");
                assert!(said.starts_with(&format!("lango:{first}: ")) && said.contains(told), "{option}: {said}");
            }
        }
    }
    let twice = portal("\tlist terms 'en:/a'\n\tlist terms 'en:/b'\n");
    let said = format!("lango:{}: the terms in 'en' are said twice (line {first} has the first); keep one of the two lines", first + 1);
    assert_eq!(mistakes(&twice), [said]);
}

/// A configuration in a folder of its own, with a portal section and the files that it names.
fn branded(options: &str, files: &[(&str, &[u8])]) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let here = folder.path().display().to_string();
    std::fs::write(folder.path().join("lango"), format!("config portal\n{}\n{SMALL}", options.replace("HERE", &here))).unwrap();
    let (lines, _) = check(&folder.path().join("lango"));
    let lines = lines.into_iter().map(|line| line.replace(&here, "HERE")).collect();
    (folder, lines)
}

#[test]
fn files_of_the_portal_are_checked() {
    let logo: (&str, &[u8]) = ("logo.svg", b"<svg/>");
    let sound = branded(
        "\toption logo 'HERE/logo.svg'\n\tlist terms 'en:HERE/terms'\n\toption templates 'HERE/portal'\n",
        &[
            logo,
            ("terms", b"Be kind."),
            ("portal/pages/error.html", b"<h1>{{heading}}</h1>{{text}}"),
            ("portal/style.css", b"body{margin:0}"),
            ("portal/locale/sw.json", b"{\"log_in\": \"Karibu\"}"),
            ("portal/README", b"ours"),
        ],
    );
    assert!(sound.1.concat().contains("in order"), "{:?}", sound.1);
    for (options, files, told) in [
        (
            "\toption logo 'HERE/none.svg'",
            vec![],
            "HERE/lango:2: 'logo' names HERE/none.svg, which cannot be read (No such file or directory (os error 2)); put the file there, or take the line out",
        ),
        (
            "\toption logo 'HERE/logo.svg'",
            vec![("logo.svg", &b"GIF89a"[..])],
            "HERE/lango:2: 'logo' names HERE/logo.svg, which is neither an SVG nor a PNG file by its first bytes; save it as one of the two",
        ),
        (
            "\toption logo 'HERE/logo.svg'",
            vec![("logo.svg", &[b' '; 16 * 1024 + 1][..])],
            "HERE/lango:2: 'logo' names HERE/logo.svg, which cannot be read (it is larger than 16 KiB); put the file there, or take the line out",
        ),
        (
            "\tlist terms 'sw:HERE/terms'",
            vec![("terms", &b" \n"[..])],
            "HERE/lango:2: 'terms' names HERE/terms, which is empty; write the terms into it",
        ),
        (
            "\tlist terms 'sw:HERE/terms'",
            vec![("terms", &b"\xff\xfe"[..])],
            "HERE/lango:2: 'terms' names HERE/terms, which is not UTF-8 text; save it in UTF-8",
        ),
        (
            "\toption templates 'HERE/portal'",
            vec![],
            "HERE/lango:2: 'templates' names HERE/portal, which is no folder; make it, or take the line out",
        ),
        (
            "\toption templates 'HERE/portal'",
            vec![("portal/pages/buy.html", &b"\n{{pricee}}"[..])],
            "HERE/portal/pages/buy.html:2: no page gives the value 'pricee'; did you mean 'price'?",
        ),
        (
            "\toption templates 'HERE/portal'",
            vec![("portal/pages/by.html", &b"x"[..])],
            "HERE/portal/pages/by.html:1: the portal has no such file; did you mean 'pages/buy.html'?",
        ),
        (
            "\toption templates 'HERE/portal'",
            vec![("portal/locale/sw.json", &b"{\n\"x\": \"y\"}"[..])],
            "HERE/portal/locale/sw.json:2: there is no text 'x'; web/ in the sources has all that are known",
        ),
        (
            "\toption templates 'HERE/portal'",
            vec![("portal/style.css", &b"\xff"[..])],
            "HERE/portal/style.css:1: this file is not UTF-8 text; save it in UTF-8",
        ),
        (
            "\toption templates 'HERE/portal'",
            vec![("portal/script.js", &b"x\n</script>"[..])],
            "HERE/portal/script.js:2: this would end the script; write it as '<\\/script', or take it out",
        ),
    ] {
        assert_eq!(branded(options, &files).1, [told], "{options}");
    }
}

#[test]
fn no_file_of_the_portal_keeps_a_router_from_its_gate() {
    let place = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("logo.svg", &"x".repeat(20 * 1024));
    put("terms", "");
    put("portal/pages/error.html", "<h1>{{headin}}</h1>");
    put("portal/pages/facts.html", "{{>facts}}");
    put("portal/pages/login.html", "<h1>{{t.log_in}}</h1>");
    put("portal/locale/en.json", "{\"pay\": \"Cheap\"}");
    put("portal/script.js", "</script>");
    put("portal/more.css", "a{}");
    let here = place.path().display();
    let config = format!(
        "{SMALL}config portal\n\toption name Mama\n\toption logo {here}/logo.svg\n\tlist terms en:{here}/terms\n\tlist terms sw:{here}/gone\n\
         \toption templates {here}/portal\n"
    );
    put("lango", &config);
    let path = place.path().join("lango");
    let (config, own, mistakes) = load_to_start(&path).unwrap();
    assert_eq!(config.portal.name.as_deref(), Some("Mama"));
    assert_eq!(mistakes.len(), 7, "{mistakes:?}");
    let pages: Vec<&str> = own.pages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(pages, ["login"], "what is right is taken");
    assert!(own.logo.is_none() && own.terms.is_empty() && own.texts.is_empty() && own.inlined.script.is_none());
    assert_eq!(own.inlined.more.as_deref(), Some("a{}"));
    // A reload and `lango check` refuse the same.
    let Err(LoadError::Mistakes { mistakes: told }) = load_whole(&path) else { panic!() };
    assert_eq!(told, mistakes);
    // A mistake of the configuration itself ends the start.
    put("lango", &SMALL.replace("option wan", "option van"));
    assert!(load_to_start(&path).is_err());
}

#[test]
fn a_style_and_a_script_are_read_as_browsers_read_them() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("portal");
    std::fs::create_dir(&folder).unwrap();
    for name in ["style.css", "more.css", "script.js"] {
        std::fs::write(folder.join(name), "\u{feff}a\r\nb\rc\n").unwrap();
    }
    let path = place.path().join("lango");
    std::fs::write(&path, format!("{SMALL}config portal\n\toption templates {}\n", folder.display())).unwrap();
    let (_, own) = load_whole(&path).unwrap();
    for part in [own.inlined.style, own.inlined.more, own.inlined.script] {
        assert_eq!(part.as_deref(), Some("a\nb\nc\n"), "else its hash in the policy is another's");
    }
}

/// What docs/branding.md shows, at a router's places.
#[test]
fn the_example_of_a_portal_of_one_s_own_is_in_order() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/portal");
    let section = std::fs::read_to_string(format!("{folder}/lango")).unwrap().replace("/etc/lango/portal", folder);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("lango");
    std::fs::write(&file, format!("{SMALL}{section}")).unwrap();
    let (config, own) = load_whole(&file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.portal.name.as_deref(), Some("Mama Achieng Wi-Fi"));
    assert!(own.logo.is_some() && own.terms.len() == 2 && own.pages.len() == 1 && own.texts.len() == 2 && own.inlined.more.is_some());
}
