//! The server's reading of HTML: which tags it knows, how they nest, how long the text is without them.

/// Tags the Bot API takes.
const TAGS: [&str; 16] = [
    "a",
    "b",
    "blockquote",
    "code",
    "del",
    "em",
    "i",
    "ins",
    "pre",
    "s",
    "span",
    "strike",
    "strong",
    "tg-emoji",
    "tg-spoiler",
    "u",
];

/// The text without its tags, each reference counted as a character, or the server's complaint.
pub(super) fn visible(html: &str) -> Result<String, String> {
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&without_references(&rest[..at]));
        let offset = html.len() - rest.len() + at;
        let Some(end) = rest[at..].find('>') else {
            return Err(format!("Unclosed start tag at byte offset {offset}"));
        };
        let tag = &rest[at + 1..at + end];
        rest = &rest[at + end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let Some(expected) = open.pop() else {
                return Err(format!("Unexpected end tag at byte offset {offset}"));
            };
            if name.trim_end() != expected {
                return Err(format!(
                    "Unmatched end tag at byte offset {offset}, expected \"</{expected}>\", found \"</{name}>\""
                ));
            }
        } else {
            let name = tag.split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            if !TAGS.contains(&name.as_str()) {
                return Err(format!("Unsupported start tag \"{name}\" at byte offset {offset}"));
            }
            open.push(name);
        }
    }
    text.push_str(&without_references(rest));
    match open.pop() {
        None => Ok(text),
        Some(name) => Err(format!("Can't find end tag corresponding to start tag \"{name}\"")),
    }
}

/// The four named references; others stay, as with the real server.
fn without_references(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn markup_is_taken_or_refused_as_the_server_does() {
        assert_eq!(visible("<b>a &lt; <i>b</i></b> & &amp;lt;").as_deref(), Ok("a < b & &lt;"));
        for (html, complaint) in [
            ("<p>a</p>", "Unsupported start tag \"p\" at byte offset 0"),
            ("a <b", "Unclosed start tag at byte offset 2"),
            ("a</b>", "Unexpected end tag at byte offset 1"),
            ("<b>a</i>", "Unmatched end tag at byte offset 4, expected \"</b>\", found \"</i>\""),
            ("<b>a", "Can't find end tag corresponding to start tag \"b\""),
        ] {
            assert_eq!(visible(html).unwrap_err(), complaint);
        }
    }
}
