//! What passes write, delivered with the shipped texts: every kind in every state and language, and a day and a half in
//! which nothing ran.
#![allow(clippy::unwrap_used)]

mod delivery_support;

use std::time::Duration;

use delivery_support::{DAY, HOUR, NOW, Outbox, about, budget, quiet};
use perennial_boot::{NoticeTexts, TextsSection, claim_settings};
use perennial_core::db::{Actor, ClaimSettings, DatabaseOptions, NewNotice, QuietHours, RenewalBounds};
use perennial_core::delivery::{DeliverySettings, DeliverySummary, deliver};
use perennial_core::ending::{self, Brake, EndSettings, EndSummary};
use perennial_core::ids::{RunId, SubscriptionId, TelegramId};
use perennial_core::money::Kopecks;
use perennial_core::share::Share;
use perennial_core::time::{Timestamp, micros};
use perennial_testkit::builders::{Bot, Status, Subscription, User, set_bot_clock};
use perennial_testkit::{db_test, db_test_unchecked};
use renew::RenewPass;
use serde_json::{Value, json};
use time::macros::time;

const PRICE: i64 = 19_900;

/// Delivers with the shipped texts until nothing is due.
async fn deliver_shipped(outbox: &Outbox, quiet_hours: Option<QuietHours>) -> DeliverySummary {
    let texts = NoticeTexts::load(&TextsSection::default()).unwrap();
    let claim = ClaimSettings { quiet_hours, ..claim_settings(&TextsSection::default()) };
    let settings = DeliverySettings { claim, ..outbox.settings.clone() };
    let (db, mut summary) = (outbox.open(), DeliverySummary::default());
    deliver(&db, &outbox.messenger, &texts, &settings, &budget(), &mut summary).await.unwrap();
    summary
}

/// What a message of this kind begins with, in Russian and in English.
const HEADINGS: [(&str, &str, &str); 6] = [
    ("renewed", "Подписка продлена", "Your subscription has been renewed"),
    ("balance_short", "На балансе не хватает денег для продления", "Your balance does not cover the renewal"),
    ("charge_ahead", "Продление 10 марта, 21:00", "Renewal on 10 March, 21:00"),
    ("trial_reminder", "Пробный период. Осталось: ", "Your trial: "),
    ("trial_over", "Пробный период закончился", "Your trial is over"),
    ("subscription_over", "Подписка закончилась", "Your subscription is over"),
];

/// A user's language, and whether it is Russian that is spoken then.
const LANGUAGES: [(Option<&str>, bool); 5] =
    [(Some("ru"), true), (Some("ru-KZ"), true), (Some("en"), false), (Some("xx"), false), (None, false)];

/// What the world is like when a message is about to leave.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    AsWritten,
    Renewed,
    Unreachable,
    TooLate,
    Night,
}

const STATES: [State; 5] = [State::AsWritten, State::Renewed, State::Unreachable, State::TooLate, State::Night];

/// What becomes of a kind in a state.
fn expected(kind: &str, state: State) -> &'static str {
    let is_reminder = matches!(kind, "balance_short" | "charge_ahead" | "trial_reminder");
    match state {
        State::AsWritten => "sent",
        State::Renewed | State::Night if !is_reminder => "sent",
        State::Night => "pending",
        State::Renewed | State::Unreachable | State::TooLate => "dropped",
    }
}

/// A notice of this kind as a pass writes it, 15 hours before the end it speaks of, or just after.
async fn notice(outbox: &Outbox, user: i64, kind: &'static str) -> NewNotice {
    let source = if kind.starts_with("trial") { "trial" } else { "payment" };
    let is_over = kind.ends_with("_over");
    let end = if is_over { NOW - HOUR } else { NOW + HOUR * 15 };
    let right = Subscription {
        source,
        auto_renew: source == "payment",
        status: if is_over { Status::Expiring } else { Status::Active },
        ..Subscription::paid(user, "basic_1m", end)
    };
    let id = right.put(&outbox.client).await;
    let params = match kind {
        "renewed" => json!({ "amount_kopecks": PRICE, "balance_kopecks": 0, "until": micros(end) }),
        "balance_short" => json!({ "stage": "first", "price_kopecks": PRICE, "balance_kopecks": 0,
            "missing_kopecks": PRICE, "deadline": micros(end) }),
        "charge_ahead" => json!({ "amount_kopecks": PRICE, "balance_kopecks": 0, "missing_kopecks": PRICE,
            "charge_at": micros(end - HOUR * 6), "deadline": micros(end) }),
        "trial_reminder" => json!({ "stage": "60h", "ends": micros(end) }),
        _ => json!({ "ended": micros(end) }),
    };
    let Value::Object(mut params) = params else { unreachable!() };
    params.insert("tariff".to_owned(), "basic_1m".into());
    about(user, kind, Some(id), Value::Object(params))
}

