//! A closed pipe is no error, and ends `--follow`.

#[path = "support/history.rs"]
mod history;
mod support;

use std::io::Read;

use support::{NUMBER, Place, Ran, Running, kept};

#[test]
fn a_closed_pipe_is_no_error_after_the_first_byte() {
    let place = Place::with(&kept(None));
    // More calls than fit into a buffer or a pipe.
    history::fill(&place.path().join("calls.db"), 9, 2_000);
    for arguments in [&["calls", "--csv"][..], &["calls", "--json"], &["report", "--html", "-"], &["schema"]] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let running = place.command(arguments).stdout(writer).spawn().unwrap();
        let mut first = [0];
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        let ran = Ran::from(running.wait_with_output().unwrap()).exits(0);
        assert!(!ran.stderr.contains("error"), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn follow_ends_when_the_pipe_is_closed_without_new_calls() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    for arguments in [&["calls", "--follow"][..], &["calls", "--follow", "--json"], &["calls", "--follow", "--csv"]] {
        let mut following = Running::start(&mut place.command(arguments));
        following.read_until("verified");
        following.close_stdout();
        following.wait().exits(0);
    }
}
