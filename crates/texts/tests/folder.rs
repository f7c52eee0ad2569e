//! An operator's folder: overrides, languages, buttons, slips.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use std::fs;

use common::{alert, dead, renewed, shipped, trial_reminder};
use perennial_core::ports::Button;
use perennial_texts::{LoadError, Params, Rendered, Texts};
use tempfile::TempDir;
use time::Duration;

struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn load(&self) -> Texts {
        Texts::load(Some(self.0.path()), None).unwrap()
    }
}

fn rendered(files: &[(&str, &str)], kind: &str, language: &str, params: &Params) -> Rendered {
    Folder::with(files).load().render(kind, Some(language), params).unwrap()
}

fn html(files: &[(&str, &str)], kind: &str, language: &str, params: &Params) -> String {
    rendered(files, kind, language, params).html.replace('\u{A0}', "~")
}

#[test]
fn a_message_of_the_folder_overrides_the_shipped_one_and_no_other() {
    let files = [("ru.ftl", "renewed = Спасибо! { $amount }\n")];
    assert_eq!(html(&files, "renewed", "ru", &renewed()), "Спасибо! 199~₽");
    assert_eq!(html(&files, "renewed", "en", &renewed()), shipped("en", "renewed", &renewed()));
    let reminder = trial_reminder("6h", Duration::hours(2));
    assert_eq!(html(&files, "trial_reminder", "ru", &reminder), shipped("ru", "trial_reminder", &reminder));
}

#[test]
fn a_file_adds_a_language_with_its_own_plurals_and_numbers() {
    let polish = "\
renewed = Zapłacono { $amount }, do { $until }
trial_reminder = Zostało { $ends_left }
format-money = { $amount } RUB
format-group = .
format-point = ,
format-date = { $day }.{ $month_number } { $hour }:{ $minute }
format-date-year = { $day }.{ $month_number }.{ $year } { $hour }:{ $minute }
format-hours = { $count ->
    [one] { $count } godzina
    [few] { $count } godziny
   *[many] { $count } godzin
}
";
    let files = [("pl.ftl", polish)];
    assert_eq!(html(&files, "renewed", "pl-PL", &renewed()), "Zapłacono 199 RUB, do 24.12 18:30");
    for (hours, expected) in [(1, "1 godzina"), (3, "3 godziny"), (5, "5 godzin"), (22, "22 godziny")] {
        let reminder = trial_reminder("6h", Duration::hours(hours));
        assert_eq!(html(&files, "trial_reminder", "pl", &reminder), format!("Zostało {expected}"));
    }
    // What the file does not have is written in the default language.
    let over = common::over("basic");
    assert_eq!(html(&files, "trial_over", "pl", &over), shipped("en", "trial_over", &over));
}

#[test]
fn languages_fall_back_from_the_exact_tag_to_english() {
    let files = [("pt.ftl", "renewed = pt\n"), ("pt-BR.ftl", "renewed = pt-BR\n"), ("de.ftl", "renewed = de\n")];
    let folder = Folder::with(&files);
    let texts = Texts::load(Some(folder.0.path()), Some("de-AT")).unwrap();
    for (language, expected) in [
        (Some("pt-br"), "pt-BR"),
        (Some("pt-BR"), "pt-BR"),
        (Some("pt-PT"), "pt"),
        (Some("pt"), "pt"),
        (Some("fr"), "de"),
        (Some("not a tag"), "de"),
        (Some(""), "de"),
        (None, "de"),
    ] {
        assert_eq!(texts.render("renewed", language, &renewed()).unwrap().html, expected, "{language:?}");
    }
    let over = common::over("basic");
    assert_eq!(texts.render("trial_over", Some("pt"), &over).unwrap().html, shipped("en", "trial_over", &over));
}

#[test]
fn a_button_is_there_when_caption_and_link_are() {
    let button =
        "renewed = Thanks\n    .button = Top up { $tariff }\n    .url = https://t.me/bot?start=pay_{ $tariff }\n";
    let with_signs = renewed().with("tariff", common::words("a&b c"));
    let rendered = rendered(&[("en.ftl", button)], "renewed", "en", &with_signs);
    let expected =
        Button { caption: "Top up a&b c".to_owned(), url: "https://t.me/bot?start=pay_a%26b%20c".to_owned() };
    assert_eq!(rendered, Rendered { html: "Thanks".to_owned(), button: Some(expected) });
}

