use std::time::Duration;

use serde_json::json;
use time::macros::datetime;

use super::*;
use Fate::{Drop, PutOff, Send};

const NOW: Timestamp = datetime!(2026-03-10 12:00 UTC);
const HOUR: Duration = Duration::from_secs(3_600);
const END: Timestamp = datetime!(2026-03-11 06:00 UTC);
const MORNING: Timestamp = datetime!(2026-03-10 20:00 UTC);

/// Of each kind a notice as it is written, about a subscription that is as it was then, by day.
fn notice(kind: &str) -> ClaimedNotice {
    let params = match kind {
        "balance_short" => {
            json!({ "price_kopecks": 200, "balance_kopecks": 50, "missing_kopecks": 150, "deadline": micros(END) })
        }
        "charge_ahead" => {
            json!({ "amount_kopecks": 200, "balance_kopecks": 50, "missing_kopecks": 150, "deadline": micros(END) })
        }
        "trial_reminder" => json!({ "ends": micros(END) }),
        "renewed" => json!({ "amount_kopecks": 200, "balance_kopecks": 50, "until": micros(END) }),
        _ => json!({}),
    };
    ClaimedNotice {
        id: 1,
        chat: TelegramId(7),
        kind: kind.to_owned(),
        params,
        local_times: json!({}),
        language: None,
        attempts: 0,
        urgent: false,
        useless_after: Some(END),
        quiet_until: None,
        unreachable: false,
        paid: false,
        active_until: Some(END),
        renews: true,
        superseded: false,
        balance: Some(Kopecks(50)),
    }
}

/// A change of the world between writing and sending.
type Change = fn(&mut ClaimedNotice);

const KINDS: [&str; 9] = [
    "renewed",
    "balance_short",
    "charge_ahead",
    "trial_reminder",
    "trial_over",
    "subscription_over",
    "alert_parked",
    "alert_brake",
    "alert_dead",
];

/// What happens, and what then becomes of each kind, in the order of [`KINDS`].
#[rustfmt::skip]
fn table() -> Vec<(&'static str, Change, [Fate; 9])> {
    const OVER: Fate = Drop("renewed or over");
    const PAID: Fate = Drop("paid");
    const MOVED: Fate = Drop("over or moved");
    const OFF: Fate = Drop("will not be charged");
    const NEWER: Fate = Drop("a newer one follows");
    const LATER: Fate = PutOff(MORNING);
    let gone = |why: &'static str| std::array::from_fn::<_, 9, _>(|_| Drop(why));
    vec![
        //                                        renewed short ahead reminder trial over, over, three alerts
        ("nothing",          |_| {},                      [Send, Send, Send, Send, Send, Send, Send, Send, Send]),
        ("its time is over", |n| n.useless_after = Some(NOW),            gone("too late")),
        ("nearly over",      |n| n.useless_after = Some(NOW + Duration::from_micros(1)),
                                                          [Send, Send, Send, Send, Send, Send, Send, Send, Send]),
        ("blocked the bot",  |n| n.unreachable = true,                   gone("receiver unreachable")),
        ("renewed",          |n| n.active_until = Some(END + HOUR),
                                                          [Send, OVER, OVER, MOVED, Send, Send, Send, Send, Send]),
        ("ended",            |n| n.active_until = None,   [Send, OVER, OVER, MOVED, Send, Send, Send, Send, Send]),
        ("bought another",   |n| n.paid = true,           [Send, Send, Send, PAID, PAID, PAID, Send, Send, Send]),
        ("renewal off",      |n| n.renews = false,        [Send, OFF, OFF, Send, Send, Send, Send, Send, Send]),
        ("topped up",        |n| n.balance = Some(Kopecks(200)),
                                                          [Send, Drop("topped up"), Send, Send, Send, Send, Send, Send, Send]),
        ("not enough",       |n| n.balance = Some(Kopecks(199)),
                                                          [Send, Send, Send, Send, Send, Send, Send, Send, Send]),
        ("told again",       |n| n.superseded = true,     [Send, NEWER, Send, NEWER, Send, Send, Send, Send, Send]),
        ("night",            |n| n.quiet_until = Some(MORNING),
                                                          [Send, LATER, LATER, LATER, Send, Send, Send, Send, Send]),
        ("last by night",    |n| (n.quiet_until, n.urgent) = (Some(MORNING), true),
                                                          [Send, Send, Send, Send, Send, Send, Send, Send, Send]),
    ]
}

#[test]
fn what_happened_meanwhile_decides_about_every_kind() {
    for (what, change, fates) in table() {
        for (kind, fate) in KINDS.into_iter().zip(fates) {
            let mut notice = notice(kind);
            change(&mut notice);
            assert_eq!(decide(&notice, NOW), fate, "{kind}, {what}");
        }
    }
}

#[test]
fn what_is_written_of_a_balance_is_what_it_is_when_it_is_sent() {
    for (kind, price) in [("balance_short", "price_kopecks"), ("charge_ahead", "amount_kopecks")] {
        for (balance, missing) in [(0, 200), (120, 80), (200, 0), (5_000, 0)] {
            let mut notice = notice(kind);
            notice.balance = Some(Kopecks(balance));
            refresh(&mut notice);
            let params = &notice.params;
            assert_eq!((&params["balance_kopecks"], &params["missing_kopecks"]), (&json!(balance), &json!(missing)));
            assert_eq!((&params[price], &params["deadline"]), (&json!(200), &json!(micros(END))));
        }
    }
    // A receipt says what was left after the charge, whatever came later.
    let mut receipt = notice("renewed");
    receipt.balance = Some(Kopecks(9_999));
    refresh(&mut receipt);
    assert_eq!(receipt.params, notice("renewed").params);
}

/// What is recorded of an answer: status, attempts that count, seconds until the next try.
fn outcome(kind: &str, attempts: i32, result: Result<i64, MessengerError>) -> (&'static str, i32, Option<i64>) {
    let notice = ClaimedNotice { attempts, ..notice(kind) };
    let recorded = recorded(&notice, &result, NOW);
    (recorded.status, recorded.attempts, recorded.not_before.map(|at| (at - NOW).whole_seconds()))
}

#[test]
fn what_came_of_an_attempt_is_recorded_by_the_policy_of_its_kind() {
    let transient = || Err(MessengerError::Transient { reason: "502".to_owned() });
    let unknown = || Err(MessengerError::Unknown { reason: "cut".to_owned() });
    for kind in KINDS {
        let again = AT_LEAST_ONCE.contains(&kind);
        assert_eq!(outcome(kind, 0, Ok(5)), ("sent", 1, None), "{kind}");
        assert_eq!(outcome(kind, 0, transient()), ("pending", 1, Some(30)), "{kind}");
        assert_eq!(outcome(kind, 3, transient()), ("pending", 4, Some(240)), "{kind}");
        assert_eq!(outcome(kind, 7, transient()), ("pending", 8, Some(3_600)), "{kind}");
        assert_eq!(outcome(kind, 8, transient()), ("pending", 8, Some(3_600)), "{kind}");
        assert_eq!(outcome(kind, 15, transient()), ("pending", 15, Some(3_600)), "{kind}");
        assert_eq!(outcome(kind, MAX_ATTEMPTS - 1, unknown()).0, if again { "dead" } else { "dropped" }, "{kind}");
        let sent_or_not = if again { ("pending", 1, Some(30)) } else { ("dropped", 1, None) };
        assert_eq!(outcome(kind, 0, unknown()), sent_or_not, "{kind}");
    }
}