#[test]
fn every_kind_in_every_state_and_language_is_sent_dropped_or_put_off() {
    // Receipts of no payment, which the checks of the books would miss.
    db_test_unchecked(async |db| {
        let outbox = Outbox::new(db).await;
        let mut written = Vec::new();
        let mut user = 0;
        for (kind, russian, english) in HEADINGS {
            for (language, is_russian) in LANGUAGES {
                for state in STATES {
                    user += 1;
                    User::new(user, 0).put(&outbox.client).await;
                    let mut notice = notice(&outbox, user, kind).await;
                    let tag = language.map_or("NULL".to_owned(), |tag| format!("'{tag}'"));
                    let change = match state {
                        State::AsWritten => "SELECT".to_owned(),
                        State::Renewed => format!(
                            "UPDATE subscriptions SET expires_at = expires_at + interval '30 days'
                             WHERE telegram_id = {user} AND status = 'active'"
                        ),
                        State::Unreachable => {
                            format!("UPDATE users SET telegram_unreachable_since = '{NOW}' WHERE telegram_id = {user}")
                        }
                        State::TooLate => {
                            notice.useless_after = Some(NOW);
                            "SELECT".to_owned()
                        }
                        // There it is one o'clock in the morning.
                        State::Night => {
                            format!("UPDATE users SET time_zone = 'Pacific/Auckland' WHERE telegram_id = {user}")
                        }
                    };
                    let set_language = format!("UPDATE users SET language = {tag} WHERE telegram_id = {user}");
                    outbox.execute(&format!("{change}; {set_language}")).await;
                    let id = outbox.write(notice).await;
                    let heading = if is_russian { russian } else { english };
                    written.push((id, user, kind, language, state, heading));
                }
            }
        }
        drop(deliver_shipped(&outbox, quiet(time!(23:00), time!(08:00))).await);
        for (id, user, kind, language, state, heading) in written {
            let what = format!("{kind}, {state:?}, {language:?}");
            let (status, _, why) = outbox.state(id).await;
            assert_eq!(status, expected(kind, state), "{what}: {why}");
            let messages = outbox.messenger.messages_of(user);
            if status != "sent" {
                assert!(messages.is_empty(), "{what}");
            } else if state == State::AsWritten {
                assert!(messages[0].text.starts_with(&format!("<b>{heading}")), "{what}: {}", messages[0].text);
            } else {
                assert_eq!(messages.len(), 1, "{what}");
            }
        }
    });
}

/// The pass of `renew`, announcements included.
async fn renew(outbox: &Outbox) {
    let settings = renew::Settings {
        bounds: RenewalBounds { window: HOUR * 6, grace: Duration::from_secs(900) },
        batch_rows: 200,
        workers: 1,
        max_tries: 3,
        charge_notice: Some(DAY),
        limit: None,
    };
    let (db, deadline, mut summary) = (outbox.open(), budget(), renew::Summary::default());
    let pass = RenewPass { db: &db, deadline: &deadline, settings, observer: &|_| {} };
    pass.run(&mut summary).await.unwrap();
}

/// The first step of `expire-fast`.
async fn end(outbox: &Outbox) {
    let settings = EndSettings {
        limit: None,
        sources: &["trial", "payment", "grant"],
        grace: Duration::from_secs(900),
        batch_rows: 200,
        brake: Brake { max_ends: None, max_share: Share::WHOLE },
        observer: &|_| {},
        progress: &|_| {},
    };
    let options = DatabaseOptions::of(Actor { name: "expire-fast", run_id: RunId::new() });
    let db = outbox.db.database(options, outbox.clock.clone(), budget());
    let mut summary = EndSummary::default();
    ending::end_due(&db, &budget(), settings, &mut summary).await.unwrap();
}

#[test]
fn off_for_36_hours_each_customer_is_told_one_thing_and_who_paid_by_hand_nothing() {
    db_test(async |db| {
        let outbox = Outbox::new(db).await;
        let subscriber = async |user: i64, balance: i64, end: Timestamp| -> SubscriptionId {
            User::new(user, balance).put(&outbox.client).await;
            Subscription::paid(user, "basic_1m", end).put(&outbox.client).await
        };
        subscriber(1, 0, NOW + HOUR * 5).await; // warned, then over
        subscriber(2, 0, NOW + HOUR * 20).await; // a charge was announced, then over
        subscriber(3, 0, NOW + HOUR * 23).await; // the same, and buys by hand
        subscriber(4, PRICE, NOW + HOUR * 40).await; // to be renewed when all is back
        subscriber(5, 0, NOW + HOUR * 40).await; // and this one is short then
        subscriber(6, PRICE, NOW + HOUR * 5).await; // renewed before, the receipt waits
        subscriber(7, 0, NOW + HOUR * 60).await; // to be announced when all is back
        renew(&outbox).await;
        let waiting = "SELECT string_agg(concat(telegram_id, ' ', kind), ', ' ORDER BY telegram_id) FROM notices";
        let before: String = outbox.client.query_typed_one(waiting, &[]).await.unwrap().get(0);
        assert_eq!(before, "1 balance_short, 2 charge_ahead, 3 charge_ahead, 6 renewed");

        // Now everything is off. At the tenth hour a bot sells.
        outbox.clock.set(NOW + HOUR * 10);
        set_bot_clock(&outbox.client, NOW + HOUR * 10).await;
        let bot = Bot(&outbox.client);
        bot.top_up(TelegramId(3), Kopecks(PRICE), "by hand").await.unwrap();
        bot.buy(TelegramId(3), "basic_1m", true, "by hand too").await.unwrap();

        outbox.clock.set(NOW + HOUR * 36);
        set_bot_clock(&outbox.client, NOW + HOUR * 36).await;
        renew(&outbox).await;
        end(&outbox).await;
        drop(deliver_shipped(&outbox, None).await);
        let told = "SELECT string_agg(concat(telegram_id, ' ', kind), ', ' ORDER BY telegram_id) FROM notices
                    WHERE status = 'sent'";
        let told: String = outbox.client.query_typed_one(told, &[]).await.unwrap().get(0);
        assert_eq!(
            told,
            "1 subscription_over, 2 subscription_over, 4 renewed, 5 balance_short, 6 renewed, 7 charge_ahead"
        );
        assert_eq!(outbox.count("pending").await, 0);
        let mut chats = outbox.chats();
        chats.sort_unstable();
        assert_eq!(chats, [1, 2, 4, 5, 6, 7], "one message each");
    });
}
