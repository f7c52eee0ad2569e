//! The decision in tables, a row per rule and boundary; then what a batch of decisions writes.

use std::time::Duration;

use perennial_core::ids::{AccountId, CredentialId, TelegramId, VpnUuid};
use time::macros::datetime;
use uuid::Uuid;

use super::*;

const NOW: Timestamp = datetime!(2026-03-10 12:00 UTC);
const END: Timestamp = datetime!(2026-03-10 15:00 UTC);
const UNTIL: Timestamp = datetime!(2026-04-10 15:00 UTC);
const GRACE: Duration = Duration::from_secs(900);
const MICROSECOND: Duration = Duration::from_micros(1);

/// A row that ends in three hours, sold for 199 rubles, with just enough in the wallet.
fn row() -> DueForRenewal {
    DueForRenewal {
        id: SubscriptionId(7),
        telegram_id: TelegramId(1007),
        tariff: "basic_1m".into(),
        tariff_active: Some(true),
        period_start: END,
        period_end: Some(UNTIL),
        price: Some(Kopecks(19_900)),
        wallet: AccountId(2007),
        balance: Kopecks(19_900),
        credential: CredentialId(3007),
        uuid: VpnUuid::new(Uuid::from_u128(7)),
        voided: 0,
        tries: 0,
        short_stage: None,
        short_seen: None,
    }
}

/// The same with a kopeck too little.
fn short_row() -> DueForRenewal {
    DueForRenewal { balance: Kopecks(19_899), ..row() }
}

fn renewed(price: i64) -> Action {
    Action::Renew { price: Kopecks(price), until: UNTIL }
}

fn short_action(stage: ShortStage, notify: bool, record: bool) -> Action {
    Action::Short { price: Kopecks(19_900), stage, notify, record }
}

fn parked(reason: &str) -> Action {
    Action::Park { reason: reason.into() }
}

fn plan(rows: Vec<DueForRenewal>) -> Plan {
    Plan::of(rows, NOW, GRACE)
}

#[test]
fn the_wallet_and_the_tariff_decide_between_charging_waiting_and_parking() {
    let withdrawn = parked("tariff basic_1m is withdrawn");
    let unknown = parked("tariff basic_1m does not exist");
    let first = short_action(ShortStage::First, true, true);
    let free = Some(Kopecks::ZERO);
    for (what, row, expected) in [
        ("balance = price", row(), renewed(19_900)),
        ("balance above the price", DueForRenewal { balance: Kopecks(i64::MAX), ..row() }, renewed(19_900)),
        ("a kopeck too little", short_row(), first.clone()),
        ("nothing in the wallet", DueForRenewal { balance: Kopecks::ZERO, ..row() }, first),
        ("price 0, empty wallet", DueForRenewal { price: free, balance: Kopecks::ZERO, ..row() }, renewed(0)),
        ("100 % discount, full wallet", DueForRenewal { price: free, ..row() }, renewed(0)),
        ("a discounted price", DueForRenewal { price: Some(Kopecks(13_930)), ..row() }, renewed(13_930)),
        ("withdrawn, funded", DueForRenewal { tariff_active: Some(false), ..row() }, withdrawn.clone()),
        ("withdrawn, short", DueForRenewal { tariff_active: Some(false), ..short_row() }, withdrawn.clone()),
        ("withdrawn, free", DueForRenewal { tariff_active: Some(false), price: free, ..row() }, withdrawn),
        ("unknown", DueForRenewal { tariff_active: None, price: None, period_end: None, ..row() }, unknown.clone()),
        // An agreed price is known without a tariff; the length of the period is not.
        ("unknown, price agreed", DueForRenewal { tariff_active: None, period_end: None, ..row() }, unknown),
    ] {
        assert_eq!(decide(&row, NOW), expected, "{what}");
    }
}

#[test]
fn a_funded_row_is_charged_at_every_moment_of_window_and_grace() {
    for now in [END - Duration::from_secs(6 * 3600), END - MICROSECOND, END, END + GRACE - MICROSECOND] {
        assert_eq!(decide(&row(), now), renewed(19_900), "{now}");
    }
}

