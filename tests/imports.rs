//! The order of the modules of `src`: a module imports only modules of lower layers. Cargo enforces the same between
//! crates.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `src`, lowest layer first. Modules of one layer do not import each other.
const LAYERS: &[&[&str]] = &[
    &["no_duplicate_keys", "sync"],
    &["config"],
    &["prompts", "telemetry"],
    &["admission", "registry", "store"],
    &["approval"],
    &["backend"],
    &["alerts"],
    &["engine"],
    &["gate"],
    &["abi"],
];

/// An import that the order forbids.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: PathBuf,
    line: usize,
    module: String,
    imported: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, module, imported } = self;
        write!(
            f,
            "{}:{line}: `{module}` imports `{imported}`, which is not in a lower layer. Move the shared type to the \
             lowest module that needs it, or to crates/core, or pass a value or a closure in. The order is LAYERS in \
             tests/imports.rs",
            file.display()
        )
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The path of a file's module below the crate's root: `store/redis/keys.rs` is `["store", "redis", "keys"]`.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<_> = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    path.pop_if(|last| last == "mod");
    path
}

/// The lines that are compiled outside of tests, each with its number. Tests may import any module.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_test = |line: &str| line.trim_start().starts_with("#[cfg(test)]");
    let is_module = |line: &str| line.contains("mod ") && line.ends_with('{');
    // A module of tests in the same file is its last item.
    let tests = text.lines().zip(text.lines().skip(1)).position(|(line, next)| is_test(line) && is_module(next));
    let code = |line: &str| !line.trim_start().starts_with("//");
    (1..).zip(text.lines()).take(tests.unwrap_or(usize::MAX)).filter(move |(_, line)| code(line))
}

/// The names of the crate's own modules that a line refers to: behind `crate::`, or behind as many `super::` as lead to
/// the crate's root from a module `depth` below it.
fn imports(line: &str, depth: usize) -> Vec<String> {
    let to_root = "super::".repeat(depth);
    let mut names = Vec::new();
    for prefix in ["crate::", &to_root] {
        for (at, _) in line.match_indices(prefix) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue;
            }
            let rest = &line[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group.split([',', '}']).map(first_name)),
                None => names.push(first_name(rest)),
            }
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    path.find(|c: char| !c.is_alphanumeric() && c != '_').map_or(path, |end| &path[..end])
}

/// Returns the forbidden imports of a file. `file` is relative to `src`.
fn breaches_in(file: &Path, text: &str) -> Vec<Breach> {
    let path = module_path(file);
    let module = path[0].clone();
    let own = layer(&module).unwrap_or_else(|| panic!("the module `{module}` is in no layer: add it to LAYERS"));
    let mut breaches = Vec::new();
    for (line, code) in product_lines(text) {
        for imported in imports(code, path.len()) {
            if imported != module && layer(&imported).is_some_and(|other| other >= own) {
                breaches.push(Breach { file: file.to_owned(), line, module: module.clone(), imported });
            }
        }
    }
    breaches
}

/// The sources of `src` that are compiled outside of tests: each file relative to `src`, and its text.
fn sources() -> Vec<(PathBuf, String)> {
    sources_below("src")
}

/// The same of another folder of the project.
fn sources_below(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.extend(path.extension().is_some_and(|extension| extension == "rs").then_some(path)),
            }
        }
    }
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let sources: Vec<_> = files.iter().map(|file| file.strip_prefix(&root).unwrap().to_owned()).zip(texts).collect();
    let tests: Vec<_> = sources.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    let is_product = |file: &Path| {
        let path = module_path(file);
        file != Path::new("lib.rs") && !tests.iter().any(|test| path.starts_with(test))
    };
    sources.into_iter().filter(|(file, _)| is_product(file)).collect()
}

/// The modules in files of their own that a file declares behind `#[cfg(test)]`.
fn test_modules(file: &Path, text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().zip(text.lines().skip(1));
    let declared = lines.filter(|(line, _)| line.trim() == "#[cfg(test)]").filter_map(|(_, next)| {
        let declaration = next.trim().strip_suffix(';')?;
        Some(declaration.rsplit(' ').next()?.to_owned())
    });
    declared.map(|name| module_path(file).into_iter().chain([name]).collect()).collect()
}

#[test]
fn modules_import_only_lower_layers() {
    let sources = sources();
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    let breaches: Vec<_> = sources.iter().flat_map(|(file, text)| breaches_in(file, text)).collect();
    let list: String = breaches.iter().map(|breach| format!("src/{breach}\n")).collect();
    assert!(breaches.is_empty(), "{} imports break the order:\n{list}", breaches.len());
}

#[test]
fn a_seeded_breach_is_found_in_every_form() {
    for (file, text, line, imported) in [
        ("store/mod.rs", "use crate::gate::Gate;\n", 1, "gate"),
        ("store/redis/link.rs", "//! Text.\nfn f() {\n    crate::abi::g();\n}\n", 3, "abi"),
        ("config/load.rs", "use crate::{call, telemetry::Log};\n", 1, "telemetry"),
        ("config/load.rs", "use super::super::store::CallStore;\n", 1, "store"),
        ("store/mod.rs", "pub(crate) use super::gate;\n", 1, "gate"),
        ("telemetry/mod.rs", "use crate::prompts::Prompts;\n", 1, "prompts"),
        ("store/mod.rs", "#[cfg(test)]\nfn f() {\n}\nuse crate::gate::Gate;\n", 4, "gate"),
    ] {
        let found = breaches_in(Path::new(file), text);
        let [breach] = found.as_slice() else { panic!("{text:?} in {file}: {found:?}") };
        assert_eq!((breach.line, breach.imported.as_str()), (line, imported), "{text:?} in {file}");
        assert!(breach.to_string().starts_with(&format!("{file}:{line}: ")), "{breach}");
    }
}

#[test]
fn allowed_imports_are_no_breaches() {
    for (file, text) in [
        ("gate.rs", "use crate::store::CallStore;\nuse crate::call::CallId;\n"),
        ("gate/start.rs", "use super::Gate;\nuse crate::gate::Gate;\n"),
        ("store/redis/link.rs", "use super::super::StoreError;\n"),
        ("store/mod.rs", "/// See [`crate::gate`].\n// crate::gate\n"),
        ("store/mod.rs", "use other_crate::gate;\n#[cfg(test)]\nmod tests {\n    use crate::gate::Gate;\n}\n"),
    ] {
        assert_eq!(breaches_in(Path::new(file), text), [], "{text:?} in {file}");
    }
}

#[test]
fn a_module_of_tests_may_import_any_module() {
    let declared = test_modules(Path::new("store/sqlite/mod.rs"), "mod calls;\n#[cfg(test)]\nmod cost;\n");
    assert_eq!(declared, [["store", "sqlite", "cost"]]);
}

/// [`phonegate::call::PhoneNumber::new`] is public, because it is in another crate than its one caller.
#[test]
fn only_admission_creates_phone_numbers() {
    for folder in ["src", "cli/src", "crates/deploy/src", "library"] {
        for (file, text) in sources_below(folder) {
            if folder == "src" && file.starts_with("admission") {
                continue;
            }
            for (line, code) in product_lines(&text) {
                let file = file.display();
                assert!(!code.contains("PhoneNumber::new"), "{folder}/{file}:{line}: use Admission::admit");
            }
        }
    }
}
