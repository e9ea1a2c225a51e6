//! Every example of the corpus goes through its target: what was found once stays found.

use std::fs;
use std::path::Path;

#[test]
fn every_example_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in lango_fuzz::TARGETS {
        let folder = corpus.join(name);
        let examples: Vec<_> = fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display())).collect();
        // A fuzzer that starts from nothing finds little in a minute.
        assert!(examples.len() >= 3, "{name} has {} examples", examples.len());
        for example in examples {
            let path = example.unwrap().path();
            println!("{name}: {}", path.display());
            target(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_folder_is_a_target_s() {
    for folder in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(lango_fuzz::target(&name).is_some(), "corpus/{name} belongs to no target");
    }
}
