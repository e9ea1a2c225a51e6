//! `make test-firmware`: the package on an emulated ARM router that boots, sells and loses its power, in the lab. docs/firmware.md says
//! what is real and what a stand-in.
//!
//! `lango-firmware [--quick] [--page FILE] FOLDER…`: a folder a router, as `tools/firmware.sh` makes it.

mod by_hand;
mod cuts;
mod emulate;
mod idle;
mod machine;
mod page;
mod provisioning;
mod recipe;
mod story;
mod street;
mod unpaid;
mod updates;

use anyhow::{Context, Result, ensure};
use lango_lab::rights;
use machine::Image;
use page::Figures;
use std::path::PathBuf;

#[derive(Default)]
struct Arguments {
    quick: bool,
    page: Option<PathBuf>,
    folders: Vec<PathBuf>,
}

fn main() {
    let result = arguments().and_then(|arguments| run(&arguments));
    rights::remove_live();
    if let Err(error) = result {
        eprintln!("firmware: {error:#}");
        std::process::exit(1);
    }
}

fn arguments() -> Result<Arguments> {
    let mut read = Arguments::default();
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--quick") => read.quick = true,
            Some("--page") => read.page = Some(words.next().context("--page wants a file")?.into()),
            _ => read.folders.push(word.into()),
        }
    }
    ensure!(!read.folders.is_empty(), "usage: lango-firmware [--quick] [--page FILE] FOLDER…");
    ensure!(!read.quick || read.page.is_none(), "a short run measures too little for the page");
    Ok(read)
}

fn run(arguments: &Arguments) -> Result<()> {
    for folder in &arguments.folders {
        let name = folder.file_name().and_then(|name| name.to_str()).context("a folder's name is the router's processor")?.to_owned();
        let image = Image::at(folder)?;
        println!("{name}, {} MB", image.board().memory.ram_mb);
        let mut figures = Figures::default();
        story::run(&image, arguments.quick, &mut figures);
        if !arguments.quick {
            idle::run(&image, &mut figures);
            emulate::run(&image);
        }
        arguments.page.as_deref().map_or(Ok(()), |file| page::write(file, &name, &figures))?;
    }
    println!("It boots, sells, and keeps every session and every shilling through power cuts: all of it was seen.");
    Ok(())
}
