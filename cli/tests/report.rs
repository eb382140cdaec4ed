//! What `phonegate report` promises. The pictures that its tests take stay in `target/tmp/report`, to be looked at.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/history.rs"]
mod history;
#[path = "support/picture.rs"]
mod picture;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use browser::{Browser, Scheme};
use phonegate::platform::{self, Grant};
use picture::{Picture, of_paper, palette};
use serde_json::json;
use support::{NUMBER, Place, kept, simulated};

/// A page of so many generated calls of so many days, in a folder that stays.
fn page_of(name: &str, days: u64, calls: usize) -> PathBuf {
    let place = Place::with(&kept("#"));
    history::fill(&place.path().join("calls.db"), days, calls);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    let page = folder.join(format!("{name}.html"));
    place.run(&["report", "--html", page.to_str().unwrap(), "--since", &format!("{days}d")]).exits(0);
    page
}

/// The same page, of which all is there but the charts.
fn without_charts(page: &Path) -> PathBuf {
    let bare = page.with_file_name(format!("{}-bare.html", page.file_stem().unwrap().display()));
    let hidden = "<style>svg, .hours tbody td { visibility: hidden }</style>";
    fs::write(&bare, fs::read_to_string(page).unwrap() + hidden).unwrap();
    bare
}

/// The colours in which charts are drawn, and how many pixels of each there are at least.
const CHARTS: [(&str, usize); 11] = [
    ("verified", 20_000),
    ("declined", 4_000),
    ("refused", 3_000),
    ("trouble", 400),
    ("fraud", 300),
    ("plain", 3_000),
    ("heat-1", 20_000),
    ("heat-2", 4_000),
    ("heat-3", 4_000),
    ("heat-4", 1_000),
    ("heat-5", 600),
];

#[test]
fn the_page_is_seen_in_light_and_in_dark() {
    let page = page_of("weeks", 42, 6_000);
    let bare = without_charts(&page);
    let browser = Browser::start();
    let look = |page: &Path, scheme: Scheme| {
        let name = format!("{}-{scheme:?}.png", page.file_stem().unwrap().display()).to_lowercase();
        let png = page.with_file_name(name);
        browser.screenshot(page, scheme, (1200, 3600), &png);
        Picture::read(&png)
    };
    let [light, dark] = [Scheme::Light, Scheme::Dark].map(|scheme| {
        let (seen, bare, palette) = (look(&page, scheme), look(&bare, scheme), palette(scheme));
        for (name, least) in CHARTS {
            let [all, others] = [&seen, &bare].map(|picture| picture.area(palette[name]));
            assert!(all >= others + least, "{name} in {scheme:?}: {all}, and {others} without charts");
        }
        assert_eq!(seen.corners(), [palette["page"]; 4], "{scheme:?}");
        assert!(seen.area(palette["card"]) > 1_000_000, "{scheme:?}");
        // A blank page has one colour; charts with smooth edges have hundreds.
        assert!(seen.colours() > 200, "{scheme:?}: {}", seen.colours());
        seen.brightness()
    });
    assert!(light > 200 && dark < 90, "{light}, {dark}");
}

#[test]
fn the_page_is_printed_in_colours_on_white_paper_also_for_whoever_prefers_dark() {
    let page = page_of("printed", 42, 6_000);
    let browser = Browser::start();
    let [sheets, bare] = [page.clone(), without_charts(&page)].map(|page| {
        let pdf = page.with_extension("pdf");
        browser.print(&page, &pdf);
        let bytes = fs::read(&pdf).unwrap();
        assert!(bytes.starts_with(b"%PDF-") && bytes.len() > 20_000, "{} bytes", bytes.len());
        of_paper(&pdf)
    });
    for (n, sheet) in sheets.iter().enumerate() {
        assert!(sheet.brightness() > 200, "page {n}: {}", sheet.brightness());
        assert_eq!(sheet.corners(), [[255; 3]; 4], "page {n}");
    }
    let palette = palette(Scheme::Light);
    for (name, least) in CHARTS {
        let area = |sheets: &[Picture]| sheets.iter().map(|sheet| sheet.area(palette[name])).sum::<usize>();
        let (all, others) = (area(&sheets), area(&bare));
        // A pattern is a small picture there, which has many shades of its colour.
        assert!(all >= others + least / 8, "{name} on paper: {all}, and {others} without charts");
    }
}

