//! The built program with a bot: money goes its way whatever the messenger does.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::sync::Mutex;

use perennial_testkit::builders::{Subscription, Tariff, User};
use perennial_testkit::db_test;
use perennial_testkit::fake_telegram::{FakeTelegram, Fault, Limits, TOKEN};
use perennial_testkit::program::{bare, run};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

const PRICE: i64 = 19_900;

/// Everything that is money or a right afterwards, a row a customer: balance, charges, paid periods, days still to go.
const BOOKS: &str = "
    SELECT concat_ws(' ', s.telegram_id, s.status, a.balance_kopecks,
        (SELECT count(*) FROM transfers t WHERE t.debit_account = a.id),
        (SELECT count(*) FROM payments p WHERE p.subscription_id = s.id),
        round(extract(epoch FROM s.expires_at - s.starts_at) / 86400),
        (SELECT string_agg(n.kind, ',' ORDER BY n.id) FROM notices n WHERE n.telegram_id = s.telegram_id))
    FROM subscriptions s JOIN accounts a ON a.telegram_id = s.telegram_id
    ORDER BY s.telegram_id";

/// What a pass left.
#[derive(Debug)]
struct Left {
    code: i32,
    summary: Value,
    books: Vec<String>,
}

/// A pass over six customers, the last two of them short of money, with a messenger in this state.
fn pass(fault: Option<Fault>) -> Left {
    let left = Mutex::new(None);
    db_test(async |db| {
        let client = db.client().await;
        Tariff::days("basic_30", 30, PRICE).put(&client).await;
        let now: OffsetDateTime = client.query_typed_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
        for user in 1..=6 {
            User::new(user, if user <= 4 { PRICE + user } else { user }).put(&client).await;
            Subscription::paid(user, "basic_30", now + Duration::minutes(90)).put(&client).await;
        }
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        if let Some(fault) = fault.clone() {
            server.fail_all(fault);
        }
        let mut command = bare(env!("CARGO_BIN_EXE_renew"));
        command
            .env("DATABASE_URL", db.passes_url("renew"))
            .env("PERENNIAL_CONFIG", "/dev/null")
            .env("PERENNIAL_TELEGRAM_API", server.api())
            .env("PERENNIAL_TELEGRAM_TOKEN", TOKEN)
            // Time for one message that hangs.
            .args(["--output", "json", "--max-seconds", "14"]);
        let (code, summary) = run(command);
        let rows = client.query_typed(BOOKS, &[]).await.unwrap();
        *left.lock().unwrap() = Some(Left { code, summary, books: rows.iter().map(|row| row.get(0)).collect() });
    });
    left.into_inner().unwrap().unwrap()
}

#[test]
fn a_messenger_that_is_down_for_the_whole_pass_costs_no_kopeck_and_no_day() {
    let well = pass(None);
    assert_eq!((well.code, &well.summary["notices"]["sent"]), (0, &json!(6)), "{well:?}");
    assert_eq!(well.books[0], "1 active 1 1 1 60 renewed");
    assert_eq!(well.books[5], "6 active 6 0 0 30 balance_short");
    for fault in [
        Fault::Page(502),
        Fault::SERVER_ERROR,
        Fault::Cut { taken: false },
        Fault::UNAUTHORISED,
        Fault::throttle(3_600),
        Fault::HangBeforeAnswer { taken: false },
    ] {
        let down = pass(Some(fault.clone()));
        assert_eq!(down.books, well.books, "{fault:?}");
        // Messages are nobody's work left: what waits is counted, and the exit code is about money and access.
        assert_eq!(down.code, 0, "{fault:?}: {}", down.summary);
        for figure in ["counts", "charged_kopecks", "oldest_due_seconds", "outcome"] {
            assert_eq!(down.summary[figure], well.summary[figure], "{fault:?}");
        }
        let notices = &down.summary["notices"];
        assert_eq!((&notices["written"], &notices["sent"]), (&json!(6), &json!(0)), "{fault:?}");
        assert_eq!(notices["waiting"], 6, "{fault:?}: {}", down.summary);
    }
}