#[test]
fn a_short_row_is_told_first_and_finally_and_in_between_nothing() {
    let an_hour_before = END - FINAL_NOTICE;
    for (stage_before, now, stage, notify) in [
        (None, END - Duration::from_secs(6 * 3600), ShortStage::First, true),
        (None, an_hour_before - MICROSECOND, ShortStage::First, true),
        (None, an_hour_before, ShortStage::Final, true), // the first notice is never sent after the final one
        (None, END, ShortStage::Final, true),
        (None, END + GRACE - MICROSECOND, ShortStage::Final, true),
        (Some(ShortStage::First), END - Duration::from_secs(2 * 3600), ShortStage::First, false),
        (Some(ShortStage::First), an_hour_before - MICROSECOND, ShortStage::First, false),
        (Some(ShortStage::First), an_hour_before, ShortStage::Final, true),
        (Some(ShortStage::First), END + GRACE - MICROSECOND, ShortStage::Final, true),
        (Some(ShortStage::Final), an_hour_before - MICROSECOND, ShortStage::Final, false), // an end moved away keeps what was said
        (Some(ShortStage::Final), an_hour_before, ShortStage::Final, false),
        (Some(ShortStage::Final), END, ShortStage::Final, false),
    ] {
        let row = DueForRenewal {
            short_stage: stage_before,
            short_seen: Some((Kopecks(19_899), Kopecks(19_900))),
            ..short_row()
        };
        assert_eq!(decide(&row, now), short_action(stage, notify, notify), "{stage_before:?} at {now}");
    }
}

#[test]
fn a_failed_try_is_recorded_when_balance_price_or_notice_is_new() {
    let seen = Some((Kopecks(19_899), Kopecks(19_900)));
    for (what, stage, seen, record) in [
        ("never tried", None, None, true),
        ("same as before", Some(ShortStage::First), seen, false),
        ("topped up, not enough", Some(ShortStage::First), Some((Kopecks(100), Kopecks(19_900))), true),
        ("spent elsewhere", Some(ShortStage::First), Some((Kopecks(19_900), Kopecks(19_900))), true),
        ("another price", Some(ShortStage::First), Some((Kopecks(19_899), Kopecks(29_900))), true),
        ("stage without amounts", Some(ShortStage::First), None, true),
        ("amounts without a stage", None, seen, true),
    ] {
        let row = DueForRenewal { short_stage: stage, short_seen: seen, ..short_row() };
        let notify = stage.is_none();
        assert_eq!(decide(&row, NOW), short_action(ShortStage::First, notify, record), "{what}");
        let plan = plan(vec![row]);
        assert_eq!(plan.short_tries().len(), usize::from(record), "{what}");
        assert_eq!(plan.audit().len(), usize::from(record), "{what}");
        assert_eq!(plan.notices().len(), usize::from(notify), "{what}");
    }
}

#[test]
fn a_charge_is_named_by_subscription_and_period_and_numbered_after_a_refund() {
    for (voided, key, receipt) in [
        (0, "renew:7:1773154800000000", "renewed:7:1773154800000000"),
        (1, "renew:7:1773154800000000:2", "renewed:7:1773154800000000:2"),
        (9, "renew:7:1773154800000000:10", "renewed:7:1773154800000000:10"),
    ] {
        let plan = plan(vec![DueForRenewal { voided, ..row() }]);
        let transfers = plan.transfers();
        assert_eq!(transfers, [NewTransfer::charge(key.into(), AccountId(2007), Kopecks(19_900))]);
        assert_eq!(plan.payments()[0].transfer_key.as_deref(), Some(key));
        assert_eq!(plan.notices()[0].dedupe_key, receipt);
    }
}

#[test]
fn a_renewal_writes_transfer_extension_payment_receipt_and_audit_row() {
    let plan = plan(vec![DueForRenewal { balance: Kopecks(20_000), ..row() }]);
    let extension = Extension { id: SubscriptionId(7), period_start: END, period_end: UNTIL };
    assert_eq!(plan.extensions(), [extension]);
    let payments = plan.payments();
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0].extension, extension);
    assert_eq!((payments[0].tariff.as_str(), payments[0].amount), ("basic_1m", Kopecks(19_900)));

    let notices = plan.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].kind, notices[0].telegram_id), ("renewed", TelegramId(1007)));
    assert_eq!((notices[0].subscription_id, notices[0].useless_after), (Some(SubscriptionId(7)), None));
    assert_eq!(
        notices[0].params.to_string(),
        r#"{"amount_kopecks":19900,"balance_kopecks":100,"tariff":"basic_1m","until":1775833200000000}"#
    );

    let audit = plan.audit();
    assert_eq!(audit.len(), 1);
    assert_eq!((audit[0].action, audit[0].subscription_id), ("renewed", Some(SubscriptionId(7))));
    assert_eq!(
        audit[0].before.as_ref().unwrap().to_string(),
        r#"{"balance_kopecks":20000,"expires_at":"2026-03-10T15:00:00Z"}"#
    );
    assert_eq!(
        audit[0].after.as_ref().unwrap().to_string(),
        r#"{"amount_kopecks":19900,"balance_kopecks":100,"expires_at":"2026-04-10T15:00:00Z","tariff":"basic_1m"}"#
    );
    assert!(plan.short_tries().is_empty() && plan.parkings().is_empty() && plan.recovered().is_empty());
}