#[test]
fn the_page_asks_the_network_for_nothing_and_the_browser_has_no_complaint() {
    let page = page_of("few", 30, 7);
    let browser = Browser::start();
    let png = page.with_extension("png");
    let visit = browser.screenshot(&page, Scheme::Light, (1200, 2000), &png);
    assert_eq!((visit.console, visit.asked), (vec![], vec![]));
    // What Chromium asks its maker for is not counted.
    assert!(!fs::read_to_string(&page).unwrap().contains("google"));

    // This one does, so that the test would have seen it.
    let other = page.with_file_name("other.html");
    let png = other.with_extension("png");
    let text = "<img src='http://phonegate.example/a.png'><script>console.error('a complaint')</script>";
    fs::write(&other, text).unwrap();
    let visit = browser.screenshot(&other, Scheme::Light, (400, 400), &png);
    assert!(visit.console.iter().any(|line| line.contains("a complaint")), "{:?}", visit.console);
    assert!(visit.asked.iter().any(|line| line.contains("phonegate.example")), "{:?}", visit.asked);

    // And the page's policy would not even let it.
    let policy =
        r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"#;
    assert!(fs::read_to_string(&page).unwrap().contains(policy));
    fs::write(&other, format!("{policy}{text}")).unwrap();
    assert_eq!(browser.screenshot(&other, Scheme::Light, (400, 400), &png).asked, Vec::<String>::new());
}

#[test]
fn real_calls_are_on_the_page_with_their_numbers_masked() {
    let place = Place::with_store(&kept("#"));
    let page = place.path().join("report.html");
    let report = ["report", "--html", "report.html", "--json"];
    let written = place.run(&report).exits(0).record("written");
    assert_eq!(written, json!({ "event": "written", "file": "report.html", "calls": 0, "verified": 0 }));
    assert!(fs::read_to_string(&page).unwrap().contains("There were no calls in this time."));

    place.run(&["call", "--store", NUMBER]).exits(0);
    let mut config = kept("5");
    config["limits"] = json!({ "calls_per_number": 2 });
    place.configure(&config);
    place.run(&["call", "--store", NUMBER]).exits(1);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let written = place.run(&report).exits(0).record("written");
    assert_eq!((&written["calls"], &written["verified"]), (&json!(3), &json!(1)));
    let page = fs::read_to_string(&page).unwrap();
    for words in ["WrongKey", "Throttled", support::MASKED, "Of 2 that were placed, 50 % were approved."] {
        assert!(page.contains(words), "{words} in {page}");
    }
    assert!(!page.contains(support::HIDDEN), "{page}");
}

#[test]
fn a_backend_that_refuses_every_call_is_on_the_page_and_in_the_list() {
    let mut config = kept("#");
    config["use"] = json!(["broken"]);
    config["backends"] = json!({ "broken": { "type": "file", "path": "there/is/no/such/folder.txt" } });
    let place = Place::with(&config);
    place.run(&["call", "--store", NUMBER]).exits(1);
    let call = place.run(&["calls", "--json"]).exits(0).record("call");
    assert_eq!(
        (&call["reason"], &call["backend"], &call["placed"]),
        (&json!("CannotPlace"), &json!("broken"), &json!(null))
    );
    place.run(&["report", "--html", "report.html"]).exits(0);
    let page = fs::read_to_string(place.path().join("report.html")).unwrap();
    let row = r#"<th scope="row">broken</th><td class="n">1</td><td class="n">0 %</td><td class="n">100 %</td>"#;
    assert!(page.contains(row) && page.contains("None of them was placed."), "{page}");
}

