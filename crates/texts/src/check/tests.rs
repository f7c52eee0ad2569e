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
subscription_over = { inner }
inner = { $inside } { inner }
alert_parked = { $items }
    .item = { $pass } { $telegram_id }
    .tooltip = x
alert_brake = { $items }
format-group = { $count }
format-months = x
format-month-13 = x
";
    assert_snapshot!(problems(&[("en.ftl", text)]), @"");
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
    assert_snapshot!(problems(&[("ru.ftl", text)]), @"");
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
    assert_snapshot!(problems(&[("en.ftl", &text)]), @"");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = [
        ("russian language.ftl", "renewed = x\n"),
        ("ru.ftl", "renewed = x\nrenewed = y\ntrial_over = { $ended\n\nsubscription_over\n"),
        ("RU.ftl", "renewed = z\n"),
    ];
    assert_snapshot!(problems(&files), @"");
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
