//! `include/phonegate.h` declares exactly the functions, types and numbers of the library.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{c_char, c_void};
use std::path::Path;
use std::process::Output;

use phonegate::abi::{ABI_VERSION, LogCallback, ResultCode};
use phonegate::call::CallStatus;
use phonegate::config::ErrorKind;
use support::{built_library, project_folder, tool};

/// The C spelling of a Rust type.
trait InC {
    const NAME: &str;
}

macro_rules! in_c {
    ($($rust:ty => $c:literal)*) => { $(impl InC for $rust { const NAME: &str = $c; })* };
}

in_c! {
    i32 => "int32_t"
    u32 => "uint32_t"
    usize => "size_t"
    *mut usize => "size_t *"
    *const c_char => "const char *"
    *mut c_char => "char *"
    *mut c_void => "void *"
    Option<LogCallback> => "void (*)(void *, int32_t, const char *)"
}

/// An export: the Rust compiler checks that the library's function has this type; C gets it from here.
macro_rules! export {
    ($safety:tt $name:ident($($argument:ty),*) -> $result:ty) => {{
        export!(@check $safety $name($($argument),*) -> $result);
        let arguments: &[&str] = &[$(<$argument as InC>::NAME),*];
        let arguments = if arguments.is_empty() { "void".to_owned() } else { arguments.join(", ") };
        (stringify!($name), format!("{} (*)({arguments})", <$result as InC>::NAME))
    }};
    (@check safe $name:ident($($argument:ty),*) -> $result:ty) => {
        let _: extern "C" fn($($argument),*) -> $result = phonegate::abi::$name;
    };
    (@check unsafe $name:ident($($argument:ty),*) -> $result:ty) => {
        let _: unsafe extern "C" fn($($argument),*) -> $result = phonegate::abi::$name;
    };
}

/// The exports by name, with their types as C writes them.
fn exports() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        export!(unsafe InitiateCall(*const c_char, *const c_char, *const c_char) -> i32),
        export!(unsafe GetCallStatus(*const c_char) -> i32),
        export!(unsafe GetFailureMessage(*const c_char, *mut c_char, usize, *mut usize) -> i32),
        export!(unsafe PhoneGateInitialize(*const c_char, *mut c_char, usize, *mut usize) -> i32),
        export!(safe PhoneGateShutdown(u32) -> i32),
        export!(unsafe PhoneGateSetLogCallback(Option<LogCallback>, *mut c_void) -> i32),
        export!(safe PhoneGateAbiVersion() -> u32),
        export!(safe PhoneGateVersion() -> *const c_char),
    ])
}

/// The constants by name. A new variant on the Rust side does not compile until it is here.
fn constants() -> BTreeMap<&'static str, i64> {
    let status = |status| match status {
        CallStatus::Pending => "PHONEGATE_PENDING",
        CallStatus::Success => "PHONEGATE_SUCCESS",
        CallStatus::Failed => "PHONEGATE_FAILED",
    };
    let result = |result| match result {
        ResultCode::Ok => "PHONEGATE_OK",
        ResultCode::InvalidArgument => "PHONEGATE_INVALID_ARGUMENT",
        ResultCode::InvalidUtf8 => "PHONEGATE_INVALID_UTF8",
        ResultCode::TextTooLong => "PHONEGATE_TEXT_TOO_LONG",
        ResultCode::BufferTooSmall => "PHONEGATE_BUFFER_TOO_SMALL",
        ResultCode::AlreadyInitialized => "PHONEGATE_ALREADY_INITIALIZED",
        ResultCode::InCallback => "PHONEGATE_IN_CALLBACK",
        ResultCode::TimedOut => "PHONEGATE_TIMED_OUT",
        ResultCode::Forked => "PHONEGATE_FORKED",
        ResultCode::Config(ErrorKind::NotFound) => "PHONEGATE_CONFIG_NOT_FOUND",
        ResultCode::Config(ErrorKind::Unreadable) => "PHONEGATE_CONFIG_UNREADABLE",
        ResultCode::Config(ErrorKind::Invalid) => "PHONEGATE_CONFIG_INVALID",
        ResultCode::Config(ErrorKind::SecretUnavailable) => "PHONEGATE_SECRET_UNAVAILABLE",
        ResultCode::Config(ErrorKind::StateFolder) => "PHONEGATE_STATE_FOLDER",
        ResultCode::Config(ErrorKind::UnsafePermissions) => "PHONEGATE_UNSAFE_PERMISSIONS",
        ResultCode::Config(ErrorKind::BackendUnusable) => "PHONEGATE_BACKEND_UNUSABLE",
        ResultCode::Internal => "PHONEGATE_INTERNAL",
    };
    let statuses = [CallStatus::Pending, CallStatus::Success, CallStatus::Failed];
    let results = [
        ResultCode::Ok,
        ResultCode::InvalidArgument,
        ResultCode::InvalidUtf8,
        ResultCode::TextTooLong,
        ResultCode::BufferTooSmall,
        ResultCode::AlreadyInitialized,
        ResultCode::InCallback,
        ResultCode::TimedOut,
        ResultCode::Forked,
        ResultCode::Config(ErrorKind::NotFound),
        ResultCode::Config(ErrorKind::Unreadable),
        ResultCode::Config(ErrorKind::Invalid),
        ResultCode::Config(ErrorKind::SecretUnavailable),
        ResultCode::Config(ErrorKind::StateFolder),
        ResultCode::Config(ErrorKind::UnsafePermissions),
        ResultCode::Config(ErrorKind::BackendUnusable),
        ResultCode::Internal,
    ];
    let statuses = statuses.map(|of| (status(of), i64::from(of as i32)));
    let results = results.map(|of| (result(of), i64::from(of.code())));
    let version = ("PHONEGATE_ABI_VERSION", i64::from(ABI_VERSION));
    statuses.into_iter().chain(results).chain([version]).collect()
}

