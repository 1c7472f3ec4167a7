//! Pages in a real browser, if there is one.

#[allow(dead_code, reason = "each test file uses some of it")]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{assert_code, directory, out, run};

/// The first browser in the search path.
fn browser() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(works)
}

fn open(browser: &str, dir: &Path, page: &Path, how: &[&str]) -> Output {
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.args([&profile, "--window-size=1300,1700"]).args(how);
    command.arg(format!("file://{}", page.display())).output().expect("it runs")
}

/// The page that explains a program of the corpus.
fn explained(dir: &Path, program: &str, defect: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(program);
    let file = file.display().to_string();
    let output = run(dir, &["explain", &file, "--defect", defect, "--html", "page.html"]);
    assert_code(&output, 1);
    dir.join("page.html")
}

#[test]
fn a_browser_draws_the_story_in_both_colour_schemes() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium in the search path");
        return;
    };
    let dir = directory("pages");
    let page = explained(&dir, "seeds/fork-x-pin.txt", "fork-shares-pinned");
    let dom = out(&open(browser, &dir, &page, &["--dump-dom"]));
    // The script has run: the divergent step is chosen, its states are shown, what differs is marked.
    assert!(dom.contains("class=\"step wrong on\""), "{dom}");
    assert_eq!(dom.matches("<section class=\"states\"").count(), 5);
    assert_eq!(dom.matches("hidden=\"\"").count(), 4);
    assert!(dom.contains("<span class=\"new\">"));
    let picture = |name: &str, scheme: &str| {
        let file = dir.join(name);
        let shot = format!("--screenshot={}", file.display());
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        open(browser, &dir, &page, &[&shot, &scheme]);
        std::fs::read(file).expect("a picture")
    };
    let (dark, light) = (picture("dark.png", "0"), picture("light.png", "1"));
    assert!(dark.starts_with(b"\x89PNG") && light.starts_with(b"\x89PNG"));
    // Much is drawn, and not in the same colours.
    assert!(dark.len() > 30_000 && light.len() > 30_000, "{} {}", dark.len(), light.len());
    assert_ne!(dark, light);
}

#[test]
fn a_browser_draws_a_concurrent_phase() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium in the search path");
        return;
    };
    let dir = directory("pages-phase");
    let page = explained(&dir, "defects/R05-gup-fast-no-recheck.txt", "gup-fast-no-recheck");
    let dom = out(&open(browser, &dir, &page, &["--dump-dom"]));
    assert!(dom.contains("<svg id=\"phase\""), "{dom}");
    // mprotect holds both once, GUP-fast none.
    for lock in ["mmap_lock", "PTL"] {
        assert_eq!(dom.matches(&format!("<title>{lock}</title>")).count(), 1, "{lock}");
    }
    for part in
        [">cpu0<", ">cpu1<", "class=\"parting\"", "class=\"mark wrong\"", "class=\"thread\""]
    {
        assert!(dom.contains(part), "{part}");
    }
}
