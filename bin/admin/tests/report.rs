//! The page of `status --html`: it holds everything by itself, and a real browser draws it, light and dark, wide and narrow.
#![allow(clippy::unwrap_used)] // helpers of tests, too
#![allow(clippy::print_stderr)] // what is skipped is said

mod support;

use std::path::Path;
use std::process::Command;

use perennial_testkit::{TestDb, db_test};
use serde_json::Value;
use support::{json, number, run, sql};

/// A month of a service, and a reason that would like to be markup.
const MONTH: &str = "
    INSERT INTO users (telegram_id) VALUES (1);
    INSERT INTO transfers (idempotency_key, kind, debit_account, credit_account, amount_kopecks, created_at)
    SELECT 'top_up:' || n, 'top_up', 2, a.id, 100000 + n * 1000, now() - n * interval '1 day'
    FROM accounts a, generate_series(0, 40) AS n WHERE a.telegram_id = 1;
    INSERT INTO parked VALUES ('renew', 1, 3, '<script>alert(1)</script>', now(), now(), NULL);
    INSERT INTO runs (run_id, pass, version, started_at, finished_at, outcome, exit_code, summary)
    SELECT gen_random_uuid(), 'expire-fast', '0', t, t, 'done', 0, jsonb_build_object(
        'counts', jsonb_build_object('ended', 5, 'proven', 5), 'notices', jsonb_build_object('sent', 7),
        'end_to_proof_seconds', jsonb_build_object('p50', 20, 'p99', 60, 'oldest', 0))
    FROM generate_series(now() - interval '29 days', now(), interval '6 hours') AS t;";

async fn page(db: &TestDb, folder: &Path) -> String {
    sql(&db.client().await, MONTH).await;
    let file = folder.join("report.html");
    let said = run(db, &["status", "--html", file.to_str().unwrap()]).good();
    assert_eq!(said.out, format!("{} is written\n", file.display()));
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "nothing is left beside it");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    db_test(async |db| {
        let folder = tempfile::tempdir().unwrap();
        let page = page(&db, folder.path()).await;
        for forbidden in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the reason is told as text");
        // Today's top-up of 1000.00 RUB, from the ledger.
        let today = format!("<title>{} topped up: 1000.00 RUB</title>", today(&db).await);
        assert!(page.contains(&today), "{today}");
    });
}

async fn today(db: &TestDb) -> String {
    let object = json(db, &["status"]);
    assert_eq!(number(&db.client().await, "SELECT count(*) FROM transfers").await, 41);
    object["today"]["date"].as_str().unwrap().to_owned()
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    db_test(async |db| {
        let said = run(&db, &["status", "--html", "/nonexistent/report.html"]);
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains("/nonexistent/report.html cannot be written"), "{said:?}");
    });
}

/// Measures the page from inside and puts what it finds where `--dump-dom` shows it.
const PROBE: &str = "<script>
    const narrow = document.documentElement;
    const wide = narrow.scrollWidth - narrow.clientWidth;
    narrow.style.width = '360px';
    const boxes = [...document.querySelectorAll('rect')].map(r => r.getBoundingClientRect());
    const beyond = [...document.querySelectorAll('figure, section, .tile')]
        .filter(e => e.getBoundingClientRect().right > 360.5).length;
    const inks = ['a', 'b', 'c', 'bad'].map(c => getComputedStyle(document.querySelector('i.' + c)).backgroundColor);
    document.body.innerHTML = '<pre id=\"probe\">' + JSON.stringify({
        wide, beyond, bars: boxes.length, flat: boxes.filter(b => b.width <= 0 || b.height <= 0).length,
        inks: new Set(inks).size, page: getComputedStyle(document.body).backgroundColor }) + '</pre>';
</script>";

#[test]
fn a_browser_draws_it_light_and_dark_wide_and_narrow() {
    if Command::new("chromium").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no chromium: run scripts/install-browser.sh");
        eprintln!("SKIPPED: chromium is missing; scripts/install-browser.sh installs it");
        return;
    }
    db_test(async |db| {
        let folder = tempfile::tempdir().unwrap();
        let page = page(&db, folder.path()).await;
        let probe = folder.path().join("probe.html");
        std::fs::write(&probe, page.replace("</body>", &format!("{PROBE}</body>"))).unwrap();
        let light = draw(&probe, 1);
        let dark = draw(&probe, 0);
        for drawn in [&light, &dark] {
            assert_eq!(drawn["wide"], 0, "nothing to scroll sideways: {drawn}");
            assert_eq!(drawn["beyond"], 0, "everything fits a phone: {drawn}");
            assert!(drawn["bars"].as_u64().unwrap() > 50, "{drawn}");
            assert_eq!(drawn["flat"], 0, "{drawn}");
            assert_eq!(drawn["inks"], 4, "{drawn}");
        }
        assert_ne!(light["page"], dark["page"]);
    });
}

/// `scheme` is Chromium's number: 0 dark, 1 light.
fn draw(page: &Path, scheme: u8) -> Value {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let probe = dom.split("id=\"probe\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    serde_json::from_str(probe.unwrap_or_else(|| panic!("{dom} {}", String::from_utf8_lossy(&output.stderr)))).unwrap()
}
