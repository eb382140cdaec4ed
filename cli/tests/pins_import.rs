//! `phonegate pins import`: sets the PINs of a file, all of them or none.

#[path = "support/pins.rs"]
mod pins;
mod support;

use pins::{OTHER, PIN, file, import, list, logged, place, set, with_stdin};
use serde_json::{Value, json};
use support::{MASKED, NUMBER};

#[test]
fn import_sets_every_row_and_may_run_again() {
    let place = place();
    let text = format!("name,Number ,PIN\r\nAnn,\"{NUMBER}\",{PIN}\r\n,,\r\nBob,{OTHER},862057\r\n");
    let ran = import(&place, &text, &["--json"]).exits(0);
    let (set, end) = (&ran.records()[..2], ran.record("imported"));
    assert_eq!((&set[0]["line"], &set[0]["number"], &set[0]["replaced"]), (&json!(2), &json!(MASKED), &json!(false)));
    assert_eq!((&set[1]["line"], &set[1]["event"]), (&json!(4), &json!("set")));
    assert_eq!(end, json!({ "event": "imported", "pins": 2, "replaced": 0, "dry_run": false }));
    assert_eq!(list(&place).len(), 2);
    let ran = import(&place, &text, &[]).exits(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("PINs set: 2; 2 of them replace others.\n", ""));
    // From standard input, as a program pipes it.
    let ran = with_stdin(&place, &["pins", "import", "-"], "pin\tnumber\n862057\t4255551414\n").exits(0);
    assert_eq!(ran.stdout, "PINs set: 1; 0 of them replace others.\n");
}

#[test]
fn import_names_every_bad_row_and_sets_none() {
    let place = place();
    let rows = [
        format!("{NUMBER},{PIN}"),
        format!("{PIN},{NUMBER}"),
        format!("{OTHER},2345"),
        format!("{OTHER},862057"),
        format!("+14255551212,{PIN}"),
        "4255551515,".to_owned(),
        format!("4255551717,{PIN},862057"),
        format!("4255551818,{PIN}, "),
        "\"4255551616".to_owned(),
    ];
    let text = format!("number,pin\n{}\n", rows.join("\n"));
    let ran = import(&place, &text, &["--json"]).exits(2);
    let refused: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "refused").collect();
    let lines: Vec<_> = refused.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 4, 6, 7, 8, 10], "{}", ran.stdout);
    assert!(refused[0]["text"].as_str().unwrap().contains("(InvalidNumber)"), "{refused:?}");
    assert_eq!(refused[2]["text"], "the number is in line 2, too; remove one of the lines");
    assert!(ran.record("error")["text"].as_str().unwrap().contains("6 of 9 rows cannot be used, so no PIN was set"));
    let ran = import(&place, &text, &[]).exits(2);
    assert!(ran.stderr.contains("line 6: the number is in line 2"), "{}", ran.stderr);
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn a_file_without_the_two_columns_is_refused_unseen() {
    let place = place();
    for (text, words) in [
        (format!("{NUMBER},{PIN}\n"), "the first row must name the columns `number` and `pin`"),
        (format!("number;code\n{NUMBER};{PIN}\n"), "the first row must name the columns"),
        (format!("number,pin,PIN\n{NUMBER},862057,{PIN}\n"), "names the column `pin` more than once"),
        (format!("Number,number,pin\n{OTHER},{NUMBER},{PIN}\n"), "names the column `number` more than once"),
        (String::new(), "the first row must name the columns"),
        ("number,pin\n\n,\n".to_owned(), "no row below"),
    ] {
        let ran = import(&place, &text, &[]).exits(2);
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    let file = file(&place, "number,pin\n");
    std::fs::File::options().write(true).open(&file).unwrap().set_len(32 * 1024 * 1024 + 1).unwrap();
    let ran = place.run(&["pins", "import", file.to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("more than 32 MiB"), "{}", ran.stderr);
}

#[test]
fn a_dry_run_sets_no_pin_and_leaves_no_line() {
    let place = place();
    set(&place, NUMBER);
    let before = (list(&place), logged(&place, "pin_set").len());
    let text = format!("number,pin\n{NUMBER},862057\n{OTHER},{PIN}\n");
    let ran = import(&place, &text, &["--dry-run"]).exits(0);
    assert_eq!(ran.stdout, "PINs could be set: 2; 1 of them replace others.\n");
    assert_eq!((list(&place), logged(&place, "pin_set").len()), before);
    // It makes no store, either.
    std::fs::remove_file(place.path().join("calls.db")).unwrap();
    import(&place, &text, &["--dry-run"]).exits(0);
    assert!(!place.path().join("calls.db").exists());
}