#[test]
fn a_free_renewal_moves_no_money_and_does_everything_else() {
    let plan = plan(vec![DueForRenewal { price: Some(Kopecks::ZERO), balance: Kopecks::ZERO, ..row() }]);
    assert!(plan.transfers().is_empty());
    assert_eq!(plan.extensions().len(), 1);
    assert_eq!((plan.payments()[0].amount, plan.payments()[0].transfer_key.clone()), (Kopecks::ZERO, None));
    assert_eq!(plan.notices()[0].params["amount_kopecks"], 0);
    assert_eq!(plan.audit().len(), 1);
}

#[test]
fn a_short_row_writes_its_notice_with_the_missing_amount_and_the_deadline_and_no_money() {
    let plan = plan(vec![DueForRenewal { balance: Kopecks(4_900), ..row() }]);
    assert!(plan.transfers().is_empty() && plan.extensions().is_empty() && plan.payments().is_empty());

    let notices = plan.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(
        (notices[0].kind, notices[0].dedupe_key.as_str()),
        ("balance_short", "balance_short:7:1773154800000000:first")
    );
    assert_eq!(notices[0].useless_after, Some(END + GRACE));
    assert_eq!(
        notices[0].params.to_string(),
        r#"{"balance_kopecks":4900,"deadline":1773154800000000,"missing_kopecks":15000,"price_kopecks":19900,"stage":"first","tariff":"basic_1m"}"#
    );
    let tried =
        ShortTry { id: SubscriptionId(7), stage: ShortStage::First, balance: Kopecks(4_900), price: Kopecks(19_900) };
    assert_eq!(plan.short_tries(), [tried]);
    let audit = plan.audit();
    assert_eq!(audit[0].action, "renewal_short");
    assert_eq!(
        audit[0].after.as_ref().unwrap().to_string(),
        r#"{"missing_kopecks":15000,"price_kopecks":19900,"stage":"first"}"#
    );
}

#[test]
fn the_final_notice_has_a_key_of_its_own() {
    let plan = Plan::of(vec![short_row()], END - FINAL_NOTICE, GRACE);
    assert_eq!(plan.notices()[0].dedupe_key, "balance_short:7:1773154800000000:final");
    assert_eq!(plan.notices()[0].params["stage"], "final");
}

#[test]
fn a_parked_row_writes_nothing_but_its_parking() {
    let plan = plan(vec![DueForRenewal { tariff_active: Some(false), ..row() }]);
    assert!(plan.transfers().is_empty() && plan.extensions().is_empty() && plan.payments().is_empty());
    assert!(plan.notices().is_empty() && plan.audit().is_empty() && plan.short_tries().is_empty());
    let parkings = plan.parkings();
    assert_eq!(parkings.len(), 1);
    assert_eq!((parkings[0].subscription_id, parkings[0].verdict), (SubscriptionId(7), Verdict::Park));
    assert_eq!(parkings[0].reason, "tariff basic_1m is withdrawn");
}

#[test]
fn a_row_got_through_is_recovered_whether_it_paid_or_not_but_not_when_it_is_parked() {
    for (what, row, recovered) in [
        ("no failed tries", row(), false),
        ("renewed", DueForRenewal { tries: 2, ..row() }, true),
        ("short", DueForRenewal { tries: 2, ..short_row() }, true),
        ("parked", DueForRenewal { tries: 2, tariff_active: None, ..row() }, false),
    ] {
        assert_eq!(!plan(vec![row]).recovered().is_empty(), recovered, "{what}");
    }
}

