//! The one place where a value is made fit for the text around it.

/// Longer values are cut: a reason, a name; the longest code of a tariff has 64 characters.
const MAX_CHARACTERS: usize = 256;

/// What a value is put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A text in HTML, or an attribute of it in quotes.
    Html,
    /// A button's caption, which is no HTML.
    Plain,
    /// A link.
    Url,
}

/// Escapes a value for its place. What could break a line or turn the direction of what follows is taken out first.
pub(crate) fn value(text: &str, place: Place) -> String {
    let text = cleaned(text);
    match place {
        Place::Plain => text,
        Place::Html => text.chars().fold(String::with_capacity(text.len()), |mut html, character| {
            match character {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                _ => html.push(character),
            }
            html
        }),
        Place::Url => text.bytes().fold(String::with_capacity(text.len()), |mut url, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                url.push(byte.into());
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
            url
        }),
    }
}

fn cleaned(text: &str) -> String {
    let mut kept =
        text.chars().filter(|character| !is_direction_mark(*character) && *character != '\0').map(|character| {
            let is_break = character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
            if is_break { ' ' } else { character }
        });
    let mut cleaned: String = kept.by_ref().take(MAX_CHARACTERS).collect();
    if kept.next().is_some() {
        cleaned.pop();
        cleaned.push('…');
    }
    cleaned
}

/// Marks that only turn the direction of writing. Letters that are written from right to left stay.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_escaped_for_its_place() {
        let nasty = "<b>\"A&B\"</b>'\0\n";
        assert_eq!(value(nasty, Place::Html), "&lt;b&gt;&quot;A&amp;B&quot;&lt;/b&gt;' ");
        assert_eq!(value(nasty, Place::Plain), "<b>\"A&B\"</b>' ");
        assert_eq!(value("a b/ю", Place::Url), "a%20b%2F%D1%8E");
    }

    #[test]
    fn letters_from_right_to_left_stay_and_marks_go() {
        assert_eq!(value("\u{202E}شبكة\u{2069} vpn\u{200F}", Place::Html), "شبكة vpn");
        assert_eq!(value("👨‍👩‍👧", Place::Html), "👨‍👩‍👧");
    }

    #[test]
    fn a_long_value_is_cut_before_it_is_escaped() {
        let cut = value(&"<".repeat(1_000), Place::Html);
        assert_eq!(cut, format!("{}…", "&lt;".repeat(MAX_CHARACTERS - 1)));
        let whole = "я".repeat(MAX_CHARACTERS);
        assert_eq!(value(&whole, Place::Html), whole);
    }
}