#[test]
fn a_new_report_is_its_owners_alone_and_takes_the_place_of_an_old_one() {
    let place = Place::with_store(&kept("#"));
    let page = place.path().join("report.html");
    let link = place.path().join("link.html");
    place.run(&["report", "--html", "report.html"]).exits(0);
    assert_eq!(platform::exposure(&page, Grant::CurrentUser).unwrap().in_words(), None);
    fs::write(&page, "the old one").unwrap();
    std::os::unix::fs::symlink("report.html", &link).unwrap();
    place.run(&["report", "--html", "link.html"]).exits(0);
    assert!(link.is_symlink());
    assert!(!page.is_symlink() && fs::read_to_string(&page).unwrap().ends_with("</html>"));
    let names = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name.starts_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let place = Place::with_store(&kept("#"));
    let made = Command::new("mkfifo").arg(place.path().join("pipe")).status();
    assert!(made.expect("this test needs mkfifo: apt-get install coreutils").success());
    fs::create_dir(place.path().join("folder")).unwrap();
    for (link, to) in [("to-pipe", "pipe"), ("to-nothing", "gone.html")] {
        std::os::unix::fs::symlink(to, place.path().join(link)).unwrap();
    }
    let kinds = || {
        ["pipe", "folder", "to-pipe", "to-nothing"]
            .map(|name| place.path().join(name).symlink_metadata().unwrap().file_type())
    };
    let before = kinds();
    for (target, what) in [
        ("pipe", "pipe is a device or a pipe"),
        ("to-pipe", "to-pipe is a device or a pipe"),
        ("folder", "folder is a folder"),
        ("to-nothing", "to-nothing is a link that leads to nothing"),
    ] {
        let ran = place.run(&["report", "--html", target]).exits(1);
        assert!(ran.stderr.contains(what) && ran.stderr.contains("name a file, or - for stdout"), "{}", ran.stderr);
    }
    assert_eq!(kinds(), before);
    assert!(!place.path().join("gone.html").exists());
}

#[test]
fn a_dash_is_stdout() {
    let place = Place::with_store(&kept("#"));
    let ran = place.run(&["report", "--html", "-"]).exits(0);
    assert!(ran.stdout.starts_with("<!DOCTYPE html>") && ran.stdout.ends_with("</html>"), "{}", ran.stdout);
    let ran = place.run(&["report", "--html", "-", "--json"]).exits(2);
    assert!(ran.stderr.contains("name a file"), "{}", ran.stderr);
    assert!(!place.path().join("-").exists());
}

#[test]
fn a_report_that_cannot_be_made_says_why_and_leaves_the_old_one() {
    let place = Place::with_store(&kept("#"));
    let ran = place.run(&["report", "--html", "there/is/no/such/folder.html"]).exits(1);
    assert!(ran.stderr.contains("cannot write there/is/no/such/folder.html"), "{}", ran.stderr);
    let ran = place.run(&["report"]).exits(2);
    assert!(ran.stderr.contains("--html <FILE>"), "{}", ran.stderr);
    fs::write(place.path().join("report.html"), "the old one").unwrap();
    for times in [&["--since", "soon"][..], &["--since", "2026-03-02", "--until", "2026-03-01"]] {
        let ran = place.run(&[&["report", "--html", "report.html"], times].concat()).exits(2);
        assert!(ran.stderr.contains("--since"), "{}", ran.stderr);
    }
    let mut config = simulated("#", 0);
    config["store"] = json!({ "type": "memory" });
    place.configure(&config);
    let ran = place.run(&["report", "--html", "report.html"]).exits(2);
    assert!(ran.stderr.contains("store.type is memory"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(place.path().join("report.html")).unwrap(), "the old one");
}
