//! Deflates the recordings of the prompts (RFC 1951), which makes the library a tenth smaller. A recording is inflated
//! when it is first played.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The strongest compression.
const LEVEL: u8 = 10;

fn main() {
    println!("cargo::rerun-if-changed=prompts");
    let from = Path::new("prompts");
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder"));
    for language in fs::read_dir(from).expect("the folder of the prompts").map(|entry| entry.expect("its entry").path())
    {
        if !language.is_dir() {
            continue;
        }
        let folder = to.join(language.file_name().expect("a name"));
        fs::create_dir_all(&folder).expect("a folder for a language");
        for recording in fs::read_dir(&language).expect("the folder of a language") {
            let recording = recording.expect("its entry").path();
            let deflated = miniz_oxide::deflate::compress_to_vec(&fs::read(&recording).expect("a recording"), LEVEL);
            fs::write(folder.join(recording.file_name().expect("a name")), deflated).expect("it is written");
        }
    }
}