#[test]
fn what_stands_there_after_the_extension_must_be_what_was_decided() {
    let sound = ReadBack {
        id: SubscriptionId(7),
        expires_at: UNTIL,
        credential: CredentialId(3007),
        uuid: VpnUuid::new(Uuid::from_u128(7)),
    };
    let other_uuid = VpnUuid::new(Uuid::from_u128(8));
    let credential = "subscription 7 has another credential or UUID after its extension";
    for (what, read_back, expected) in [
        ("as decided", vec![sound], None),
        ("gone", vec![], Some("subscription 7 is not active any more after its extension")),
        (
            "somebody else's row",
            vec![ReadBack { id: SubscriptionId(8), ..sound }],
            Some("subscription 7 is not active any more after its extension"),
        ),
        (
            "the old end",
            vec![ReadBack { expires_at: END, ..sound }],
            Some("subscription 7 ends at 2026-03-10T15:00:00Z after its extension, not at 2026-04-10T15:00:00Z"),
        ),
        (
            "an end one microsecond early",
            vec![ReadBack { expires_at: UNTIL - MICROSECOND, ..sound }],
            Some("subscription 7 ends at 2026-04-10T14:59:59.999999Z after its extension, not at 2026-04-10T15:00:00Z"),
        ),
        (
            "a later end than decided",
            vec![ReadBack { expires_at: UNTIL + MICROSECOND, ..sound }],
            Some("subscription 7 ends at 2026-04-10T15:00:00.000001Z after its extension, not at 2026-04-10T15:00:00Z"),
        ),
        ("another credential", vec![ReadBack { credential: CredentialId(1), ..sound }], Some(credential)),
        ("another UUID", vec![ReadBack { uuid: other_uuid, ..sound }], Some(credential)),
    ] {
        assert_eq!(plan(vec![row()]).difference_of_rows(&read_back).as_deref(), expected, "{what}");
    }
}

#[test]
fn only_renewed_rows_are_compared_and_the_first_difference_is_named() {
    let untouched = [short_row(), DueForRenewal { id: SubscriptionId(8), tariff_active: None, ..row() }];
    assert_eq!(plan(untouched.to_vec()).difference_of_rows(&[]), None);

    let rows = vec![short_row(), DueForRenewal { id: SubscriptionId(9), ..row() }];
    let difference = plan(rows).difference_of_rows(&[]).unwrap();
    assert_eq!(difference, "subscription 9 is not active any more after its extension");
}

#[test]
fn a_difference_never_shows_a_uuid() {
    let secret = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    let changed = ReadBack {
        id: SubscriptionId(7),
        expires_at: UNTIL,
        credential: CredentialId(3007),
        uuid: VpnUuid::new(secret),
    };
    let difference = plan(vec![row()]).difference_of_rows(&[changed]).unwrap();
    assert!(!difference.contains(&secret.to_string()[..8]), "{difference}");
}

#[test]
fn rows_of_a_batch_do_not_mix() {
    let rows = vec![
        row(),
        DueForRenewal { id: SubscriptionId(8), wallet: AccountId(2008), balance: Kopecks(1), ..row() },
        DueForRenewal { id: SubscriptionId(9), wallet: AccountId(2009), tariff_active: Some(false), ..row() },
        DueForRenewal { id: SubscriptionId(10), wallet: AccountId(2010), price: Some(Kopecks(100)), ..row() },
    ];
    let plan = plan(rows);
    let charged: Vec<_> = plan.transfers().into_iter().map(|transfer| (transfer.key, transfer.amount)).collect();
    let expected = [
        ("renew:7:1773154800000000".to_owned(), Kopecks(19_900)),
        ("renew:10:1773154800000000".to_owned(), Kopecks(100)),
    ];
    assert_eq!(charged, expected);
    let extended: Vec<i64> = plan.extensions().iter().map(|extension| extension.id.0).collect();
    assert_eq!(extended, [7, 10]);
    let kinds: Vec<(i64, &str)> =
        plan.notices().iter().map(|notice| (notice.subscription_id.map_or(0, |id| id.0), notice.kind)).collect();
    assert_eq!(kinds, [(7, "renewed"), (8, "balance_short"), (10, "renewed")]);
    assert_eq!(plan.parkings()[0].subscription_id, SubscriptionId(9));
}

#[test]
fn a_payment_that_is_not_what_was_decided_is_named() {
    let period = Extension { id: SubscriptionId(7), period_start: END, period_end: UNTIL };
    let sound = PaidPeriod { period, amount: row().price.unwrap() };
    let shorter = PaidPeriod { period: Extension { period_end: UNTIL - MICROSECOND, ..period }, ..sound };
    let named = "the payment of subscription 7 is not what was decided";
    for (what, paid, expected) in [
        ("as decided", vec![sound], None),
        ("none", vec![], Some(named)),
        ("other days", vec![shorter], Some(named)),
        ("another amount", vec![PaidPeriod { amount: Kopecks(1), ..sound }], Some(named)),
    ] {
        assert_eq!(plan(vec![row()]).difference_of_payments(&paid).as_deref(), expected, "{what}");
    }
}