#[test]
fn a_broken_button_is_left_away_and_the_text_is_kept() {
    for attributes in [
        "    .button = Only a caption\n",
        "    .url = https://example.org\n",
        "    .button = Bad\n    .url = example.org\n",
        "    .button = Bad\n    .url = javascript:alert(1)\n",
        "    .button = Bad\n    .url = https://\n",
        "    .button = { $nothing }\n    .url = https://example.org\n",
    ] {
        let text = format!("renewed = Thanks\n{attributes}");
        let rendered = rendered(&[("en.ftl", &text)], "renewed", "en", &renewed());
        assert_eq!(rendered, Rendered { html: "Thanks".to_owned(), button: None }, "{attributes}");
    }
}

#[test]
fn a_slip_of_the_operator_costs_no_notice() {
    let too_long = format!("renewed = {}\n", "x".repeat(4_097));
    for slip in [
        "renewed = { $amuont }\n",
        "renewed = { missing-message }\n",
        "renewed = { renewed }\n",
        "renewed = <b>{ $amount }\n",
        "renewed = <p>{ $amount }</p>\n",
        "renewed = 1 < 2\n",
        "renewed = {\"\"}\n",
        "renewed = { $amount\n",
        "renewed\n",
        "format-money = { $wrong } ₽\n",
        "format-date = { DATETIME($day) }\n",
        &too_long,
    ] {
        assert_eq!(
            html(&[("en.ftl", slip)], "renewed", "en", &renewed()),
            shipped("en", "renewed", &renewed()),
            "{slip}"
        );
    }
    let without_item = [("ru.ftl", "alert_dead = { $items }\n")];
    let alert = alert(1, vec![dead()]);
    assert_eq!(html(&without_item, "alert_dead", "ru", &alert), shipped("ru", "alert_dead", &alert));
}

#[test]
fn a_stage_may_have_a_text_of_its_own() {
    let text = "trial_reminder-71h = Last hour\nbalance_short-final = Last call\n";
    let files = [("en.ftl", text)];
    let at = |stage| html(&files, "trial_reminder", "en", &trial_reminder(stage, Duration::minutes(50)));
    assert_eq!(at("71h"), "Last hour");
    assert!(at("6h").contains("50 minutes left"));
    let short = |stage| html(&files, "balance_short", "en", &common::balance_short(stage, Duration::hours(1)));
    assert_eq!(short("final"), "Last call");
    assert!(short("first").contains("Missing"));
}

#[test]
fn a_tariff_is_shown_by_the_name_its_operator_gave_it() {
    let files = [("ru.ftl", "tariff-basic_30 = Базовый & быстрый\ntariff-plus_1_m = Плюс\n")];
    assert!(html(&files, "renewed", "ru", &renewed()).contains("Тариф: Базовый &amp; быстрый\n"));
    let dotted = renewed().with("tariff", common::words("plus.1.m"));
    assert!(html(&files, "renewed", "ru", &dotted).contains("Тариф: Плюс\n"));
}

#[test]
fn what_is_no_text_file_is_left_alone() {
    let files = [("README.md", "renewed = no"), ("en.ftl~", "renewed = no\n"), ("en.ftl.bak", "renewed = no\n")];
    assert_eq!(html(&files, "renewed", "en", &renewed()), shipped("en", "renewed", &renewed()));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_slips() {
    let files = [("en.ftl", "\u{FEFF}renewed =\r\n    First\r\n    second\r\n")];
    assert_eq!(html(&files, "renewed", "en", &renewed()), "First\nsecond");
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error_that_names_it() {
    let error = Texts::load(Some("/nowhere/at/all".as_ref()), None).unwrap_err();
    assert!(matches!(&error, LoadError::Unreadable { .. }));
    assert!(error.to_string().starts_with("/nowhere/at/all cannot be read: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ru.ftl"), b"renewed = \xFF\n").unwrap();
    let error = Texts::load(Some(folder.path()), None).unwrap_err();
    assert!(error.to_string().contains("ru.ftl cannot be read"), "{error}");
}

#[test]
fn the_example_of_the_documentation_is_a_good_one() {
    let document = include_str!("../../../docs/messages.md");
    let example = document.split("```ftl\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let files = [("ru.ftl", example)];
    assert!(html(&files, "renewed", "ru", &renewed()).starts_with("<b>Готово!</b> Списали 199"));
    assert_eq!(perennial_texts::check(&Folder::with(&files).load()), []);
}
