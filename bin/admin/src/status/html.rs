//! The page: one file, no script, nothing fetched; light or dark as the reader has it; readable on a phone.

mod chart;
mod charts;

use perennial_core::money::Kopecks;

use super::history::History;
use super::model::Status;
use super::text;
use crate::output::moment;
use chart::Chart;

const STYLE: &str = include_str!("html/style.css");

/// The whole page.
pub(super) fn page(status: &Status, history: &History) -> String {
    let charts: String = charts::all(history).iter().map(Chart::html).collect();
    let tables: String = text::tables(status)
        .iter()
        .map(|(title, rows)| format!("<section><h2>{}</h2>{}</section>\n", escape(title), table(rows)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Perennial, {date}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Perennial</h1><p>{at}, days in {zone}</p></header>\n{needs}{tiles}\
         <div class=\"charts\">\n{charts}</div>\n{tables}</body>\n</html>\n",
        date = status.today.date,
        at = moment(status.at),
        zone = escape(&status.zone),
        needs = needs(status),
        tiles = tiles(status),
    )
}

/// Text as it may stand anywhere in a page.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// What stands between backticks as code.
fn with_code(escaped: &str) -> String {
    let parts = escaped.split('`').enumerate();
    parts.map(|(nth, part)| if nth % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

/// `1 234 567`, with narrow blanks that do not break.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 234 RUB`: kopecks do not matter at this size.
fn whole_rubles(amount: Kopecks) -> String {
    format!("{}\u{a0}RUB", grouped(amount.0 / 100))
}

fn needs(status: &Status) -> String {
    if status.attention.is_empty() {
        return "<section class=\"good\"><h2>Nothing needs a person</h2></section>\n".to_owned();
    }
    let items: String = status.attention.iter().map(|line| format!("<li>{}</li>", with_code(&escape(line)))).collect();
    format!("<section class=\"needs\"><h2>Needs a person</h2><ul>{items}</ul></section>\n")
}

fn tiles(status: &Status) -> String {
    let money = &status.today.money;
    let charged = Kopecks(money.renewals.amount.0.saturating_add(money.purchases.amount.0));
    let tiles = [
        ("active rights", grouped(status.rights.iter().map(|(_, rows)| rows).sum::<i64>())),
        ("charged today", whole_rubles(charged)),
        ("topped up today", whole_rubles(money.top_ups.amount)),
        ("refunded today", whole_rubles(money.refunds.amount)),
        ("in wallets", whole_rubles(status.wallets.total)),
        ("messages sent today", grouped(i64::try_from(status.today.sent).unwrap_or(i64::MAX))),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(name, value)| format!("<div class=\"tile\"><b>{value}</b><span>{name}</span></div>"))
        .collect();
    format!("<div class=\"tiles\">{tiles}</div>\n")
}

fn table(rows: &[Vec<String>]) -> String {
    let row = |cells: &Vec<String>, tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let (head, rest) = rows.split_first().map_or((String::new(), rows), |(head, rest)| (row(head, "th"), rest));
    let rest: String = rest.iter().map(|cells| row(cells, "td")).collect();
    format!("<div class=\"scroll\"><table>{head}{rest}</table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (-1_234_567, "-1\u{202f}234\u{202f}567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn nothing_in_a_text_can_leave_it() {
        assert_eq!(escape("<b onclick='x'>\"&"), "&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;");
        assert_eq!(with_code(&escape("see `a <b>`")), "see <code>a &lt;b&gt;</code>");
        let cell = vec![vec!["<script>".to_owned()]];
        assert!(!table(&cell).contains("<script>"));
    }
}