fn header() -> String {
    std::fs::read_to_string(project_folder().join("include/phonegate.h")).unwrap()
}

/// Asks the C compiler whether a header has exactly these types and numbers.
fn c_agrees(header: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("phonegate.h"), header).unwrap();
    let mut program = "#include \"phonegate.h\"\n".to_owned();
    for (name, of_type) in exports() {
        program += &format!("_Static_assert(_Generic(&{name}, {of_type}: 1, default: 0), \"{name}\");\n");
    }
    for (name, number) in constants() {
        program += &format!("_Static_assert({name} == {number}, \"{name}\");\n");
    }
    program += "_Static_assert(_Generic((phonegate_status)0, int32_t: 1, default: 0), \"phonegate_status\");\n";
    program += "_Static_assert(_Generic((phonegate_result)0, int32_t: 1, default: 0), \"phonegate_result\");\n";
    let source = folder.path().join("asks.c");
    std::fs::write(&source, program).unwrap();
    tool("gcc", "gcc").args(["-std=c11", "-fsyntax-only", "-Werror"]).arg(&source).output().unwrap()
}

/// The functions that the header declares, as the C compiler saw them.
fn declared(header: &Path) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("declarations");
    let mut gcc = tool("gcc", "gcc");
    gcc.args(["-std=c99", "-fsyntax-only", "-x", "c", "-aux-info"]).arg(&list).arg(header);
    assert!(gcc.status().unwrap().success());
    // A line is: /* path:line:NC */ extern int32_t GetCallStatus (const char *);
    std::fs::read_to_string(list)
        .unwrap()
        .lines()
        .filter(|line| line.contains("phonegate.h:"))
        .map(|line| line.split(" (").next().unwrap().rsplit([' ', '*']).next().unwrap().to_owned())
        .collect()
}

/// The symbols that a library exports.
fn exported(library: &Path) -> BTreeSet<String> {
    let output =
        tool("nm", "binutils").args(["--dynamic", "--defined-only", "--format=posix"]).arg(library).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn exports_are_exactly_the_declared_functions() {
    let expected: BTreeSet<_> = exports().into_keys().map(str::to_owned).collect();
    assert_eq!(declared(&project_folder().join("include/phonegate.h")), expected);
    assert_eq!(exported(&built_library()), expected);
}

#[test]
fn types_and_numbers_match_the_library() {
    let output = c_agrees(&header());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_constant_of_the_header_matches_the_library() {
    let header = header();
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define PHONEGATE_")).filter_map(|line| {
        // The include guard has no value.
        let (name, value) = line.split_once(' ')?;
        let number = value.split_whitespace().next().unwrap().parse().unwrap();
        Some((format!("PHONEGATE_{name}"), number))
    });
    let expected: BTreeMap<_, i64> = constants().into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
    assert_eq!(defined.collect::<BTreeMap<_, i64>>(), expected);
    assert!(constants().values().all(|number| i32::try_from(*number).is_ok()));
}

#[test]
fn a_changed_header_is_detected() {
    for (true_text, drifted) in [
        ("#define PHONEGATE_SUCCESS 1", "#define PHONEGATE_SUCCESS 2"),
        ("uint32_t timeout_ms", "uint64_t timeout_ms"),
        ("typedef int32_t phonegate_status", "typedef int64_t phonegate_status"),
        ("const char *call_id, char *buffer", "const char *call_id, const char *buffer"),
        ("uint32_t PhoneGateAbiVersion(void)", "int32_t PhoneGateAbiVersion(void)"),
        ("int32_t level", "int64_t level"),
    ] {
        assert!(header().contains(true_text), "{true_text}");
        let output = c_agrees(&header().replace(true_text, drifted));
        assert!(!output.status.success(), "{drifted} went unnoticed");
    }
}

#[test]
fn the_header_is_c99_and_cpp() {
    let path = project_folder().join("include/phonegate.h");
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"];
    let mut c = tool("gcc", "gcc");
    let mut cpp = tool("g++", "g++");
    c.args(["-std=c99", "-x", "c"]).args(strict).arg(&path);
    cpp.args(["-std=c++17", "-x", "c++"]).args(strict).arg(&path);
    for mut compiler in [c, cpp] {
        let output = compiler.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_function_has_its_six_lines() {
    let header = header();
    for name in exports().keys() {
        let comment = header.split(&format!("/*\n * {name}\n")).nth(1).unwrap_or_else(|| panic!("{name} has none"));
        let comment = comment.split("*/").next().unwrap();
        let heads: Vec<_> = comment
            .lines()
            .filter_map(|line| line.strip_prefix(" * ").filter(|line| !line.starts_with(' ')))
            .filter_map(|line| line.split_once(':').map(|(head, _)| head))
            .collect();
        assert_eq!(heads, ["Does", "Takes", "Returns", "Blocks", "Ownership", "Since"], "{name}");
    }
}
