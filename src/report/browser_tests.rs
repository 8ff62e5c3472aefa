//! The page in a real browser: every figure is visible at both widths, nothing overflows on a phone, tables can be
//! sorted, and the console shows no message. Needs `chromium`; without it the test is skipped, except in CI, where it
//! fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lmtrain_runs::Store;

use super::figures::FIGURES;
use super::tables::TABLES;
use super::{Options, samples, write};

/// Names under which the browser is installed.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// What the browser puts before each line of a page's console.
const CONSOLE: &str = ":CONSOLE";

/// Looks at what a reader would see and do, and leaves what it finds in the document, as the value
/// of `data-…` attributes.
const PROBE: &str = r##"<script>
window.addEventListener("load", () => {
  const root = document.documentElement;
  const report = (name, value) => root.setAttribute("data-probe-" + name, value);
  const seen = [...document.querySelectorAll("main section[id^=figure-]")].filter((section) => {
    const shown = [...section.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().width > 100);
    return shown.length === 1 && shown[0].getBoundingClientRect().right <= root.clientWidth;
  });
  report("figures", seen.map((section) => section.id).join(" "));
  report("overflow", root.scrollWidth - root.clientWidth);
  const dangling = [...document.querySelectorAll("nav a")].filter((link) => !document.querySelector(link.getAttribute("href")));
  report("dangling", dangling.length);
  const table = document.querySelector("#table-details table");
  const button = [...table.tHead.querySelectorAll("th.n button")].find((it) => it.textContent.startsWith("raw %"));
  const column = button.parentElement.cellIndex;
  const values = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.value).filter((value) => value).map(Number);
  const sorted = (sign) => { const found = values(); return found.length > 3 && found.every((value, at) => at === 0 || sign * (value - found[at - 1]) >= 0); };
  button.click(); report("up", sorted(1));
  button.click(); report("down", sorted(-1));
});
</script>"##;

fn browser() -> Option<&'static str> {
    let starts = |name: &&&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = BROWSERS.iter().find(starts).copied();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must install chromium");
        println!("left out: there is no chromium");
    }
    found
}

/// Opens a page in a window of this width; gives the document as it then stands, and what the
/// console said.
fn open(browser: &str, page: &Path, width: u32) -> (String, Vec<String>) {
    let profile = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .args(["--disable-dev-shm-usage", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8_lossy(&output.stderr);
    let console = log.lines().filter(|line| line.contains(CONSOLE)).map(str::to_owned);
    (String::from_utf8_lossy(&output.stdout).into_owned(), console.collect())
}

/// The report of a whole study, and a copy of its page that holds more.
fn page_with(folder: &Path, more: &str) -> PathBuf {
    let store = Store::new(folder.join("runs"));
    samples::study(&store);
    let options = Options { command: "lmtrain report".into(), by: Vec::new() };
    let written = write(&store, &folder.join("out"), &options).expect("written");
    let text = std::fs::read_to_string(&written.page).expect("readable");
    let path = folder.join("probed.html");
    std::fs::write(&path, text.replace("</body>", &format!("{more}</body>"))).expect("written");
    path
}

fn probed<'a>(document: &'a str, name: &str) -> &'a str {
    let start = format!("data-probe-{name}=\"");
    let found = document.split_once(&start).and_then(|(_, rest)| rest.split_once('"'));
    found.map(|(value, _)| value).unwrap_or_else(|| panic!("the probe did not reach `{name}`"))
}

#[test]
fn a_browser_shows_every_figure_and_says_nothing() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = page_with(folder.path(), PROBE);
    let figures: Vec<String> = FIGURES.iter().map(|it| format!("figure-{}", it.name)).collect();
    for width in [1200, 500] {
        let (document, console) = open(browser, &page, width);
        assert!(console.is_empty(), "at {width}: {console:?}");
        assert_eq!(probed(&document, "figures"), figures.join(" "), "at {width}");
        for table in TABLES {
            assert!(document.contains(&format!("id=\"table-{}\"", table.name)), "{}", table.name);
        }
        for (name, wanted) in
            [("overflow", "0"), ("dangling", "0"), ("up", "true"), ("down", "true")]
        {
            assert_eq!(probed(&document, name), wanted, "{name} at {width}");
        }
    }
    // What would be an error is one: the console is really read.
    let page = page_with(folder.path(), "<script>undefinedFunction()</script>");
    let (_, console) = open(browser, &page, 1200);
    assert!(console.iter().any(|line| line.contains("undefinedFunction")), "{console:?}");
}
