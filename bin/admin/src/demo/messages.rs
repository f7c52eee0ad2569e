//! The messages that customers would have got, as they would have read them: a notice of each kind the passes wrote, in
//! both languages that are shipped. Nothing is sent, and nothing is changed: the notices wait as before.

use perennial_boot::{NoticeTexts, TextsSection, claim_settings};
use perennial_core::db::{ClaimedNotice, Database};
use perennial_core::delivery::Texts as _;
use perennial_core::ids::TelegramId;
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::made_up::failed;
use crate::failure::Failure;
use crate::output::counted;

const LANGUAGES: [&str; 2] = ["ru", "en"];

// One of each kind, or of each stage of one. Of what is told by day, the longest waiting.
const ONE_OF_EACH: &str = "
SELECT DISTINCT ON (n.kind, n.params ->> 'stage') n.id, n.kind
FROM notices n
WHERE n.telegram_id >= $1 AND n.status = 'pending'
ORDER BY n.kind, n.params ->> 'stage', n.id";

const COUNT: &str = "
SELECT count(*) FROM notices n WHERE n.telegram_id >= $1 AND n.status = 'pending'";

/// What was shown.
pub(super) struct Messages {
    /// For people.
    pub(super) text: String,
    /// The same as an object.
    pub(super) json: Value,
}

/// Writes the messages; with no notice that waits there are none.
///
/// # Errors
/// The database's, or a text that cannot be written.
pub(super) async fn read(client: &Client, db: &Database, first: TelegramId) -> Result<Messages, Failure> {
    let rows = client.query_typed(ONE_OF_EACH, &[(&first, Type::INT8)]).await.map_err(|error| failed(&error))?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get("id")).collect();
    let count = client.query_typed_one(COUNT, &[(&first, Type::INT8)]).await.map_err(|error| failed(&error))?;
    let count: i64 = count.get(0);
    // As it is shipped: a folder of this host's own is no part of the demo.
    let section = TextsSection::default();
    let texts = NoticeTexts::load(&section).map_err(|error| Failure::unforeseen(error.to_string()))?;
    let settings = claim_settings(&section);
    // A claim is a lock and the receiver's wall time; the lock goes with the transaction.
    let (now, mut claimed) =
        db.run_tx("demo_messages", async |tx| Ok((tx.now(), tx.claim_notices(&ids, &settings).await?))).await?;
    claimed.sort_by_key(|notice| ids.iter().position(|id| *id == notice.id));
    let mut text = format!("{} to be sent, which the demo does not. Some of them:\n", waiting(count));
    let mut shown = Vec::new();
    for notice in claimed {
        for language in LANGUAGES {
            let notice = ClaimedNotice { language: Some(language.to_owned()), ..notice.clone() };
            let (html, _) = texts.render(&notice, now).map_err(Failure::unforeseen)?;
            let plain = without_markup(&html);
            text.push_str(&format!("\n  {} ({language})\n{}", notice.kind, quoted(&plain)));
            shown.push(json!({ "kind": notice.kind, "language": language, "html": html }));
        }
    }
    Ok(Messages { text, json: json!({ "waiting": count, "shown": shown }) })
}

fn waiting(count: i64) -> String {
    let notices = counted(count.unsigned_abs(), "notice");
    if count == 1 { format!("{notices} waits") } else { format!("{notices} wait") }
}

/// Each line behind a bar; blank ones left away, so that a screen holds more.
fn quoted(text: &str) -> String {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("  │ {line}\n")).collect()
}

/// What a reader sees of Telegram's HTML, which has no `<` but in tags.
fn without_markup(html: &str) -> String {
    let parts = html.split('<').enumerate();
    let text: String = parts
        .map(|(at, part)| if at == 0 { part } else { part.split_once('>').map_or("", |(_, text)| text) })
        .collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_taken_away_and_what_only_looks_like_it_stays() {
        assert_eq!(without_markup("<b>a</b> &lt;b&gt; &amp;lt; <a href=\"x\">c</a>"), "a <b> &lt; c");
        assert_eq!(without_markup(""), "");
    }

    #[test]
    fn a_message_stands_behind_a_bar() {
        assert_eq!(quoted("one\n\ntwo\n"), "  │ one\n  │ two\n");
    }
}
