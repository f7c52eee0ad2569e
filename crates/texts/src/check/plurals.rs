//! The plural forms that a language has.

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use unic_langid::LanguageIdentifier;

/// Asks Fluent which form a number takes.
const PROBE: &str = "
form = { $n ->
    [zero] zero
    [one] one
    [two] two
    [few] few
    [many] many
   *[other] other
}
";

/// All categories of CLDR.
const CATEGORIES: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

/// So far every form of every language comes up.
const ENOUGH: i64 = 200;

/// The forms that whole numbers take.
pub(super) struct Plurals(Vec<String>);

impl Plurals {
    pub(super) fn of(language: &LanguageIdentifier) -> Self {
        let mut bundle = FluentBundle::new_concurrent(vec![language.clone()]);
        if let Ok(resource) = FluentResource::try_new(PROBE.to_owned()) {
            bundle.add_resource_overriding(resource);
        }
        let Some(pattern) = bundle.get_message("form").and_then(|message| message.value()) else {
            return Self(Vec::new());
        };
        let mut forms = Vec::new();
        for number in 0..=ENOUGH {
            let args = FluentArgs::from_iter([("n", number)]);
            let form = bundle.format_pattern(pattern, Some(&args), &mut Vec::new()).into_owned();
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        Self(forms)
    }

    /// What is wrong with the variants by a count: words that are no form, and forms that nothing but the default
    /// stands for. One form may be the default's, under whatever name.
    pub(super) fn problem(&self, name: &str, keys: &[&str]) -> Option<String> {
        let is_number = |key: &str| key.parse::<f64>().is_ok();
        if let Some(key) = keys.iter().find(|key| !CATEGORIES.contains(key) && !is_number(key)) {
            return Some(format!("${name} is never [{key}]; it is {}, or a number", self.0.join(", ")));
        }
        let missing: Vec<&str> = self.0.iter().map(String::as_str).filter(|form| !keys.contains(form)).collect();
        (missing.len() > 1).then(|| format!("forms of ${name} are missing: {}", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(language: &str, keys: &[&str]) -> Option<String> {
        Plurals::of(&language.parse().unwrap()).problem("n", keys)
    }

    #[test]
    fn each_language_has_its_own_forms() {
        assert_eq!(problem("ru", &["one", "few", "many"]), None);
        assert_eq!(problem("ru", &["one", "few", "other"]), None);
        assert_eq!(problem("ru", &["one", "other"]), Some("forms of $n are missing: many, few".to_owned()));
        assert_eq!(problem("en", &["one", "other"]), None);
        assert_eq!(problem("zh", &["other"]), None);
        assert_eq!(problem("pl", &["0", "one", "few", "many"]), None);
        assert!(problem("ar", &["one", "other"]).is_some_and(|problem| problem.contains("two")));
        assert_eq!(
            problem("en", &["single", "other"]),
            Some("$n is never [single]; it is other, one, or a number".to_owned())
        );
    }
}
