use std::fs;

use insta::assert_snapshot;

use crate::{Texts, check};

fn problems(files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let texts = Texts::load(Some(folder.path()), None).unwrap();
    check(&texts).iter().map(|problem| format!("{:?} {problem}\n", problem.severity)).collect()
}

#[test]
fn the_shipped_texts_have_no_problem() {
    assert_eq!(check(&Texts::load(None, Some("ru")).unwrap()), []);
}

#[test]
fn good_overrides_have_no_problem() {
    let text = "\
-brand = Perennial
footer = <i>{ -brand }</i>, { $tariff }
renewed =
    <b>{ $amount }</b> until { $until } ({ $until_left }){ $amount_is ->
        [zero] , a present
       *[positive] {\"\"}
    }
    { footer }
    .button = Account
    .url = https://example.org/{ $tariff_code }
trial_reminder-71h = One hour: { $ends }
tariff-basic_30 = Basic
alert_dead =
    { $count ->
        [0] none
        [one] one
       *[other] { $count }
    }: { $items }
    .item = { $kind } { $telegram_id } { $reason }
format-moment = now
";
    assert_eq!(problems(&[("en.ftl", text)]), "");
}

#[test]
fn slips_of_names_are_named() {
    let text = "\
renewd = { $amount }
renewed = { $amuont } { $amount_is } { $deadline }
balance_short = { $stage ->
    [last] x
   *[first] y
} { $deadline_is ->
    [over] x
   *[ahead] { $missing }
}
balance_short-last = x
charge_ahead = { $amount ->
    [0] x
   *[other] y
}
trial_over = { NUMBER($ended) } { nowhere }
subscription_over = { inner } { -brand } { -brand(shop: \"x\") }
-brand = Perennial { $shop }
inner = { $inside } { inner }
alert_parked = { $items }
    .item = { $pass } { $telegram_id }
    .tooltip = x
alert_brake = { $items }
format-group = { $count }
format-months = x
format-month-13 = x
";
    assert_snapshot!(problems(&[("en.ftl", text)]), @r"
    Wrong en.ftl: alert_brake: its .item is missing
    Wrong en.ftl: alert_parked: has an attribute .tooltip, which means nothing
    Wrong en.ftl: alert_parked: unknown placeholder $telegram_id; there are $pass, $reason, $subscription_id
    Wrong en.ftl: balance_short: $deadline_is is never [over]; it is past or ahead
    Wrong en.ftl: balance_short: $stage is never [last]; it is first or final
    Wrong en.ftl: balance_short-last: is no kind of notice and nothing refers to it; the kinds are renewed, balance_short, charge_ahead, trial_reminder, trial_over, subscription_over, alert_parked, alert_brake, alert_dead
    Wrong en.ftl: charge_ahead: chooses by $amount, which is written for people and differs by language
    Wrong en.ftl: format-group: unknown placeholder $count; there are none
    Wrong en.ftl: format-month-13: is no kind of notice and nothing refers to it; the kinds are renewed, balance_short, charge_ahead, trial_reminder, trial_over, subscription_over, alert_parked, alert_brake, alert_dead
    Wrong en.ftl: format-months: is no kind of notice and nothing refers to it; the kinds are renewed, balance_short, charge_ahead, trial_reminder, trial_over, subscription_over, alert_parked, alert_brake, alert_dead
    Wrong en.ftl: renewd: is no kind of notice and nothing refers to it; the kinds are renewed, balance_short, charge_ahead, trial_reminder, trial_over, subscription_over, alert_parked, alert_brake, alert_dead
    Wrong en.ftl: renewed: unknown placeholder $amuont; there are $amount, $amount_is, $balance, $balance_is, $tariff, $tariff_code, $until, $until_is, $until_left
    Wrong en.ftl: renewed: unknown placeholder $deadline; there are $amount, $amount_is, $balance, $balance_is, $tariff, $tariff_code, $until, $until_is, $until_left
    Wrong en.ftl: renewed: writes $amount_is, which is only a word to choose a variant by
    Wrong en.ftl: subscription_over: -brand: unknown placeholder $shop; there are none
    Wrong en.ftl: subscription_over: unknown placeholder $inside; there are $ended, $ended_is, $ended_left, $tariff, $tariff_code
    Wrong en.ftl: trial_over: calls NUMBER(), but there are no functions
    ");
}

#[test]
fn forms_that_a_language_has_are_missed() {
    let text = "\
format-hours = { $count ->
    [one] { $count } час
   *[other] { $count } часов
}
format-minutes = { $count ->
    [single] минута
   *[other] минут
}
";
    assert_snapshot!(problems(&[("ru.ftl", text)]), @r"
    Wrong ru.ftl: format-hours: forms of $count are missing: many, few
    Wrong ru.ftl: format-minutes: $count is never [single]; it is many, one, few, or a number
    ");
}

#[test]
fn broken_markup_buttons_and_lengths_are_found_in_every_variant() {
    let text = format!(
        "\
renewed = {{ $amount_is ->
    [zero] <b>free
   *[positive] fine
}}
    .button = Account
trial_over = <p>x</p>
    .button = Account
    .url = ftp://example.org
trial_reminder = {{\"\"}}
subscription_over = {}
charge_ahead = a & b, 1 < 2
",
        "long ".repeat(1_000)
    );
    assert_snapshot!(problems(&[("en.ftl", &text)]), @r"
    Wrong en.ftl: charge_ahead: a < that begins no tag; write &lt; for the sign
    Wrong en.ftl: renewed: <b> is not closed
    Wrong en.ftl: renewed: a .button needs a .url
    Wrong en.ftl: subscription_over: 4999 characters are more than Telegram's 4096
    Wrong en.ftl: trial_over: Telegram knows no <p>
    Wrong en.ftl: trial_over: the button leads to ftp://example.org
    Wrong en.ftl: trial_reminder: there is no text in it
    ");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = [
        ("russian language.ftl", "renewed = x\n"),
        ("pt-BR.ftl", "renewed = x\n"),
        ("pt_br.ftl", "renewed = x\n"),
        ("ru.ftl", "renewed = x\nrenewed = y\ntrial_over = { $ended\n\nsubscription_over\n"),
    ];
    let found: Vec<String> =
        problems(&files).lines().filter(|line| line.starts_with("Wrong")).map(str::to_owned).collect();
    assert_snapshot!(found.join("\n"), @r#"
    Wrong pt_br.ftl: is not used: pt-BR.ftl is of the same language
    Wrong ru.ftl: line 5: Expected a token starting with "="
    Wrong ru.ftl: line 5: Expected a token starting with "}"
    Wrong ru.ftl: renewed: is there twice; the last one counts
    Wrong russian language.ftl: is not named after a language, as in pt-BR.ftl
    "#);
}

#[test]
fn what_a_new_language_lacks_is_listed() {
    let all = problems(&[("de.ftl", "renewed = x\n")]);
    assert!(all.contains("Incomplete de.ftl: trial_over: is missing; en (shipped) stands in\n"), "{all}");
    assert!(all.contains("Incomplete de.ftl: format-month-3: is missing; en (shipped) stands in\n"), "{all}");
    assert!(!all.contains("renewed") && !all.contains("Wrong"), "{all}");
}

#[test]
fn a_default_language_without_texts_is_a_problem() {
    let texts = Texts::load(None, Some("uk")).unwrap();
    let all: Vec<String> = check(&texts).iter().map(ToString::to_string).collect();
    assert_eq!(all, ["default_language: there are no texts in the default language uk: add uk.ftl"]);
}
