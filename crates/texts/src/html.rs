//! Telegram's subset of HTML: whether a text is in it, and how long it is without its markup.

/// The tags that Telegram takes, with the attributes of each.
const TAGS: [(&str, &[&str]); 16] = [
    ("a", &["href"]),
    ("b", &[]),
    ("blockquote", &["expandable"]),
    ("code", &["class"]),
    ("del", &[]),
    ("em", &[]),
    ("i", &[]),
    ("ins", &[]),
    ("pre", &[]),
    ("s", &[]),
    ("span", &["class"]),
    ("strike", &[]),
    ("strong", &[]),
    ("tg-emoji", &["emoji-id"]),
    ("tg-spoiler", &[]),
    ("u", &[]),
];

/// What Telegram counts up to.
pub(crate) const MAX_LENGTH: usize = 4096;

/// A text that Telegram takes: its length, which is never 0 and never less than what Telegram counts.
///
/// # Errors
/// What is wrong with the markup, or that there is no text.
pub(crate) fn length(html: &str) -> Result<usize, String> {
    match measure(html)? {
        Measure { is_blank: true, .. } => Err("there is no text in it".to_owned()),
        Measure { length, .. } => Ok(length),
    }
}

/// What a text is without its markup.
pub(crate) struct Measure {
    /// In UTF-16 units.
    pub(crate) length: usize,
    /// Whether it is nothing but blanks.
    pub(crate) is_blank: bool,
}

/// The measure of a text or a part of one.
///
/// # Errors
/// What is wrong with the markup.
pub(crate) fn measure(html: &str) -> Result<Measure, String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    let mut length = 0;
    let mut is_blank = true;
    let mut count = |text: &str| {
        length += visible(text)
            .inspect(|character| is_blank &= character.is_whitespace())
            .map(char::len_utf16)
            .sum::<usize>();
    };
    while let Some(at) = rest.find('<') {
        count(&rest[..at]);
        let (tag, after) = rest[at + 1..].split_once('>').ok_or("a < that begins no tag; write &lt; for the sign")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let name = name.trim_end();
            match open.pop() {
                Some(expected) if expected == name => {}
                Some(expected) => return Err(format!("<{expected}> is closed by </{name}>")),
                None => return Err(format!("</{name}> closes nothing")),
            }
        } else {
            open.push(opening(tag)?);
        }
    }
    count(rest);
    match open.pop() {
        Some(name) => Err(format!("<{name}> is not closed")),
        None => Ok(Measure { length, is_blank }),
    }
}

/// The name of an opening tag, once it and its attributes are known to be taken.
fn opening(tag: &str) -> Result<&'static str, String> {
    let (name, mut attributes) = tag.split_once(|character: char| character.is_ascii_whitespace()).unwrap_or((tag, ""));
    let Some((name, known)) = TAGS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("Telegram knows no <{name}>"));
    };
    loop {
        attributes = attributes.trim_start();
        if attributes.is_empty() {
            return Ok(name);
        }
        let end = attributes.find(|character: char| character == '=' || character.is_ascii_whitespace());
        let (attribute, after) = attributes.split_at(end.unwrap_or(attributes.len()));
        if !known.contains(&attribute) {
            return Err(format!("<{name}> has no attribute {attribute}"));
        }
        attributes = match after.strip_prefix("=\"") {
            Some(value) => {
                value.split_once('"').ok_or_else(|| format!("<{name} {attribute}=…> lacks a closing quote"))?.1
            }
            None if after.starts_with('=') => return Err(format!("<{name} {attribute}=…> needs double quotes")),
            None => after,
        };
    }
}

/// The characters of a text between tags, each reference being one.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
        if let Some((reference, character)) = known.iter().find(|(reference, _)| rest.starts_with(reference)) {
            rest = &rest[reference.len()..];
            return Some(*character);
        }
        let character = rest.chars().next()?;
        rest = &rest[character.len_utf8()..];
        Some(character)
    })
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn what_telegram_takes_is_measured_without_markup() {
        for (html, expected) in [
            ("plain", 5),
            ("<b>a</b> <i><u>b</u></i>", 3),
            ("&lt;&amp;&gt;&quot;", 4),
            ("a & b > c &nbsp;", 16),
            ("<a href=\"https://example.org/?a=1&amp;b=2\">here</a>", 4),
            ("<code class=\"language-sql\">x</code><pre>y</pre>", 2),
            ("<span class=\"tg-spoiler\">x</span><tg-spoiler>y</tg-spoiler>", 2),
            ("<blockquote expandable>x</blockquote>", 1),
            ("<tg-emoji emoji-id=\"5368324170671202286\">👍</tg-emoji>", 2),
            ("ёж 🙂", 5),
        ] {
            assert_eq!(length(html), Ok(expected), "{html}");
        }
    }

    #[test]
    fn what_telegram_would_refuse_is_named() {
        for (html, problem) in [
            ("<p>a</p>", "Telegram knows no <p>"),
            ("<br>", "Telegram knows no <br>"),
            ("<B>a</B>", "Telegram knows no <B>"),
            ("<b>a", "<b> is not closed"),
            ("a</b>", "</b> closes nothing"),
            ("<b><i>a</b></i>", "<i> is closed by </b>"),
            ("1 < 2", "a < that begins no tag; write &lt; for the sign"),
            ("<a onclick=\"x\">a</a>", "<a> has no attribute onclick"),
            ("<a href=x>a</a>", "<a href=…> needs double quotes"),
            ("<a href=\"x>a</a>", "<a href=…> lacks a closing quote"),
            ("", "there is no text in it"),
            ("<b> \n</b>", "there is no text in it"),
        ] {
            assert_eq!(length(html), Err(problem.to_owned()), "{html}");
        }
    }
}
