//! Real SIGKILLs of the built program while it delivers over a real connection. `PERENNIAL_KILLS=200` does it more often;
//! the same over simulated time, with counts, is in the tests of delivery.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use perennial_testkit::db_test_unchecked;
use perennial_testkit::fake_telegram::{FakeTelegram, Limits, TOKEN};
use perennial_testkit::program::bare;
use tokio_postgres::Client;

/// Notices of each sort a round.
const EACH: i64 = 6;
/// Chats of endings begin here; below are those of reminders.
const ENDINGS: i64 = 1_000_000;
/// No process has more under way than a second's worth.
const UNDER_WAY: usize = 25;

/// Users with a trial that no pass has anything to do with: only its reminder, written by hand, is to be sent.
const TRIALS: &str = "
    INSERT INTO users (telegram_id) SELECT generate_series(1, $LAST);
    INSERT INTO credentials (telegram_id) SELECT telegram_id FROM users;
    INSERT INTO subscriptions (telegram_id, source, tariff, credential_id, expires_at)
    SELECT c.telegram_id, 'trial', 'basic_1m', c.id, now() + interval '10 hours' FROM credentials c;
    UPDATE subscriptions SET next_reminder_at = NULL";

/// Reminders, which must not come twice, and endings, which must come.
const ROUND: &str = "
    INSERT INTO notices (telegram_id, kind, dedupe_key, subscription_id, params)
    SELECT s.telegram_id, 'trial_reminder', concat('reminder:', s.id), s.id, jsonb_build_object(
        'tariff', s.tariff, 'stage', '60h', 'ends', (extract(epoch FROM s.expires_at) * 1000000)::bigint)
    FROM subscriptions s WHERE s.telegram_id > $FIRST AND s.telegram_id <= $FIRST + $EACH;
    INSERT INTO notices (telegram_id, kind, dedupe_key, params)
    SELECT 1000000 + n, 'trial_over', concat('ending:', n), '{\"tariff\": \"basic_1m\", \"ended\": 1773154800000000}'
    FROM generate_series($FIRST + 1, $FIRST + $EACH) n";

async fn count(client: &Client, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM notices WHERE {what}");
    client.query_typed_one(&sql, &[]).await.unwrap().get(0)
}

#[test]
fn killed_again_and_again_it_loses_no_ending_and_sends_no_reminder_twice() {
    let kills: i64 = std::env::var("PERENNIAL_KILLS").ok().map_or(25, |kills| kills.parse().unwrap());
    db_test_unchecked(async |db| {
        let client = db.client().await;
        client.batch_execute(&TRIALS.replace("$LAST", &(kills * EACH).to_string())).await.unwrap();
        let server = FakeTelegram::start_with(Limits::NONE).unwrap();
        let pass = || {
            let mut command = bare(env!("CARGO_BIN_EXE_notify-trials"));
            command
                .env("DATABASE_URL", db.passes_url("notify-trials"))
                .env("PERENNIAL_CONFIG", "/dev/null")
                .env("PERENNIAL_TELEGRAM_API", server.api())
                .env("PERENNIAL_TELEGRAM_TOKEN", TOKEN)
                .args(["--no-end", "-qq", "--output", "json"])
                .stdout(Stdio::null());
            command
        };
        // Leases are longer than anybody wants to wait here.
        let free = "UPDATE notices SET lease_until = now() - interval '1 second' WHERE status = 'sending'";
        let mut random = 0x9e37_79b9_u64;
        let mut in_the_middle = 0;
        for round in 0..kills {
            let written = ROUND.replace("$FIRST", &(round * EACH).to_string()).replace("$EACH", &EACH.to_string());
            client.batch_execute(&written).await.unwrap();
            let mut sending = pass().spawn().unwrap();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_millis((random >> 33) % 600));
            sending.kill().unwrap();
            sending.wait().unwrap();
            in_the_middle += i64::from(count(&client, "status = 'sending'").await > 0);
            client.batch_execute(free).await.unwrap();
        }
        let patience = Instant::now() + Duration::from_secs(300);
        while count(&client, "status IN ('pending', 'sending')").await > 0 {
            assert!(Instant::now() < patience, "it does not come to an end");
            assert!(pass().status().unwrap().success());
            client.batch_execute(free).await.unwrap();
        }

        let mut arrived: HashMap<i64, usize> = HashMap::new();
        for message in server.messages() {
            *arrived.entry(message.chat_id).or_default() += 1;
        }
        let times = |chat: i64| arrived.get(&chat).copied().unwrap_or(0);
        let all = kills * EACH;
        assert_eq!(count(&client, "kind = 'trial_over' AND status = 'sent'").await, all);
        let reminders: Vec<usize> = (1..=all).map(times).collect();
        assert!(reminders.iter().all(|times| *times <= 1), "a reminder came twice");
        let endings: Vec<usize> = (1..=all).map(|n| times(ENDINGS + n)).collect();
        assert!(endings.iter().all(|times| *times >= 1), "an ending was lost");
        let lost = reminders.iter().filter(|times| **times == 0).count();
        let doubled: usize = endings.iter().map(|times| times - 1).sum();
        let dropped = count(&client, "kind = 'trial_reminder' AND status = 'dropped'").await;
        println!(
            "{kills} kills, {in_the_middle} of them with messages in hand, {all} reminders and {all} endings: \
             {lost} reminders lost ({dropped} dropped, as sent or not), {doubled} endings doubled"
        );
        assert!(usize::try_from(dropped).unwrap() >= lost, "a reminder was lost and nobody knows");
        assert!(lost + doubled <= UNDER_WAY * usize::try_from(kills).unwrap());
    });
}
