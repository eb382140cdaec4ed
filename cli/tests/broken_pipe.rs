//! Whoever reads the command's output may stop: that is no fault, and ends what would go on.

#[path = "support/history.rs"]
mod history;
mod support;

use std::io::Read;

use support::{NUMBER, Place, Ran, Running, kept};

#[test]
fn whoever_reads_the_first_lines_alone_is_no_fault() {
    let place = Place::with(&kept(None));
    // More than a buffer or a pipe has room for.
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
fn what_is_followed_ends_with_its_reader_also_where_no_call_comes() {
    let place = Place::with(&kept(None));
    place.run(&["call", "--store", NUMBER]).exits(0);
    for arguments in [&["calls", "--follow"][..], &["calls", "--follow", "--json"], &["calls", "--follow", "--csv"]] {
        let mut following = Running::start(&mut place.command(arguments));
        following.read_until("verified");
        following.leave_stdout();
        following.wait().exits(0);
    }
}
