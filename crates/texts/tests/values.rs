//! Values from outside in every text: markup, marks, length.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod common;

use common::{LANGUAGES, alert, every, in_, item, params, renewed, rubles, trial_reminder, words};
use perennial_texts::{Params, TextError, Texts, Value, kinds};
use proptest::prelude::*;
use time::Duration;

fn texts() -> Texts {
    Texts::load(None, None).unwrap()
}

fn html(kind: &str, language: &str, params: &Params) -> String {
    texts().render(kind, Some(language), params).unwrap().html
}

/// Characters without markup, the shortest way: every `<` that begins no value belongs to a tag.
fn without_markup(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[test]
fn every_kind_is_rendered_in_every_language() {
    for kind in kinds() {
        for language in LANGUAGES {
            let text = html(kind, language, &every(kind, "word"));
            assert!(!text.contains('{') && !text.contains('$'), "{kind} in {language}: {text}");
        }
    }
}

#[test]
fn markup_in_a_value_is_text() {
    let nasty = "</b><a href=\"tg://x\">&amp; 'Tom' & Jerry";
    let escaped = "&lt;/b&gt;&lt;a href=&quot;tg://x&quot;&gt;&amp;amp; 'Tom' &amp; Jerry";
    for kind in kinds() {
        let text = html(kind, "en", &every(kind, nasty));
        assert!(!text.contains("<a"), "{kind}: {text}");
        let shows_values = !matches!(kind, "trial_reminder" | "trial_over");
        assert_eq!(text.contains(escaped), shows_values, "{kind}: {text}");
    }
}

#[test]
fn nothing_invisible_gets_into_a_text() {
    let nasty = "a\0b\u{202E}c\u{2066}d\u{200F}e\nf\u{2028}g\u{1B}[31m";
    for kind in kinds() {
        for language in LANGUAGES {
            let text = html(kind, language, &every(kind, nasty));
            let is_mark = |c: char| ('\u{202A}'..='\u{202E}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
            let bad = text.chars().find(|c| is_mark(*c) || (c.is_control() && *c != '\n'));
            assert_eq!(bad, None, "{kind} in {language}: {text:?}");
        }
    }
    assert!(html("renewed", "en", &every("renewed", nasty)).contains("abcde f g [31m"));
}

#[test]
fn letters_from_right_to_left_are_kept() {
    let text = html("renewed", "en", &renewed().with("tariff", words("اشتراك שלום")));
    assert!(text.contains("Plan: اشتراك שלום\n"), "{text}");
}

#[test]
fn a_very_long_value_is_cut() {
    let text = html("renewed", "en", &renewed().with("tariff", words(&"&".repeat(100_000))));
    assert!(text.contains(&format!("Plan: {}…\n", "&amp;".repeat(255))), "{text}");
}

#[test]
fn a_list_is_cut_between_items_and_says_how_many_more() {
    let items = |count: i64| {
        let item = |id| {
            item(&[
                ("pass", words("renew")),
                ("subscription_id", Value::Number(id)),
                ("reason", words(&"<&>".repeat(90))),
            ])
        };
        (0..count).map(item).collect()
    };
    for (count, total, most) in [(3, 3, 3), (40, 40, 20), (50, 12_345, 20), (1_000, 1_000, 20)] {
        let text = html("alert_parked", "en", &alert(total, items(count)));
        let shown = i64::try_from(text.matches("• ").count()).unwrap();
        assert!((1..=most).contains(&shown), "{shown} of {count}");
        assert_eq!(text.contains(&format!("…and {} more", total - shown)), shown < total, "{text}");
        assert!(without_markup(&text).encode_utf16().count() <= 4_096);
        assert!(text.ends_with("</code>."), "what follows the list is kept: {text}");
        // Another line would not have fitted.
        assert!(shown == count || without_markup(&text).encode_utf16().count() > 4_096 - 300);
    }
}

#[test]
fn what_a_notice_lacks_is_an_error_whatever_the_language() {
    let now = params();
    for kind in kinds() {
        assert!(matches!(texts().render(kind, Some("ru"), &now), Err(TextError::Missing { .. })), "{kind}");
    }
    let error = texts().render("renewed", None, &now.with("tariff", words("a"))).unwrap_err();
    assert_eq!(error.to_string(), "renewed: amount is missing");
    let error = texts().render("renewed", None, &renewed().with("amount", words("199"))).unwrap_err();
    assert_eq!(error.to_string(), "renewed: amount is not a whole number of kopecks");
    let without_id = alert(1, vec![item(&[("pass", words("renew")), ("reason", words("r"))])]);
    let error = texts().render("alert_parked", None, &without_id).unwrap_err();
    assert_eq!(error.to_string(), "alert_parked: subscription_id is missing");
    let error = texts().render("unheard_of", None, &renewed()).unwrap_err();
    assert_eq!(error.to_string(), "notices of the kind \"unheard_of\" are not known");
}

#[test]
fn more_values_than_a_text_needs_are_no_error() {
    let more = renewed().with("gift", rubles(1));
    assert_eq!(html("renewed", "en", &more), html("renewed", "en", &renewed()));
}

#[test]
fn what_is_left_is_counted_by_moments_and_not_by_wall_clocks() {
    // The night the clocks go back: five hours later the wall shows four more.
    let Value::Time(mut ends) = in_(Duration::hours(5)) else { unreachable!("it makes times") };
    ends.local -= Duration::hours(1);
    let params = trial_reminder("6h", Duration::hours(5)).with("ends", Value::Time(ends));
    let text = html("trial_reminder", "en", &params);
    assert!(text.contains("5 hours left") && text.contains("24 November, 22:30"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_values_are_telegram_takes_the_text(value in any::<String>(), language in 0..LANGUAGES.len()) {
        let texts = texts();
        for kind in kinds() {
            let rendered = texts.render(kind, Some(LANGUAGES[language]), &every(kind, &value));
            let html = rendered.map_err(|error| TestCaseError::fail(error.to_string()))?.html;
            prop_assert!((1..=4_096).contains(&without_markup(&html).encode_utf16().count()), "{kind}: {html}");
            prop_assert!(!html.contains('\0'));
        }
    }
}
