//! A page in headless Chromium, driven by Playwright. A test runs pieces of JavaScript in which `page` is Playwright's.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A page, its browser, and the process that drives it.
pub struct Tab {
    driver: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Tab {
    /// Opens a page. `options` are those of Playwright's `newContext`, such as `colorScheme`.
    pub fn open(url: &str, options: &Value) -> Self {
        let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("browser");
        assert!(tools.join("node_modules").exists(), "this test needs Playwright: scripts/install-tools browser");
        let mut driver = Command::new("node")
            .args(["--input-type=module", "--eval", include_str!("browser/driver.mjs"), "--"])
            .args([&tools.display().to_string(), &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs node: apt-get install nodejs");
        let input = driver.stdin.take();
        let output = BufReader::new(driver.stdout.take().unwrap());
        let mut tab = Self { driver, input, output };
        tab.run(&format!("await page.goto({})", json!(url)));
        tab
    }

    /// Runs JavaScript, and returns what it returns. It fails after a minute of waiting.
    pub fn run(&mut self, script: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{}", json!(script)).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let reply: Value = serde_json::from_str(&line).expect("the driver runs");
        assert_eq!(reply.get("error"), None, "{script}");
        reply["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub fn wait_for(&mut self, expression: &str) {
        // The page's policy forbids Playwright's `waitForFunction`, which evaluates the expression in the page's own code.
        let expression = json!(expression);
        self.run(&format!(
            "const end = Date.now() + 60_000;
             while (!(await page.evaluate({expression}))) {{
               if (Date.now() > end) throw new Error('not within a minute');
               await page.waitForTimeout(50);
             }}"
        ));
    }

    /// Waits until this text is seen.
    pub fn sees(&mut self, text: &str) {
        self.run(&format!("await page.getByText({}).first().waitFor()", json!(text)));
    }

    /// Clicks a button.
    pub fn click(&mut self, name: &str) {
        self.run(&format!("await page.getByRole('button', {{ name: {}, exact: true }}).click()", json!(name)));
    }

    /// Takes a picture of the page as it is seen.
    pub fn screenshot(&mut self, png: &Path) {
        self.run(&format!("await page.screenshot({{ path: {} }})", json!(png)));
    }

    /// Returns the violations of the rules of WCAG that axe finds, and the elements.
    pub fn inaccessible(&mut self) -> Value {
        self.run(
            "await page.evaluate(axe);
             const { violations } = await page.evaluate('axe.run()');
             return violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html + node.failureSummary)]);",
        )
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // The driver closes the browser at the end of its input.
        drop(self.input.take());
        let _ = self.driver.wait();
    }
}
