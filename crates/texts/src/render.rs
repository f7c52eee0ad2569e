//! Writing one text.

use std::collections::BTreeMap;

use perennial_core::ports::Button;

use crate::arguments::Arguments;
use crate::escape::{self, Place};
use crate::format::Helpers;
use crate::html;
use crate::kinds::{Is, Kind, Param};
use crate::layer::Layer;
use crate::params::{Params, Value};

/// Items of a list that are tried at most; so many lines nobody reads.
const MAX_ITEMS: usize = 50;

/// A text, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// In Telegram's HTML, 1 to 4096 characters without markup.
    pub html: String,
    /// The button below it, where its operator wrote one.
    pub button: Option<Button>,
}

/// What a text is written from.
pub(crate) struct Rendering<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) params: &'a Params,
    /// The layer whose text it is, and those after it in line.
    pub(crate) layers: &'a [&'a Layer],
}

/// A list in a text, by the name of its placeholder.
struct List<'a> {
    name: &'a str,
    lines: Vec<String>,
    /// How many there are in all.
    total: i64,
}

impl Rendering<'_> {
    fn layer(&self) -> &Layer {
        self.layers[0]
    }

    /// The text of the message `id`.
    ///
    /// # Errors
    /// What is wrong with it, for its operator.
    pub(crate) fn html(&self, id: &str) -> Result<String, String> {
        let arguments = self.arguments(self.kind.params, &self.params.values)?;
        let Some(list) = self.list(id)? else {
            return fitting(&self.message(id, &arguments)?);
        };
        // A cut between items never cuts an entity. What is left after the first guess is for texts that show the list
        // twice.
        let mut shown = self.guess(id, &arguments, &list)?;
        loop {
            let fits = fitting(&self.message(id, &arguments.with_lines(list.name, self.lines(&list, shown)?))?);
            if fits.is_ok() || shown == 0 {
                return fits;
            }
            shown -= 1;
        }
    }

    /// How many lines there is room for beside the text without any.
    fn guess(&self, id: &str, arguments: &Arguments, list: &List<'_>) -> Result<usize, String> {
        let without = self.message(id, &arguments.with_lines(list.name, self.lines(list, 0)?))?;
        let mut room = html::MAX_LENGTH.saturating_sub(html::measure(&without)?.length);
        let mut shown = 0;
        for line in &list.lines {
            let length = html::measure(line)?.length + 1;
            if length > room {
                break;
            }
            room -= length;
            shown += 1;
        }
        Ok(shown)
    }

    /// The button of the message `id`; none where it has none.
    ///
    /// # Errors
    /// What is wrong with it, for its operator.
    pub(crate) fn button(&self, id: &str) -> Result<Option<Button>, String> {
        let arguments = self.arguments(self.kind.params, &self.params.values)?;
        let attribute = |name, place| self.layer().text(id, Some(name), &arguments.fluent(place));
        match (attribute("button", Place::Plain)?, attribute("url", Place::Url)?) {
            (None, None) => Ok(None),
            (Some(caption), Some(url)) => {
                let (caption, url) = (caption.trim().to_owned(), url.trim().to_owned());
                if caption.is_empty() {
                    return Err("the button's caption is empty".to_owned());
                }
                if is_link(&url) {
                    Ok(Some(Button { caption, url }))
                } else {
                    Err(format!("the button leads to {url}"))
                }
            }
            (Some(_), None) => Err("a .button needs a .url".to_owned()),
            (None, Some(_)) => Err("a .url needs a .button".to_owned()),
        }
    }

    fn arguments(&self, params: &[Param], values: &BTreeMap<String, Value>) -> Result<Arguments, String> {
        Arguments::new(params, values, self.params.now, &Helpers(self.layers))
    }

    fn message(&self, id: &str, arguments: &Arguments) -> Result<String, String> {
        let text = self.layer().text(id, None, &arguments.fluent(Place::Html))?;
        Ok(text.unwrap_or_default().trim().to_owned())
    }

    fn list(&self, id: &str) -> Result<Option<List<'_>>, String> {
        let list = self.kind.params.iter().find_map(|param| match (param.is, self.params.values.get(param.name)) {
            (Is::Items(params), Some(Value::Items(items))) => Some((param.name, params, items)),
            _ => None,
        });
        let Some((name, params, items)) = list else {
            return Ok(None);
        };
        let mut lines = Vec::new();
        for item in items.iter().take(MAX_ITEMS) {
            let arguments = self.arguments(params, item)?.fluent(Place::Html);
            lines.push(self.layer().text(id, Some("item"), &arguments)?.ok_or("its .item is missing")?);
        }
        let counted = match self.params.values.get("count") {
            Some(Value::Number(count)) => *count,
            _ => 0,
        };
        Ok(Some(List { name, lines, total: counted.max(i64::try_from(items.len()).unwrap_or(i64::MAX)) }))
    }

    /// The first lines of a list, and how many more there are.
    fn lines(&self, list: &List<'_>, shown: usize) -> Result<String, String> {
        let mut lines = list.lines[..shown].to_vec();
        let more = list.total - i64::try_from(shown).unwrap_or(i64::MAX);
        if more > 0 {
            lines.push(escape::value(&Helpers(self.layers).more(more)?, Place::Html));
        }
        Ok(lines.join("\n"))
    }
}

fn fitting(html: &str) -> Result<String, String> {
    let length = html::length(html)?;
    if length > html::MAX_LENGTH {
        return Err(format!("{length} characters are more than Telegram's {}", html::MAX_LENGTH));
    }
    Ok(html.to_owned())
}

/// What Telegram takes behind a button.
fn is_link(url: &str) -> bool {
    let known = ["https://", "http://", "tg://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    known.is_some_and(|rest| !rest.is_empty() && !url.contains(|character: char| character.is_whitespace()))
}
