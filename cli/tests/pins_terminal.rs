//! A PIN that is typed at a terminal is asked for twice, and never shown.

mod support;

use std::os::unix::process::CommandExt;

use serde_json::json;
use support::terminal::Terminal;
use support::{MASKED, NUMBER, Place, kept};

const PIN: &str = "739104";

fn place() -> Place {
    let mut config = kept(None);
    config["approval"] = json!({ "pin": { "pepper": "not-a-real-pepper-0123456789abcdef" } });
    Place::with_store(&config)
}

/// The prompts for a PIN, after the number.
const FIRST: &str = " (not shown)";
const AGAIN: &str = ", once more";

/// Runs `pins set`, types a text at each of these prompts, and returns the exit code and the output.
fn set(place: &Place, typed: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut terminal = Terminal::run(place.command(&["pins", "set", NUMBER]).env("TERM", "xterm"));
    for (prompt, typed) in typed {
        terminal.asks(&format!("PIN for {MASKED}{prompt}: "));
        terminal.types(&format!("{typed}\r"));
    }
    terminal.ends()
}

fn pins(place: &Place) -> usize {
    place.run(&["pins", "list", "--json"]).exits(0).records().len()
}

#[test]
fn a_typed_pin_is_asked_for_twice_and_never_shown() {
    let place = place();
    let (code, shown) = set(&place, &[(FIRST, PIN), (AGAIN, PIN)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains(&format!("The PIN of {MASKED} is set.")), "{shown}");
    for digits in [PIN, "739", "104"] {
        assert!(!shown.contains(digits), "{digits} in {shown:?}");
    }
    assert_eq!(pins(&place), 1);
}

#[test]
fn two_different_pins_are_asked_for_again() {
    let place = place();
    let (code, shown) = set(&place, &[(FIRST, PIN), (AGAIN, "739105"), (FIRST, PIN), (AGAIN, PIN)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("the two entries differ; type both again"), "{shown}");
    assert!(!shown.contains("7391"), "{shown}");
    assert_eq!(pins(&place), 1);
}

#[test]
fn a_refused_pin_is_not_typed_once_more() {
    let place = place();
    let (code, shown) = set(&place, &[(FIRST, "2345"), (FIRST, PIN), (AGAIN, PIN)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("the PIN is a sequence of digits") && !shown.contains("2345"), "{shown}");
    assert_eq!(pins(&place), 1);
}

/// The rest of an unknown sequence arrives as characters, so they could become a part of a secret.
#[test]
fn keys_that_are_no_characters_are_no_part_of_a_pin() {
    // Ctrl and the right arrow, F1, F5, Alt-5, a paste, Tab.
    for key in ["\u{1b}[1;5C", "\u{1b}OP", "\u{1b}[15~", "\u{1b}5", "\u{1b}[200~", "\t"] {
        let place = place();
        let (code, shown) = set(&place, &[(FIRST, &format!("739{key}104")), (FIRST, PIN), (AGAIN, PIN)]);
        assert_eq!(code, Some(0), "{key:?}: {shown}");
        assert!(shown.contains("a key that is not a character was pressed"), "{key:?}: {shown}");
        assert_eq!(pins(&place), 1);
    }
    // Ctrl-U begins again.
    let place = place();
    let (code, shown) = set(&place, &[(FIRST, &format!("739\u{1b}[15~\u{15}{PIN}")), (AGAIN, PIN)]);
    assert_eq!(code, Some(0), "{shown}");
}

#[test]
fn escape_and_ctrl_c_set_no_pin_and_restore_the_terminal() {
    for (key, typed) in [("\u{1b}", &[][..]), ("\u{3}", &[]), ("\u{3}", &[PIN])] {
        let place = place();
        let mut terminal = Terminal::run(place.command(&["pins", "set", NUMBER]).env("TERM", "xterm"));
        terminal.asks(&format!("PIN for {MASKED}{FIRST}: "));
        for pin in typed {
            terminal.types(&format!("{pin}\r"));
            terminal.asks(AGAIN);
        }
        terminal.types(key);
        assert!(terminal.is_restored_at_end(), "the terminal is as it was");
        let (code, shown) = terminal.ends();
        assert_eq!(code, Some(130), "{shown}");
        assert!(shown.contains("Cancelled: no PIN was set."), "{shown}");
        assert_eq!(pins(&place), 0);
    }
}

/// Standard input may be a list of numbers.
#[test]
fn a_pin_is_typed_at_the_terminal_of_the_process() {
    let place = place();
    let script = format!("'{}' pins set '{NUMBER}' </dev/null", env!("CARGO_BIN_EXE_phonegate"));
    let command = place.command(&[]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(place.path()).env_clear().env("TERM", "xterm");
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = Terminal::run(&mut shell);
    // It holds the terminal open, too.
    drop(shell);
    for prompt in [FIRST, AGAIN] {
        terminal.asks(prompt);
        terminal.types(&format!("{PIN}\r"));
    }
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(pins(&place), 1);
}

/// A terminal shows what is typed into standard input.
#[test]
fn standard_input_that_is_a_terminal_is_refused() {
    let place = place();
    let terminal = Terminal::run(&mut place.command(&["pins", "set", NUMBER, "--pin-stdin"]));
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("leave out --pin-stdin"), "{shown}");
}

/// As under a scheduler, which has no terminal.
#[test]
fn without_a_terminal_the_error_names_the_options() {
    let place = place();
    let mut command = place.command(&["pins", "set", NUMBER]);
    // SAFETY: setsid is safe between fork and exec.
    unsafe { command.pre_exec(|| if libc::setsid() == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }) };
    let ran = support::Ran::from(command.output().unwrap()).exits(2);
    assert!(ran.stderr.contains("use --pin-file FILE or --pin-stdin"), "{}", ran.stderr);
}
