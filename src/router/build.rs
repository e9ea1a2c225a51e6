//! Makes the fixed heads of the portal's pages: style and script inlined, in parts of which each page has those that it has something for, and
//! each compressed here, better than a router could, so that the first view is one request. One of each for all languages; an operator's own takes their place.
//!
//! The compressed form is raw DEFLATE (RFC 1951) that ends on a byte boundary and is not final: the program puts stored blocks
//! around it (`src/portal/gzip.rs`).
//!
//! And the linker's script for the routers' programs (`rare.rs`).

mod codes;
mod rare;
#[path = "src/portal/repeats.rs"]
mod repeats;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, FlushCompress};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What stands in the head, each where a page has something for it; the style is in every one, and what stands before it is in its part.
const PARTS: &[(&str, &str)] = &[
    ("STYLE", "style.css"),
    ("FORM", "form.css"),
    ("WAIT", "wait.css"),
    ("SCRIPT", "script.js"),
    ("LOGIN", "login.js"),
    ("FOLLOW", "follow.js"),
    ("LIVE", "live.js"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let web = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../web").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", web.display());

    let template = lean(&read(&web.join("head.html"))?);
    let [opening, before, end] = split(&template, ["{{lang}}", "{{parts}}"])?;
    let mut code = format!(
        "/// What stands before the language's code.\npub const OPENING: &str = {opening:?};\n\
         /// What stands before the style.\npub const BEFORE: &str = {before:?};\n"
    );
    if !end.is_empty() {
        return Err("web/head.html: nothing stands behind {{parts}}".into());
    }
    for (name, file) in PARTS {
        let (element, text) = match file.strip_suffix(".css") {
            Some(_) => ("style", lean(&read(&web.join(file))?)),
            None => ("script", tight(&lean(&read(&web.join(file))?))?),
        };
        let before = if *name == "STYLE" { before } else { "" };
        let packed = out.join(format!("{file}.deflate"));
        fs::write(&packed, deflate(format!("{before}<{element}>{text}</{element}>\n").as_bytes())?)?;
        writeln!(
            code,
            "/// `web/{file}`, as it is, compressed with what stands around it, and its hash for the Content-Security-Policy.\n\
             pub static {name}: Part = Part {{ element: {element:?}, plain: {text:?}, deflated: include_bytes!({packed:?}), hash: {:?} }};",
            hash(&text),
        )?;
    }
    code.push_str("/// The texts of each language by its code, as JSON; the first being the one for everybody else.\npub static TEXTS: &[(&str, &str)] = &[\n");
    for (language, path) in languages(&web.join("locale"))? {
        writeln!(code, "    ({language:?}, include_str!({path:?})),")?;
    }
    code.push_str("];\n");
    fs::write(out.join("portal_head.rs"), code)?;

    fs::write(out.join("portal_codes.rs"), codes::source(&samples(&web)?)?)?;

    // Updates over the air are for one target each.
    println!("cargo::rustc-env=LANGO_TARGET={}", env::var("TARGET")?);

    // Static programs alone: those of developers' machines are linked as everything there is.
    if env::var("CARGO_CFG_TARGET_ENV")? == "musl" {
        let script = out.join("rare.ld");
        fs::write(&script, rare::script())?;
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
    Ok(())
}

/// The text around the marks, which stand in it in this order.
fn split<'a, const N: usize, const M: usize>(text: &'a str, marks: [&str; N]) -> Result<[&'a str; M], String> {
    let mut parts = Vec::new();
    let mut rest = text;
    for mark in marks {
        let (before, after) = rest.split_once(mark).ok_or_else(|| format!("web/head.html: there is no {mark}, or it comes too early"))?;
        parts.push(before);
        rest = after;
    }
    parts.push(rest);
    parts.try_into().map_err(|_| "web/head.html: as many parts as marks, and one more".to_owned())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|cause| format!("{}: {cause}", path.display()))
}

/// English first: it is what a phone gets that speaks none of our languages.
fn languages(folder: &Path) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let (Some("json"), Some(language)) = (path.extension().and_then(|e| e.to_str()), path.file_stem().and_then(|s| s.to_str())) {
            found.push((language.to_owned(), path.clone()));
        }
    }
    found.sort_by_key(|(language, _)| (language != "en", language.clone()));
    Ok(found)
}

/// What pages look like behind their heads: each template within the layout, in each language, with the names of values in the place of these.
fn samples(web: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(web.join("pages"))? {
        let path = entry?.path();
        // What an editor leaves beside them is none.
        if path.extension().is_none_or(|e| e != "html") {
            continue;
        }
        pages.insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), read(&path)?);
    }
    let layout = pages.remove("layout").ok_or("web/pages: there is no layout.html")?;
    let mut samples = Vec::new();
    for (_, texts) in languages(&web.join("locale"))? {
        let texts: BTreeMap<String, String> = serde_json::from_str(&read(&texts)?)?;
        for page in pages.values() {
            let mut sample = String::new();
            fill(&layout.replace("{{>page}}", page), &pages, &texts, &mut sample);
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// A template with its texts and those that it has in it.
fn fill(template: &str, pages: &BTreeMap<String, String>, texts: &BTreeMap<String, String>, out: &mut String) {
    let mut rest = template;
    while let Some((before, (mark, after))) = rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?))) {
        out.push_str(before);
        rest = after;
        match (mark.strip_prefix('>').and_then(|name| pages.get(name)), mark.strip_prefix("t.").and_then(|key| texts.get(key))) {
            (Some(page), _) => fill(page, pages, texts, out),
            (_, Some(text)) => out.push_str(text),
            // A section's marks leave nothing.
            _ if mark.starts_with(['#', '^', '/']) => {}
            _ => out.push_str(mark),
        }
    }
    out.push_str(rest);
}

/// Without indentation, empty lines, and lines that are comments alone.
fn lean(text: &str) -> String {
    let kept = text.lines().map(str::trim).filter(|line| {
        let comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        !line.is_empty() && !comment
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// A script without the spaces and line ends that only people need: every page carries it. What stands in quotes stays as it is.
/// No regular expression in it has a quote or a space, and every statement ends with its semicolon. A `+` keeps its spaces: `a + +b` is
/// not `a++b`.
///
/// # Errors
/// When a comment stands behind code: what follows it would be on its line.
fn tight(script: &str) -> Result<String, String> {
    let aside = |c: char| "{}();,=*?:<>&|!".contains(c);
    let mut out = String::with_capacity(script.len());
    let (mut quote, mut escaped) = (None, false);
    let mut rest = script.chars().peekable();
    while let Some(c) = rest.next() {
        let idle = match c {
            ' ' => out.ends_with(aside) || rest.peek().copied().is_some_and(aside),
            '\n' => out.ends_with(['{', ';', ',']),
            _ => false,
        };
        if quote.is_none() && c == '/' && rest.peek() == Some(&'/') {
            let line: String = out.chars().rev().take_while(|c| *c != '\n').take(60).collect();
            let line: String = line.chars().rev().collect();
            return Err(format!(
                "web/*.js: a comment stands behind code: give it a line of its own, or put what is none in quotes: {line}//"
            ));
        }
        if quote.is_none() && idle {
            continue;
        }
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(end) if c == end && !escaped => quote = None,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    Ok(out)
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(bytes, &mut out, FlushCompress::Sync)?;
    if compress.total_in() != bytes.len() as u64 || !out.ends_with(&[0, 0, 0xff, 0xff]) {
        return Err("the head did not compress to a byte boundary".into());
    }
    Ok(out)
}
