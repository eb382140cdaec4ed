//! Headless Chromium. All its requests go to a proxy of the test, which records them and answers none.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

/// Settings of the browser.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Dark = 0,
    Light = 1,
}

pub struct Browser {
    profile: TempDir,
    proxy: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// The result of a visit to a page.
pub struct Visit {
    /// The messages of the page's console.
    pub console: Vec<String>,
    /// The requests.
    pub asked: Vec<String>,
}

impl Browser {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut line = String::new();
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = BufReader::new(&stream).read_line(&mut line);
                noted.lock().unwrap().push(line);
                let _ =
                    (&stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { profile: tempfile::tempdir().unwrap(), proxy, asked }
    }

    /// Takes a picture of a page.
    pub fn screenshot(&self, page: &Path, scheme: Scheme, (width, height): (u32, u32), png: &Path) -> Visit {
        self.visit(
            page,
            &[
                &format!("--blink-settings=preferredColorScheme={}", scheme as u32),
                &format!("--window-size={width},{height}"),
                &format!("--screenshot={}", png.display()),
            ],
        )
    }

    /// Prints a page.
    pub fn print(&self, page: &Path, pdf: &Path) -> Visit {
        // With dark colours chosen, the paper is white all the same.
        let pdf = format!("--print-to-pdf={}", pdf.display());
        self.visit(page, &["--blink-settings=preferredColorScheme=0", "--no-pdf-header-footer", &pdf])
    }

    fn visit(&self, page: &Path, arguments: &[&str]) -> Visit {
        self.asked.lock().unwrap().clear();
        let output = Command::new("chromium")
            // As root, in which the tests may run, it refuses its own sandbox; it shows nothing but our own page.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-features=OptimizationHints,MediaRouter,Translate", "--enable-logging=stderr"])
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            .args([&format!("--proxy-server={}", self.proxy), "--proxy-bypass-list=<-loopback>"])
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .env("HOME", self.profile.path())
            .stdin(Stdio::null())
            .output()
            .expect("this test needs chromium: apt-get install chromium");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}");
        let console = words.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect();
        let mut asked = self.asked.lock().unwrap().clone();
        asked.retain(|line| !is_its_own(line));
        Visit { console, asked }
    }
}

/// Returns whether Chromium itself sends this request, with any page.
fn is_its_own(line: &str) -> bool {
    let authority = line.split_whitespace().nth(1).unwrap_or_default();
    let authority = authority.strip_prefix("http://").unwrap_or(authority);
    let host = authority.split(['/', ':']).next().unwrap_or_default();
    ["google.com", "googleapis.com"].iter().any(|maker| host.ends_with(&format!(".{maker}")))
}
