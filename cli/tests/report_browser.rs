//! The page of `phonegate report` in Chromium and on paper. The pictures are kept in `target/tmp/report`.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/history.rs"]
mod history;
#[path = "support/picture.rs"]
mod picture;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use browser::{Browser, Scheme};
use picture::{Picture, of_paper, palette};
use support::{Place, kept};

/// Writes a page about this many generated calls of this many days, into a folder that is kept.
fn page_of(name: &str, days: u64, calls: usize) -> PathBuf {
    let place = Place::with(&kept(None));
    history::fill(&place.path().join("calls.db"), days, calls);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&folder).unwrap();
    let page = folder.join(format!("{name}.html"));
    place.run(&["report", "--html", page.to_str().unwrap(), "--since", &format!("{days}d")]).exits(0);
    page
}

/// Returns the same page without its charts.
fn without_charts(page: &Path) -> PathBuf {
    let bare = page.with_file_name(format!("{}-bare.html", page.file_stem().unwrap().display()));
    let hidden = "<style>svg, .hours tbody td { visibility: hidden }</style>";
    fs::write(&bare, fs::read_to_string(page).unwrap() + hidden).unwrap();
    bare
}

/// The colours of the charts, and the minimum number of pixels of each.
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
        browser.screenshot(page, scheme, (1200, 4600), &png);
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
fn the_page_is_printed_on_white_even_with_a_dark_scheme() {
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
fn the_page_loads_nothing_and_the_browser_has_no_complaint() {
    let page = page_of("few", 30, 7);
    let browser = Browser::start();
    let png = page.with_extension("png");
    let visit = browser.screenshot(&page, Scheme::Light, (1200, 2000), &png);
    assert_eq!((visit.console, visit.asked), (vec![], vec![]));
    // Requests of Chromium to its vendor are not counted.
    assert!(!fs::read_to_string(&page).unwrap().contains("google"));

    // This page does load something, so the test would have noticed it.
    let other = page.with_file_name("other.html");
    let png = other.with_extension("png");
    let text = "<img src='http://phonegate.example/a.png'><script>console.error('a complaint')</script>";
    fs::write(&other, text).unwrap();
    let visit = browser.screenshot(&other, Scheme::Light, (400, 400), &png);
    assert!(visit.console.iter().any(|line| line.contains("a complaint")), "{:?}", visit.console);
    assert!(visit.asked.iter().any(|line| line.contains("phonegate.example")), "{:?}", visit.asked);

    // The policy of the page would also forbid it.
    let policy =
        r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"#;
    assert!(fs::read_to_string(&page).unwrap().contains(policy));
    fs::write(&other, format!("{policy}{text}")).unwrap();
    assert_eq!(browser.screenshot(&other, Scheme::Light, (400, 400), &png).asked, Vec::<String>::new());
}
