//! Injects faults in debug builds, for tests. A release build contains none of this code.
//!
//! The environment variable `PHONEGATE_FAULT` holds a list of faults, separated by commas. Each is the name of a
//! failpoint, such as `backend.place`, or a name and a value: `install.library_hash=0f3a…`. What a fault does is up to its
//! failpoint: [`hit`] panics, [`block`] blocks the thread, the others behave as their code says.

/// The environment variable that holds the faults.
const VARIABLE: &str = "PHONEGATE_FAULT";

/// Panics if the failpoint is set.
pub fn hit(_name: &str) {
    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "the tests check that a host survives a panic")]
    if is_set(_name) {
        panic!("fault injected at {_name}");
    }
}

/// Blocks this thread for ever if the failpoint is set, as a defect could.
pub fn block(_name: &str) {
    #[cfg(debug_assertions)]
    while is_set(_name) {
        std::thread::park();
    }
}

/// Returns whether the failpoint is set, with or without a value. Always false in a release build.
pub fn is_set(name: &str) -> bool {
    find(name).is_some()
}

/// Returns the value of a failpoint. `None` if it is not set or has none, and in a release build.
pub fn value(name: &str) -> Option<String> {
    find(name).flatten()
}

fn find(name: &str) -> Option<Option<String>> {
    if !cfg!(debug_assertions) {
        return None;
    }
    parse(&std::env::var(VARIABLE).ok()?, name)
}

/// Finds a failpoint in a list. Returns its value, if it has one.
fn parse(faults: &str, name: &str) -> Option<Option<String>> {
    faults.split(',').find_map(|fault| match fault.split_once('=') {
        Some((found, value)) if found == name => Some(Some(value.to_owned())),
        None if fault == name => Some(None),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_list_names_failpoints_and_values() {
        let faults = "store.next_schema,install.library_hash=0f=3a,install.fail=make shim";
        for (name, expected) in [
            ("store.next_schema", Some(None)),
            ("install.library_hash", Some(Some("0f=3a"))),
            ("install.fail", Some(Some("make shim"))),
            ("store.next", None),
            ("install.library", None),
            ("", None),
        ] {
            assert_eq!(parse(faults, name), expected.map(|value| value.map(str::to_owned)), "{name}");
        }
        assert_eq!(parse("", "store.next_schema"), None);
    }
}
